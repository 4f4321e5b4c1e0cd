-- +goose Up

-- The route question is asked by class too. Rows from before have none.
ALTER TABLE rollup_route RENAME TO rollup_route_1;
CREATE TABLE rollup_route (
    hour   BIGINT NOT NULL,
    route  TEXT   NOT NULL,
    source TEXT   NOT NULL,
    type   TEXT   NOT NULL,
    class  TEXT   NOT NULL,
    n      BIGINT NOT NULL,
    delay  BIGINT NOT NULL,
    PRIMARY KEY (hour, route, source, type, class)
) WITHOUT ROWID;
INSERT INTO rollup_route SELECT hour, route, source, type, '', n, delay FROM rollup_route_1;
DROP TABLE rollup_route_1;

CREATE TABLE rollup_sender (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    sender  TEXT   NOT NULL,
    type    TEXT   NOT NULL,
    class   TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, sender, type, class)
) WITHOUT ROWID;

-- What became of the deliveries of this day: a row counts those that stand so now. A delivery that moves on is taken
-- away in one row and added in another. hour is when it was accepted; the tables that have day count whole days, under
-- the day's first hour.
CREATE TABLE rollup_outcome (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    stream  TEXT   NOT NULL,
    outcome TEXT   NOT NULL,
    class   TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, stream, outcome, class)
) WITHOUT ROWID;

CREATE TABLE rollup_sender_outcome (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    sender  TEXT   NOT NULL,
    outcome TEXT   NOT NULL,
    class   TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, sender, outcome, class)
) WITHOUT ROWID;

CREATE TABLE rollup_domain_outcome (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    domain  TEXT   NOT NULL,
    outcome TEXT   NOT NULL,
    class   TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, domain, outcome, class)
) WITHOUT ROWID;

-- Deliveries to which something happened at least once, and how soon deliveries were taken.
CREATE TABLE rollup_mark (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    stream  TEXT   NOT NULL,
    mark    TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, stream, mark)
) WITHOUT ROWID;

CREATE TABLE rollup_speed (
    hour    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    stream  TEXT   NOT NULL,
    within  TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    delay   BIGINT NOT NULL,
    PRIMARY KEY (hour, account, stream, within)
) WITHOUT ROWID;

-- Only what fails costs an entry here.
CREATE INDEX deliveries_failed ON deliveries (account, delivery) WHERE state IN ('bounced', 'expired', 'deferred');

-- A file from before: its deliveries are counted under the day's first hour. Whether one was deferred on its way, and
-- how soon it was taken, was not kept.
CREATE TEMP TABLE past AS SELECT account, stream, domain,
    lower(CASE WHEN header_from <> '' THEN substr(header_from, instr(header_from, '@') + 1) ELSE substr(sender, instr(sender, '@') + 1) END) AS author,
    CASE WHEN state = 'bounced' AND marks & 1 THEN 'bounced_late' ELSE state END AS outcome, class, marks,
    (SELECT min(hour) / 24 * 24 FROM rollup_account) AS hour
    FROM deliveries WHERE rank >= 0;
INSERT INTO rollup_outcome SELECT hour, account, stream, outcome, class, count(*), 0 FROM past GROUP BY 1, 2, 3, 4, 5;
INSERT INTO rollup_sender_outcome
    WITH largest AS (SELECT account, author, row_number() OVER (PARTITION BY account ORDER BY count(*) DESC) AS place FROM past GROUP BY 1, 2)
    SELECT b.hour, b.account, CASE WHEN l.place <= 200 THEN b.author ELSE 'other' END AS who, b.outcome, b.class, count(*), 0
    FROM past b JOIN largest l ON l.account = b.account AND l.author = b.author GROUP BY 1, 2, 3, 4, 5;
INSERT INTO rollup_domain_outcome
    WITH largest AS (SELECT account, domain, row_number() OVER (PARTITION BY account ORDER BY count(*) DESC) AS place FROM past GROUP BY 1, 2)
    SELECT b.hour, b.account, CASE WHEN l.place <= 500 THEN b.domain ELSE 'other' END AS whose, b.outcome, b.class, count(*), 0
    FROM past b JOIN largest l ON l.account = b.account AND l.domain = b.domain
    WHERE b.outcome NOT IN ('queued', 'held', 'deferred') GROUP BY 1, 2, 3, 4, 5;
INSERT INTO rollup_mark SELECT hour, account, stream, 'uncertain', count(*), 0 FROM past WHERE marks & 2 GROUP BY 1, 2, 3;
INSERT INTO rollup_mark SELECT hour, account, stream, 'complained', count(*), 0 FROM past WHERE marks & 4 GROUP BY 1, 2, 3;
INSERT INTO rollup_mark SELECT hour, account, stream, 'unsubscribed', count(*), 0 FROM past WHERE marks & 8 GROUP BY 1, 2, 3;
INSERT INTO rollup_mark SELECT hour, account, stream, 'auto_replied', count(*), 0 FROM past WHERE marks & 64 GROUP BY 1, 2, 3;
DROP TABLE past;
