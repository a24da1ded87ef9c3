-- What is to be told to the outside (src/store/outbox.rs). Nothing here outlives the message it is about.

-- How far the events are told. What was recorded before there was anybody to tell is not told.
CREATE TABLE told (
    what     TEXT PRIMARY KEY,           -- 'event'
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO told SELECT 'event', coalesce(max(sequence), 0) FROM event;

-- Recipients refused for good that are not told yet: written in the commit that settles them, gone in the one that tells.
CREATE TABLE refusal (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    message   INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL
) STRICT;
CREATE INDEX refusal_of_message ON refusal (message);

-- One event for one webhook.
CREATE TABLE webhook_delivery (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook       INTEGER NOT NULL,
    message_id    TEXT NOT NULL,         -- webhook-id: the same at every try
    topic         TEXT NOT NULL,
    message       INTEGER,               -- NULL: a test
    body          TEXT NOT NULL,         -- JSON, the same octets at every try
    created_at_ms INTEGER NOT NULL,
    since_ms      INTEGER NOT NULL,      -- its life begins here: made, or replayed
    state         TEXT NOT NULL,         -- waiting, delivered, failed
    attempts      INTEGER NOT NULL,
    next_try_ms   INTEGER NOT NULL,
    last_try_ms   INTEGER,
    answer        TEXT NOT NULL          -- what the last try came to; empty before any
) STRICT;
CREATE INDEX webhook_delivery_due ON webhook_delivery (state, webhook, next_try_ms);
CREATE INDEX webhook_delivery_of_webhook ON webhook_delivery (webhook, id);
CREATE INDEX webhook_delivery_of_message ON webhook_delivery (message);

-- Lines that wait for the next notice by mail.
CREATE TABLE mail_notice (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    login   TEXT NOT NULL,
    org     TEXT NOT NULL,
    message INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    sender  TEXT NOT NULL,               -- the address the mail was sent from
    line    TEXT NOT NULL                -- JSON
) STRICT;
CREATE INDEX mail_notice_of_login ON mail_notice (login, sender, id);
CREATE INDEX mail_notice_of_message ON mail_notice (message);

-- When notices went out, for their bound; old rows go.
CREATE TABLE mail_notice_sent (
    login TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX mail_notice_sent_of_login ON mail_notice_sent (login, at_ms);
