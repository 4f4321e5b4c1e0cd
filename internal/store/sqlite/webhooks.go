package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/store"
)

// webhookTrim is after how many new attempts of one webhook the oldest are dropped: the log is longer than it should be
// by at most so many.
const webhookTrim = 500

// attemptChunk is how many expired attempts one transaction deletes.
const attemptChunk = 5000

const positionColumns = "webhook, cursor, ahead, unfinished, lagging, stopped_at, reason, success_at"

// WebhookPositions implements store.Webhooks.
func (s *Store) WebhookPositions(ctx context.Context) ([]store.WebhookPosition, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []store.WebhookPosition
	err := s.webhooks.query(ctx, "read webhook positions", "SELECT "+positionColumns+" FROM positions ORDER BY webhook", nil, func(r rowScanner) error {
		var p store.WebhookPosition
		var cursor, ahead, open string
		var stopped, success int64
		if err := r.Scan(&p.Webhook, &cursor, &ahead, &open, &p.Lagging, &stopped, &p.Reason, &success); err != nil {
			return err
		}
		p.Stopped, p.Success = fromMicros(stopped), fromMicros(success)
		var err error
		if p.At, err = store.ParseCursor(cursor); err == nil {
			p.Ahead, err = store.ParseCursor(ahead)
		}
		if err == nil && open != "" {
			err = json.Unmarshal([]byte(open), &p.Open)
		}
		if err != nil {
			return fmt.Errorf("sqlite: position of webhook %s: %w", p.Webhook, err)
		}
		list = append(list, p)
		return nil
	})
	return list, err
}

// WriteWebhooks implements store.Webhooks.
func (s *Store) WriteWebhooks(ctx context.Context, positions []store.WebhookPosition, attempts []*store.WebhookAttempt, replays []store.WebhookReplay) error {
	if err := s.ready(); err != nil {
		return err
	}
	if s.opts.MayGrow != nil && s.opts.MayGrow() != nil {
		attempts = nil
	}
	err := s.webhooks.write(ctx, "write webhooks", func(t *tx) error {
		for i := range positions {
			if err := t.putPosition(&positions[i]); err != nil {
				return err
			}
		}
		for _, a := range attempts {
			if err := t.addAttempt(a); err != nil {
				return err
			}
			if s.webhookNew[a.Webhook]++; s.webhookNew[a.Webhook] >= webhookTrim {
				s.webhookNew[a.Webhook] = 0
				if err := t.trimAttempts(a.Webhook); err != nil {
					return err
				}
			}
		}
		for i := range replays {
			if err := t.putReplay(&replays[i]); err != nil {
				return err
			}
		}
		return s.step("in webhooks")
	})
	if err != nil {
		for _, a := range attempts {
			a.ID = 0 // rolled back
		}
	}
	return err
}

func (t *tx) putPosition(p *store.WebhookPosition) error {
	open := ""
	if len(p.Open) > 0 {
		b, err := json.Marshal(p.Open)
		if err != nil {
			return fmt.Errorf("sqlite: position of webhook %s: %w", p.Webhook, err)
		}
		open = string(b)
	}
	_, err := t.exec("INSERT INTO positions ("+positionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (webhook) DO UPDATE SET cursor = excluded.cursor, ahead = excluded.ahead, unfinished = excluded.unfinished,
		lagging = excluded.lagging, stopped_at = excluded.stopped_at, reason = excluded.reason, success_at = excluded.success_at`,
		p.Webhook, p.At.String(), p.Ahead.String(), open, flag(p.Lagging), micros(p.Stopped), p.Reason, micros(p.Success))
	return err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

const (
	attemptHead   = "webhook, kind, event, type, n, at, took, url, status, error, taken, next_at, cut"
	attemptBodies = "request_header, request_body, response_header, response_body"
)

func (t *tx) addAttempt(a *store.WebhookAttempt) error {
	return t.row("INSERT INTO attempts ("+attemptHead+", "+attemptBodies+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
		$15, $16, $17) RETURNING id`, []any{
		a.Webhook, string(a.Kind), a.Event, string(a.Type), a.N, micros(a.At), int64(a.Took), a.URL, a.Status, a.Error, flag(a.Taken), micros(a.Next),
		flag(a.Cut), headerText(a.RequestHeader), a.RequestBody, headerText(a.ResponseHeader), a.ResponseBody,
	}, &a.ID)
}

// headerText is how header fields are kept: JSON, "" for none.
func headerText(h http.Header) string {
	if len(h) == 0 {
		return ""
	}
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // a map of texts always marshals
	}
	return string(b)
}

// trimAttempts drops what is beyond the newest of a webhook.
func (t *tx) trimAttempts(webhook string) error {
	_, err := t.exec(`DELETE FROM attempts WHERE webhook = $1 AND id <= (SELECT id FROM attempts WHERE webhook = $1
		ORDER BY id DESC LIMIT 1 OFFSET $2)`, webhook, store.WebhookLogEntries)
	return err
}

func (t *tx) putReplay(r *store.WebhookReplay) error {
	_, err := t.exec(`INSERT INTO replays (id, webhook, from_at, to_at, events, state, cursor, looked, done, sent, error, since, ended_at, actor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (id) DO UPDATE SET state = excluded.state,
		cursor = excluded.cursor, looked = excluded.looked, done = excluded.done, sent = excluded.sent, error = excluded.error,
		ended_at = excluded.ended_at`,
		r.ID, r.Webhook, micros(r.From), micros(r.To), strings.Join(r.Events, " "), string(r.State), r.At.String(), flag(r.Looked), r.Done, r.Sent,
		r.Error, micros(r.Since), micros(r.Ended), r.Actor)
	if err != nil || r.State == store.ReplayRunning {
		return err
	}
	_, err = t.exec(`DELETE FROM replays WHERE webhook = $1 AND state <> 'running' AND id <= (SELECT id FROM replays
		WHERE webhook = $1 AND state <> 'running' ORDER BY id DESC LIMIT 1 OFFSET $2)`, r.Webhook, store.WebhookReplaysKept)
	return err
}

// WebhookReplays implements store.Webhooks.
func (s *Store) WebhookReplays(ctx context.Context, webhook string) ([]store.WebhookReplay, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	where := "webhook = $1 ORDER BY id DESC"
	if webhook == "" {
		where = "state = 'running' AND $1 = '' ORDER BY id"
	}
	var list []store.WebhookReplay
	err := s.webhooks.query(ctx, "read replays", `SELECT id, webhook, from_at, to_at, events, state, cursor, looked, done, sent, error, since, ended_at, actor
		FROM replays WHERE `+where, []any{webhook}, func(r rowScanner) error {
		var x store.WebhookReplay
		var from, to, since, ended int64
		var events, cursor string
		err := r.Scan(&x.ID, &x.Webhook, &from, &to, &events, &x.State, &cursor, &x.Looked, &x.Done, &x.Sent, &x.Error, &since, &ended, &x.Actor)
		if err != nil {
			return err
		}
		x.From, x.To, x.Since, x.Ended, x.Events = fromMicros(from), fromMicros(to), fromMicros(since), fromMicros(ended), strings.Fields(events)
		x.At, err = store.ParseCursor(cursor)
		list = append(list, x)
		return err
	})
	return list, err
}

// DeleteWebhook implements store.Webhooks.
func (s *Store) DeleteWebhook(ctx context.Context, webhook string) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.webhooks.write(ctx, "delete webhook", func(t *tx) error {
		for _, table := range []string{"positions", "attempts", "replays"} {
			if _, err := t.exec("DELETE FROM "+table+" WHERE webhook = $1", webhook); err != nil {
				return err
			}
		}
		return nil
	})
}

// WebhookAttempts implements store.Webhooks.
func (s *Store) WebhookAttempts(ctx context.Context, q store.WebhookQuery) ([]store.WebhookAttempt, string, error) {
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	before, err := parseAttemptCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	columns := "id, " + attemptHead + ", '', '', '', ''"
	if q.Bodies {
		columns = "id, " + attemptHead + ", " + attemptBodies
	}
	max := store.PageSize(q.Max)
	var list []store.WebhookAttempt
	err = s.webhooks.query(ctx, "list webhook attempts", "SELECT "+columns+` FROM attempts WHERE webhook = $1 AND ($2 = 0 OR id < $2)
		AND ($3 = '' OR event = $3) AND ($4 = 0 OR taken = 0) ORDER BY id DESC LIMIT $5`,
		[]any{q.Webhook, before, q.Event, flag(q.Failed), max + 1}, func(r rowScanner) error {
			a, err := scanAttempt(r)
			list = append(list, a)
			return err
		})
	if err != nil || len(list) <= max {
		return list, "", err
	}
	return list[:max], store.EncodeCursor([]byte(strconv.FormatInt(list[max-1].ID, 10))), nil
}

// parseAttemptCursor reads the id of the last attempt of a page; 0 for the begin.
func parseAttemptCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	b, err := store.DecodeCursor(text)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != string(b) {
		return 0, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	return n, nil
}

func scanAttempt(r rowScanner) (a store.WebhookAttempt, err error) {
	var at, took, next int64
	var requestHeader, responseHeader string
	err = r.Scan(&a.ID, &a.Webhook, &a.Kind, &a.Event, &a.Type, &a.N, &at, &took, &a.URL, &a.Status, &a.Error, &a.Taken, &next, &a.Cut,
		&requestHeader, &a.RequestBody, &responseHeader, &a.ResponseBody)
	if err != nil {
		return a, err
	}
	a.At, a.Took, a.Next = fromMicros(at), time.Duration(took), fromMicros(next)
	if a.RequestHeader, err = parseHeader(requestHeader); err != nil {
		return a, err
	}
	a.ResponseHeader, err = parseHeader(responseHeader)
	return a, err
}

func parseHeader(text string) (h http.Header, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &h)
	}
	return h, err
}

// WebhookAttempt implements store.Webhooks.
func (s *Store) WebhookAttempt(ctx context.Context, webhook string, id int64) (a store.WebhookAttempt, err error) {
	if err := s.ready(); err != nil {
		return a, err
	}
	found := false
	err = s.webhooks.query(ctx, "read webhook attempt", "SELECT id, "+attemptHead+", "+attemptBodies+" FROM attempts WHERE webhook = $1 AND id = $2",
		[]any{webhook, id}, func(r rowScanner) (err error) {
			found = true
			a, err = scanAttempt(r)
			return err
		})
	if err == nil && !found {
		err = fmt.Errorf("sqlite: webhook attempt %d: %w", id, store.ErrNotFound)
	}
	return a, err
}

// maintainWebhooks drops attempts made before a time, some at a time, so that nobody waits long, and then what is beyond
// the newest of each webhook.
func (s *Store) maintainWebhooks(ctx context.Context, before time.Time) (dropped int64, err error) {
	const verb = "drop old webhook attempts"
	var kept int64 // ids rise with time, so there is no index on the time
	err = s.webhooks.row(ctx, verb, `SELECT coalesce((SELECT id FROM attempts WHERE at >= $1 ORDER BY id LIMIT 1),
		(SELECT coalesce(max(id), 0) + 1 FROM attempts))`, []any{micros(before)}, &kept)
	for n := int64(attemptChunk); n == attemptChunk && err == nil; dropped += n {
		err = s.webhooks.write(ctx, verb, func(t *tx) (err error) {
			n, err = t.exec("DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE id < $1 ORDER BY id LIMIT $2)", kept, attemptChunk)
			return err
		})
	}
	if err != nil {
		return dropped, err
	}
	positions, err := s.WebhookPositions(ctx)
	for i := 0; i < len(positions) && err == nil; i++ {
		err = s.webhooks.write(ctx, verb, func(t *tx) error { return t.trimAttempts(positions[i].Webhook) })
	}
	return dropped, err
}
