-- Events that found no room in the outbox of a webhook: they are told nobody, so it is told how many.
CREATE TABLE webhook_dropped (
    webhook INTEGER PRIMARY KEY,
    dropped INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
) STRICT;
-- What waits too long is given up: found without reading what does not.
CREATE INDEX webhook_delivery_overdue ON webhook_delivery (since_ms) WHERE state = 'waiting';
