-- +goose Up

-- Several events of a webhook can be open at a time: ahead is the text of a store.Cursor up to which all is done but what
-- unfinished lists, a JSON list of store.WebhookOpen.
ALTER TABLE positions ADD COLUMN ahead TEXT NOT NULL DEFAULT '';
ALTER TABLE positions ADD COLUMN unfinished TEXT NOT NULL DEFAULT '';
UPDATE positions SET unfinished = json_array(json_object(
    'e', event, 'n', attempts,
    'f', strftime('%Y-%m-%dT%H:%M:%SZ', first_at / 1000000, 'unixepoch'),
    'x', strftime('%Y-%m-%dT%H:%M:%SZ', next_at / 1000000, 'unixepoch'))) WHERE event <> '';
ALTER TABLE positions DROP COLUMN event;
ALTER TABLE positions DROP COLUMN attempts;
ALTER TABLE positions DROP COLUMN first_at;
ALTER TABLE positions DROP COLUMN next_at;
