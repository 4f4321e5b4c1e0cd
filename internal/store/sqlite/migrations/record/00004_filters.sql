-- +goose Up

-- Which recipients the deliveries of some buckets can have: Bloom filters of their hashes, as filter.go sets the bits. A
-- look-up by recipient asks them before the index; buckets without a filter are looked up there. Each is some pages in a row.
CREATE TABLE filters (
    first_bucket BIGINT NOT NULL PRIMARY KEY,
    last_bucket  BIGINT NOT NULL,
    first_page   BIGINT NOT NULL,
    pages        BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE filter_pages (
    page INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
);
