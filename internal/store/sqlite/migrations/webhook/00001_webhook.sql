-- +goose Up

-- Where each webhook stands. cursor is the text of a store.Cursor; times are microseconds, 0 for none.
CREATE TABLE positions (
    webhook    TEXT   NOT NULL PRIMARY KEY,
    cursor     TEXT   NOT NULL,
    lagging    BIGINT NOT NULL,
    event      TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    stopped_at BIGINT NOT NULL,
    reason     TEXT   NOT NULL,
    success_at BIGINT NOT NULL
) WITHOUT ROWID;

-- AUTOINCREMENT: an id that was shown is never another attempt's.
CREATE TABLE attempts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook         TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    event           TEXT   NOT NULL,
    type            TEXT   NOT NULL,
    n               BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    took            BIGINT NOT NULL,
    url             TEXT   NOT NULL,
    status          BIGINT NOT NULL,
    error           TEXT   NOT NULL,
    taken           BIGINT NOT NULL,
    next_at         BIGINT NOT NULL,
    cut             BIGINT NOT NULL,
    request_header  TEXT   NOT NULL,
    request_body    TEXT   NOT NULL,
    response_header TEXT   NOT NULL,
    response_body   TEXT   NOT NULL
);
CREATE INDEX attempts_webhook ON attempts (webhook, id);

CREATE TABLE replays (
    id       TEXT   NOT NULL PRIMARY KEY,
    webhook  TEXT   NOT NULL,
    from_at  BIGINT NOT NULL,
    to_at    BIGINT NOT NULL,
    events   TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    cursor   TEXT   NOT NULL,
    looked   BIGINT NOT NULL,
    done     BIGINT NOT NULL,
    sent     BIGINT NOT NULL,
    error    TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    actor    TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX replays_webhook ON replays (webhook, id);
