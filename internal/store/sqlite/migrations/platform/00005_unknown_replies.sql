-- +goose Up

-- Replies no rule understood, by fingerprint. hosts, stages and codes are lists separated by LF, without what was seen
-- beyond their limits.
CREATE TABLE unknown_replies (
    fingerprint TEXT   NOT NULL PRIMARY KEY,
    n           BIGINT NOT NULL,
    first_at    BIGINT NOT NULL,
    last_at     BIGINT NOT NULL,
    hosts       TEXT   NOT NULL,
    stages      TEXT   NOT NULL,
    codes       TEXT   NOT NULL,
    sample      TEXT   NOT NULL,
    done_at     BIGINT NOT NULL,
    done_by     TEXT   NOT NULL
) WITHOUT ROWID;

-- Per spool, the sequence up to which events are counted: counting them again counts nothing.
CREATE TABLE unknown_replies_mark (
    spool BIGINT NOT NULL PRIMARY KEY,
    seq   BIGINT NOT NULL
) WITHOUT ROWID;
