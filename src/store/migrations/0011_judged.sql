-- Events judged otherwise than before, in the order that happened: whoever was away is told of them. Old ones go
-- (src/store/events.rs), and an event that is forgotten is simply not found.
CREATE TABLE judged (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice: pages come back with it
    sequence INTEGER NOT NULL                     -- of the event
) STRICT;
