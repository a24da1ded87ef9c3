-- What the sender called a recipient in the mail's own To, Cc or Bcc; empty: nothing.
ALTER TABLE recipient ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- What they were called last.
ALTER TABLE correspondent ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- A search looks at both and reads the index alone.
DROP INDEX recipient_of_address;
CREATE INDEX recipient_of_address ON recipient (address COLLATE NOCASE, name);
DROP INDEX correspondent_of_address;
CREATE INDEX correspondent_of_address ON correspondent (address, name);
