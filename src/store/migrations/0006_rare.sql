-- A search for what is rare walks the list's index to its end, so what it asks stands in that index: whether a mail was
-- opened and clicked by people at all. The trigger keeps that at the counters' side; it writes when the answer changes,
-- once or twice in a mail's life, for every write goes into three indexes.
ALTER TABLE message ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN clicked INTEGER NOT NULL DEFAULT 0;
UPDATE message SET opened = opens > 0, clicked = clicks > 0 WHERE opens > 0 OR clicks > 0;
CREATE TRIGGER message_read AFTER UPDATE OF opens, clicks ON message
WHEN (new.opens > 0) <> new.opened OR (new.clicks > 0) <> new.clicked
BEGIN
    UPDATE message SET opened = new.opens > 0, clicked = new.clicks > 0 WHERE id = new.id;
END;

DROP INDEX message_newest;
DROP INDEX message_newest_of_org;
DROP INDEX message_newest_of_login;
CREATE INDEX message_newest ON message (accepted_at_ms, id, org, login, opened, clicked, header_from, subject);
CREATE INDEX message_newest_of_org ON message (org, accepted_at_ms, id, login, opened, clicked, header_from, subject);
CREATE INDEX message_newest_of_login ON message (login, accepted_at_ms, id, org, opened, clicked, header_from, subject)
    WHERE login IS NOT NULL;

-- Mails that somebody does not have: few, and most of them for moments only.
CREATE INDEX message_undelivered ON message (accepted_at_ms, id) WHERE accepted < recipients;
