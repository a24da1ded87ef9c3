-- Kept only for an organisation that has chosen so, and as long as the event.
ALTER TABLE event ADD COLUMN address TEXT;   -- as written: 192.0.2.7, 2001:db8::7
ALTER TABLE event ADD COLUMN agent TEXT;     -- the whole User-Agent

-- A month of one organisation, and of all.
CREATE INDEX day_count_of_org ON day_count (org, day);
CREATE INDEX day_count_by_day ON day_count (day);
