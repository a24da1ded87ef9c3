-- One reader's events among those of many: whose they are stands in the index, so that nobody else's rows are read.
DROP INDEX event_of_message;
CREATE INDEX event_of_message ON event (message, sequence, recipient);
