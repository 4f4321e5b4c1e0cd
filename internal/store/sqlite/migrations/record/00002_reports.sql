-- +goose Up

-- What came in on this day: reports and the operator's mail. doc is JSON as the API shows it; the mails lie apart, so that
-- lists read little.
CREATE TABLE reports (
    report  BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    kind    TEXT NOT NULL,
    door    TEXT NOT NULL,
    outcome TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    doc     TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX reports_account ON reports (account, report);
CREATE INDEX reports_mailbox ON reports (mailbox, report) WHERE mailbox <> '';

-- raw is the mail, deflated (RFC 1951).
CREATE TABLE report_mails (
    report BLOB NOT NULL PRIMARY KEY,
    raw    BLOB NOT NULL
);
