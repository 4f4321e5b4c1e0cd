-- +goose Up

-- What an entry rests on, who made it, and who refused the mail. Entries from before had no way to be made.
ALTER TABLE suppressions ADD COLUMN class TEXT NOT NULL DEFAULT 'manual';
ALTER TABLE suppressions ADD COLUMN actor TEXT NOT NULL DEFAULT '';
ALTER TABLE suppressions ADD COLUMN receiver TEXT NOT NULL DEFAULT '';

-- Events that speak against an address, each once, for as long as anything is decided by them.
CREATE TABLE failures (
    account  TEXT   NOT NULL,
    address  TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    class    TEXT   NOT NULL,
    delivery TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    evidence TEXT   NOT NULL,
    receiver TEXT   NOT NULL,
    PRIMARY KEY (account, address, event)
) WITHOUT ROWID;
CREATE INDEX failures_at ON failures (at);
