-- +goose Up

-- One row: whose file this is, and a sealed text that tells whether the key is the right one.
CREATE TABLE about (
    one       INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    account   TEXT    NOT NULL,
    keep_days BIGINT  NOT NULL,
    proof     BLOB    NOT NULL
);

-- about is the message as JSON, compressed and sealed.
CREATE TABLE messages (
    message BLOB   NOT NULL PRIMARY KEY,
    chunks  BIGINT NOT NULL,
    about   BLOB   NOT NULL
) WITHOUT ROWID;

-- The content in pieces, each compressed and sealed.
CREATE TABLE chunks (
    message BLOB   NOT NULL,
    n       BIGINT NOT NULL,
    data    BLOB   NOT NULL,
    PRIMARY KEY (message, n)
);

-- rhash is keyed: without the key nobody can test whether an address is among them.
CREATE TABLE recipients (
    message  BLOB   NOT NULL,
    delivery BLOB   NOT NULL,
    rhash    BIGINT NOT NULL,
    address  BLOB   NOT NULL,
    PRIMARY KEY (message, delivery)
) WITHOUT ROWID;
CREATE INDEX recipients_rhash ON recipients (rhash);
