-- What the list is searched by stands in its indexes, so that a search reads no row it does not show.
DROP INDEX message_newest;
DROP INDEX message_newest_of_org;
DROP INDEX message_newest_of_login;
CREATE INDEX message_newest ON message (accepted_at_ms, id, org, login, header_from, subject);
CREATE INDEX message_newest_of_org ON message (org, accepted_at_ms, id, login, header_from, subject);
CREATE INDEX message_newest_of_login ON message (login, accepted_at_ms, id, org, header_from, subject) WHERE login IS NOT NULL;
CREATE INDEX recipient_of_address ON recipient (address COLLATE NOCASE);
CREATE INDEX recipient_in_trouble ON recipient (state) WHERE state IN ('refused', 'deferred', 'unknown');

-- Whom a sender wrote to.
CREATE TABLE correspondent (
    org     TEXT NOT NULL,
    login   TEXT NOT NULL,               -- empty: a trusted network
    address TEXT NOT NULL COLLATE NOCASE,
    mails   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,            -- of the last mail
    PRIMARY KEY (org, login, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX correspondent_of_address ON correspondent (address);

-- Counted in the commit that records the events, as in `message`.
CREATE TABLE link_count (
    message        INTEGER NOT NULL,
    link           INTEGER NOT NULL,
    copy           INTEGER NOT NULL,     -- the index in its tokens
    clicks         INTEGER NOT NULL,
    machine_clicks INTEGER NOT NULL,
    PRIMARY KEY (message, link, copy)
) STRICT, WITHOUT ROWID;

CREATE TABLE link_day (
    org            TEXT NOT NULL,
    login          TEXT NOT NULL,        -- empty: a trusted network
    day            INTEGER NOT NULL,     -- days since 1970-01-01, UTC
    destination    TEXT NOT NULL,
    clicks         INTEGER NOT NULL,
    machine_clicks INTEGER NOT NULL,
    PRIMARY KEY (org, login, day, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_day_of_org ON link_day (org, day);
CREATE INDEX link_day_by_day ON link_day (day);

-- Only of people whose place is their own: no machine, no relay, no proxy.
CREATE TABLE place_day (
    org     TEXT NOT NULL,
    login   TEXT NOT NULL,               -- empty: a trusted network
    day     INTEGER NOT NULL,
    country TEXT NOT NULL,
    opens   INTEGER NOT NULL,
    clicks  INTEGER NOT NULL,
    PRIMARY KEY (org, login, day, country)
) STRICT, WITHOUT ROWID;
CREATE INDEX place_day_of_org ON place_day (org, day);
CREATE INDEX place_day_by_day ON place_day (day);

-- What was there before there were such counters.
INSERT INTO correspondent
    SELECT m.org, coalesce(m.login, ''), r.address, count(*), max(m.accepted_at_ms)
    FROM recipient r JOIN message m ON m.id = r.message WHERE r.address <> '' GROUP BY 1, 2, 3 COLLATE NOCASE;
INSERT INTO link_count
    SELECT message, link, recipient, sum(verdict NOT IN ('machine', 'self')), sum(verdict IN ('machine', 'self'))
    FROM event WHERE kind = 'click' AND EXISTS (SELECT 1 FROM message WHERE id = event.message) GROUP BY 1, 2, 3;
INSERT INTO link_day
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000, l.destination,
           sum(e.verdict NOT IN ('machine', 'self')), sum(e.verdict IN ('machine', 'self'))
    FROM event e JOIN message m ON m.id = e.message JOIN link l ON l.message = e.message AND l.idx = e.link
    WHERE e.kind = 'click' GROUP BY 1, 2, 3, 4;
INSERT INTO place_day
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000, e.country, sum(e.kind = 'open'), sum(e.kind = 'click')
    FROM event e JOIN message m ON m.id = e.message
    WHERE e.country IS NOT NULL AND e.via IS NULL AND e.verdict IN ('person', 'unknown') GROUP BY 1, 2, 3, 4;
