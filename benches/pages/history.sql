-- A year of mail, written at once: :messages mails, :events events, ending at :now_ms. Nothing is random, so that two
-- runs ask the same; ids are scattered as real ones are.
CREATE TEMP TABLE knob AS SELECT :messages AS messages, :events AS events, :now_ms AS now_ms, 364 * 86400000 AS span_ms;

CREATE TEMP TABLE mail AS
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT (SELECT messages FROM knob))
SELECT i,
       ((i * 1103515245 + 12345) % 2147483648) * 4294967296 + i AS id,
       now_ms - span_ms + CAST(i * 1.0 * span_ms / messages AS INTEGER) AS at_ms,
       CASE WHEN i % 10 < 7 THEN 'acme' WHEN i % 10 < 9 THEN 'beta' ELSE 'gamma' END AS org,
       -- ann sends every twentieth mail; the others are fifty more senders and, now and then, a trusted network
       CASE WHEN i % 20 = 0 THEN 'ann@acme.example' WHEN i % 33 = 0 THEN NULL
            ELSE 'user' || (i * 7919 % 50) || '@' || CASE WHEN i % 10 < 7 THEN 'acme' WHEN i % 10 < 9 THEN 'beta' ELSE 'gamma' END || '.example' END AS login,
       CASE WHEN i % 1000 = 7 THEN 50 ELSE 1 + i % 3 END AS recipients
FROM n, knob;
CREATE UNIQUE INDEX temp.mail_i ON mail (i);

INSERT INTO message (id, accepted_at_ms, org, login, reverse_path, header_from, subject, message_id_header, size_bytes,
                     network_hash, site, key_id, untouched, notes, recipients, accepted)
SELECT id, at_ms, org, login, coalesce(login, 'robot@' || org || '.example'), coalesce(login, 'robot@' || org || '.example'),
       CASE i % 7 WHEN 0 THEN 'Your offer ' WHEN 1 THEN 'Minutes of the meeting on ' WHEN 2 THEN 'Invoice ' WHEN 3 THEN 'Re: delivery of '
                  WHEN 4 THEN 'Autumn catalogue ' WHEN 5 THEN 'Question about order ' ELSE 'Reminder: ' END || (i * 31 % 9973),
       '<' || i || '@' || org || '.example>', 4000 + i * 37 % 90000, NULL, x'01010101', 0,
       iif(i % 50 = 3, 'the mail is signed (multipart/signed)', NULL), '["link 3 left: it is the unsubscribe link"]',
       recipients, recipients - (i % 90 = 0)
FROM mail;

INSERT INTO recipient (message, idx, position, copy_index, address, opens, links, state, reply, at_ms, name)
WITH RECURSIVE k (j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM k LIMIT 50)
SELECT id, j, j, j,
       -- everybody writes to one colleague every twentieth time
       CASE WHEN j = 0 AND i % 20 = 5 THEN 'colleague@partner.example'
            ELSE 'reader' || ((i * 48271 + j * 7) % 20000) || '@' || 'host' || ((i * 48271 + j * 7) % 300) || '.example' END,
       'individual', 'individual',
       CASE WHEN j = 0 AND i % 90 = 0 THEN CASE WHEN i % 270 = 0 THEN 'deferred' ELSE 'refused' END ELSE 'accepted' END,
       '2.0.0 Ok: queued', at_ms + 800,
       iif(j % 4 = 3, '', 'Reader Number ' || ((i * 48271 + j * 7) % 20000))
FROM mail JOIN k ON j < recipients;

INSERT INTO link (message, idx, destination)
WITH k (j) AS (VALUES (0), (1), (2), (3))
SELECT id, j, CASE j WHEN 0 THEN 'https://www.' || org || '.example/offers/' || (i % 2000)
                     WHEN 1 THEN 'https://www.' || org || '.example/order?number=' || i
                     WHEN 2 THEN 'https://docs.example/terms' ELSE 'https://help.example/article/' || (i % 400) END
FROM mail, k;

INSERT INTO event (at_ms, message, recipient, link, kind, verdict, rule, country, agent_family, os_family, device_family,
                   network_hash, repeats, city, via)
WITH RECURSIVE n (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n LIMIT (SELECT events FROM knob))
SELECT min(max(now_ms - span_ms + CAST(k * 1.0 * span_ms / events AS INTEGER), mail.at_ms + 60000), now_ms),
       mail.id, k * 13 % mail.recipients, iif(k % 4 = 3, k / 4 % 4, 0), iif(k % 4 = 3, 'click', 'open'),
       CASE WHEN k % 10 < 6 THEN 'person' WHEN k % 10 < 7 THEN 'proxy' WHEN k % 10 < 9 THEN 'machine' ELSE 'self' END,
       CASE WHEN k % 10 < 6 THEN '' WHEN k % 10 < 7 THEN 'image-proxy' WHEN k % 10 < 9 THEN 'instant' ELSE 'own' END,
       substr('DEFRNLATCHUSGBITESPLBESECZDKNOFIPTIEGRHU', 1 + 2 * (k % 20), 2),
       CASE k % 3 WHEN 0 THEN 'Thunderbird' WHEN 1 THEN 'Outlook' ELSE 'Apple Mail' END, CASE k % 2 WHEN 0 THEN 'Windows' ELSE 'Mac OS X' END,
       NULL, randomblob(8), k % 17 = 0, NULL, NULL
FROM n, knob
-- A mail is read for weeks; one mail in the middle of the year has a fiftieth of everything.
JOIN mail ON mail.i = iif(k % 25 = 0 AND k > events / 2, messages / 2,
                          max(0, min(messages - 1, k / max(1, events / messages) - iif(k % 3 = 0, k * 48271 % 3000, k * 48271 % 40))));

-- The counters, as the migrations that brought them counted what was there.
INSERT INTO copy_count
    SELECT message, recipient,
           sum(kind = 'open' AND verdict NOT IN ('machine', 'self')), sum(kind = 'click' AND verdict NOT IN ('machine', 'self')),
           sum(kind = 'open' AND verdict IN ('machine', 'self')), sum(kind = 'click' AND verdict IN ('machine', 'self'))
    FROM event GROUP BY message, recipient;
UPDATE message SET (opens, clicks, machine_opens, machine_clicks) =
    (SELECT coalesce(sum(opens), 0), coalesce(sum(clicks), 0), coalesce(sum(machine_opens), 0), coalesce(sum(machine_clicks), 0)
     FROM copy_count WHERE message = message.id);
INSERT INTO day_count
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000,
           sum(e.kind = 'open' AND e.verdict NOT IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict NOT IN ('machine', 'self')),
           sum(e.kind = 'open' AND e.verdict IN ('machine', 'self')), sum(e.kind = 'click' AND e.verdict IN ('machine', 'self'))
    FROM event e JOIN message m ON m.id = e.message GROUP BY 1, 2, 3;
INSERT INTO correspondent (org, login, address, mails, last_ms, name)
    SELECT m.org, coalesce(m.login, ''), r.address, count(*), max(m.accepted_at_ms), max(r.name)
    FROM recipient r JOIN message m ON m.id = r.message GROUP BY 1, 2, 3;
INSERT INTO link_count
    SELECT message, link, recipient, sum(verdict NOT IN ('machine', 'self')), sum(verdict IN ('machine', 'self'))
    FROM event WHERE kind = 'click' GROUP BY 1, 2, 3;
INSERT INTO link_day
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000, l.destination,
           sum(e.verdict NOT IN ('machine', 'self')), sum(e.verdict IN ('machine', 'self'))
    FROM event e JOIN message m ON m.id = e.message JOIN link l ON l.message = e.message AND l.idx = e.link
    WHERE e.kind = 'click' GROUP BY 1, 2, 3, 4;
INSERT INTO place_day
    SELECT m.org, coalesce(m.login, ''), e.at_ms / 86400000, e.country, sum(e.kind = 'open'), sum(e.kind = 'click')
    FROM event e JOIN message m ON m.id = e.message
    WHERE e.country IS NOT NULL AND e.via IS NULL AND e.verdict IN ('person', 'unknown') GROUP BY 1, 2, 3, 4;
DROP TABLE temp.mail;
DROP TABLE temp.knob;
