-- +goose Up

-- Which message sent which again. Written with the watermark that records its acceptance.
CREATE TABLE resends (
    original BLOB   NOT NULL,
    message  BLOB   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (original, message)
) WITHOUT ROWID;
CREATE INDEX resends_at ON resends (at);

-- Erasures, those in hand and those done. doc is JSON; the address is in it sealed, and only until the erasure is done.
CREATE TABLE erasures (
    id       TEXT   NOT NULL PRIMARY KEY,
    finished BIGINT NOT NULL,
    doc      TEXT   NOT NULL
) WITHOUT ROWID;
