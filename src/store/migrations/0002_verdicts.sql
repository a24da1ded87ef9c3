-- What judging adds to an event.
ALTER TABLE event ADD COLUMN former TEXT;                          -- the verdict before a burst showed it wrong
ALTER TABLE event ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;   -- the same again within a minute
ALTER TABLE event ADD COLUMN city TEXT;
ALTER TABLE event ADD COLUMN via TEXT;                             -- relay, hosting: the place is perhaps not the reader's

-- Counted in the commit that records the events, as in `message`: opens and clicks are person, proxy and unknown,
-- machine_* are machine and self.
CREATE TABLE copy_count (
    message        INTEGER NOT NULL,
    copy           INTEGER NOT NULL,     -- the index in its tokens
    opens          INTEGER NOT NULL,
    clicks         INTEGER NOT NULL,
    machine_opens  INTEGER NOT NULL,
    machine_clicks INTEGER NOT NULL,
    PRIMARY KEY (message, copy)
) STRICT, WITHOUT ROWID;

CREATE TABLE day_count (
    org            TEXT NOT NULL,
    login          TEXT NOT NULL,        -- empty: a trusted network
    day            INTEGER NOT NULL,     -- days since 1970-01-01, UTC
    opens          INTEGER NOT NULL,
    clicks         INTEGER NOT NULL,
    machine_opens  INTEGER NOT NULL,
    machine_clicks INTEGER NOT NULL,
    PRIMARY KEY (org, login, day)
) STRICT, WITHOUT ROWID;

-- What was recorded before there were counters.
INSERT INTO copy_count
    SELECT message, recipient,
           sum(kind = 'open' AND verdict NOT IN ('machine', 'self')), sum(kind = 'click' AND verdict NOT IN ('machine', 'self')),
           sum(kind = 'open' AND verdict IN ('machine', 'self')), sum(kind = 'click' AND verdict IN ('machine', 'self'))
    FROM event WHERE EXISTS (SELECT 1 FROM message WHERE id = event.message) GROUP BY message, recipient;
INSERT INTO day_count
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000,
           sum(e.kind = 'open' AND e.verdict NOT IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict NOT IN ('machine', 'self')),
           sum(e.kind = 'open' AND e.verdict IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict IN ('machine', 'self'))
    FROM event e JOIN message m ON m.id = e.message GROUP BY 1, 2, 3;
