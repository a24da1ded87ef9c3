-- Times are Unix milliseconds. A message id is the 64 bits of the token, kept as SQLite's signed integer.

CREATE TABLE message (
    id                INTEGER PRIMARY KEY,
    accepted_at_ms    INTEGER NOT NULL,
    org               TEXT NOT NULL,
    login             TEXT,              -- NULL: a trusted network
    reverse_path      TEXT NOT NULL,     -- empty: <>
    header_from       TEXT NOT NULL,
    subject           TEXT NOT NULL,
    message_id_header TEXT NOT NULL,
    size_bytes        INTEGER NOT NULL,
    network_hash      BLOB,
    site              BLOB NOT NULL,
    key_id            INTEGER NOT NULL,
    untouched         TEXT,              -- why nothing was rewritten; NULL when something was
    notes             TEXT NOT NULL,     -- JSON array of lines
    -- Counted in the commit that changes them, so that a list never reads the events.
    recipients        INTEGER NOT NULL,
    accepted          INTEGER NOT NULL,
    opens             INTEGER NOT NULL DEFAULT 0,   -- person, proxy, unknown
    clicks            INTEGER NOT NULL DEFAULT 0,
    machine_opens     INTEGER NOT NULL DEFAULT 0,   -- machine, self
    machine_clicks    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX message_newest ON message (accepted_at_ms, id);
CREATE INDEX message_newest_of_org ON message (org, accepted_at_ms, id);
CREATE INDEX message_newest_of_login ON message (login, accepted_at_ms, id) WHERE login IS NOT NULL;

CREATE TABLE recipient (
    message    INTEGER NOT NULL,
    idx        INTEGER NOT NULL,         -- the one in the token
    position   INTEGER NOT NULL,         -- order in the envelope
    copy_index INTEGER NOT NULL,
    address    TEXT NOT NULL,
    opens      TEXT NOT NULL,
    links      TEXT NOT NULL,
    state      TEXT NOT NULL,
    reply      TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (message, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE link (
    message     INTEGER NOT NULL,
    idx         INTEGER NOT NULL,        -- the one in the token
    destination TEXT NOT NULL,
    PRIMARY KEY (message, idx)
) STRICT, WITHOUT ROWID;

-- An event may name a message this store has lost: links outlive it.
CREATE TABLE event (
    sequence      INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice: followers resume from it
    at_ms         INTEGER NOT NULL,
    message       INTEGER NOT NULL,
    recipient     INTEGER NOT NULL,
    link          INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    verdict       TEXT NOT NULL,
    rule          TEXT NOT NULL,
    country       TEXT,
    agent_family  TEXT,
    os_family     TEXT,
    device_family TEXT,
    network_hash  BLOB
) STRICT;

CREATE INDEX event_of_message ON event (message, sequence);
