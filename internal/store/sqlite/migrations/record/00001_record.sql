-- +goose Up

-- Per spool, how far this file has applied the spool's events, and the first and last of them it holds.
CREATE TABLE applied (
    spool     BIGINT NOT NULL PRIMARY KEY,
    seq       BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    delivery BLOB   NOT NULL,
    spool    BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    type     TEXT   NOT NULL,
    account  TEXT   NOT NULL,
    data     TEXT   NOT NULL,
    PRIMARY KEY (delivery, spool, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_seq ON events (spool, seq);

-- Rows are indexed by hash within buckets of some thousands, in the order they were recorded: a batch then writes to few
-- pages of an index, where hashes alone would spread it over all of them. A look-up asks every bucket.
CREATE TABLE buckets (
    bucket BIGINT NOT NULL PRIMARY KEY,
    filled BIGINT NOT NULL
) WITHOUT ROWID;

-- One row per message with deliveries of this day: what its accepted events have in common.
CREATE TABLE messages (
    message BLOB   NOT NULL PRIMARY KEY,
    bucket  BIGINT NOT NULL,
    mhash   BIGINT NOT NULL,
    data    TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX messages_mhash ON messages (bucket, mhash);

CREATE TABLE deliveries (
    delivery    BLOB   NOT NULL PRIMARY KEY,
    message     BLOB   NOT NULL,
    account     TEXT   NOT NULL,
    bucket      BIGINT NOT NULL,
    rhash       BIGINT NOT NULL,
    recipient   TEXT   NOT NULL,
    domain      TEXT   NOT NULL,
    known       BIGINT NOT NULL,
    stream      TEXT   NOT NULL,
    sender      TEXT   NOT NULL,
    header_from TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    tags        TEXT   NOT NULL,
    rank        BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    class       TEXT   NOT NULL,
    scope       TEXT   NOT NULL,
    code        BIGINT NOT NULL,
    enhanced    TEXT   NOT NULL,
    reply       TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    route       TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    mx          TEXT   NOT NULL,
    next_at     BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    marks       BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_recipient ON deliveries (bucket, rhash);
CREATE INDEX deliveries_message ON deliveries (message, delivery);
CREATE INDEX deliveries_account ON deliveries (account, delivery);

-- Hours are counted from 1970 UTC; delay is in microseconds.
CREATE TABLE rollup_account (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    stream  TEXT   NOT NULL,
    type    TEXT   NOT NULL,
    class   TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, stream, type, class)
) WITHOUT ROWID;

CREATE TABLE rollup_site (
    hour     BIGINT NOT NULL,
    receiver TEXT   NOT NULL,
    site     TEXT   NOT NULL,
    type     TEXT   NOT NULL,
    class    TEXT   NOT NULL,
    n        BIGINT NOT NULL,
    delay    BIGINT NOT NULL,
    PRIMARY KEY (hour, receiver, site, type, class)
) WITHOUT ROWID;

CREATE TABLE rollup_route (
    hour   BIGINT NOT NULL,
    route  TEXT   NOT NULL,
    source TEXT   NOT NULL,
    type   TEXT   NOT NULL,
    n      BIGINT NOT NULL,
    delay  BIGINT NOT NULL,
    PRIMARY KEY (hour, route, source, type)
) WITHOUT ROWID;
