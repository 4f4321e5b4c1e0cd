-- +goose Up

-- The declared state: one row per entry. doc is JSON as the API shows it, secrets a JSON object of what must never be
-- shown (credential hashes; keys and passwords, encrypted already).
CREATE TABLE entries (
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    doc        TEXT   NOT NULL,
    secrets    TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- One row: the version of the declared state.
CREATE TABLE state (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version BIGINT  NOT NULL
);
INSERT INTO state (one, version) VALUES (1, 0);

CREATE TABLE audit (
    id         INTEGER PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    before_doc TEXT   NOT NULL,
    after_doc  TEXT   NOT NULL,
    secrets    TEXT   NOT NULL,
    note       TEXT   NOT NULL
);
CREATE INDEX audit_entry ON audit (kind, name, id);

CREATE TABLE alerts (
    id         INTEGER PRIMARY KEY,
    kind       TEXT   NOT NULL,
    scope      TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    since      BIGINT NOT NULL,
    last       BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    cleared_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX alerts_open ON alerts (kind, scope) WHERE cleared_at = 0;

CREATE TABLE suppressions (
    address    TEXT   NOT NULL,
    account    TEXT   NOT NULL,
    stream     TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    origin     TEXT   NOT NULL,
    since      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (address, account, stream)
) WITHOUT ROWID;
CREATE INDEX suppressions_account ON suppressions (account, address);
CREATE INDEX suppressions_expiry ON suppressions (expires_at) WHERE expires_at > 0;

CREATE TABLE ledger (
    key     TEXT   NOT NULL,
    period  TEXT   NOT NULL,
    taken   BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (key, period)
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Per spool, the sequence up to which every day file has every event: where the projector goes on.
CREATE TABLE watermarks (
    spool BIGINT NOT NULL PRIMARY KEY,
    seq   BIGINT NOT NULL
) WITHOUT ROWID;
