-- Who told of a capture's files.

ALTER TABLE capture ADD COLUMN witness TEXT;
