-- One reader's events among those of many: whose they are stands in the index, so that nobody else's rows are read.
DROP INDEX event_of_message;
CREATE INDEX event_of_message ON event (message, sequence, recipient);

-- The recipient whom something waiting to be told is about, by index: it goes with them. NULL: about none, or about several.
ALTER TABLE webhook_delivery ADD COLUMN recipient INTEGER;
ALTER TABLE mail_notice ADD COLUMN recipient INTEGER;
-- What was written before names them in its JSON.
UPDATE webhook_delivery SET recipient =
    (SELECT min(r.idx) FROM recipient r
     WHERE r.message = webhook_delivery.message AND r.address = json_extract(body, '$.data.recipient'))
    WHERE message IS NOT NULL AND json_valid(body);
UPDATE mail_notice SET recipient =
    (SELECT min(r.idx) FROM recipient r
     WHERE r.message = mail_notice.message AND (json_extract(line, '$.who') = r.address
         -- The name is shortened there, the address is not.
         OR substr(json_extract(line, '$.who'), -length(r.address) - 2) = '<' || r.address || '>'))
    WHERE json_valid(line);
