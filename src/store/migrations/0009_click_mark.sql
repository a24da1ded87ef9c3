-- Clicks are held back for a moment and opens are not: each kind has its own mark.
UPDATE told SET what = 'open' WHERE what = 'event';
INSERT INTO told SELECT 'click', sequence FROM told WHERE what = 'open';
