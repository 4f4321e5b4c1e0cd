package storetest

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

func position(webhook string, seq uint64) store.WebhookPosition {
	return store.WebhookPosition{
		Webhook: webhook, At: store.Cursor{7: seq}, Ahead: store.Cursor{7: seq + 9}, Lagging: true, Success: Day0.Add(-time.Hour),
		Open: []store.WebhookOpen{
			{Event: mail.EventID{Spool: 7, Seq: seq + 1}, Attempts: 3, First: Day0, Next: Day0.Add(time.Minute)}, {Event: mail.EventID{Spool: 7, Seq: seq + 5}},
		},
	}
}

func attempt(webhook, event string, at time.Time) *store.WebhookAttempt {
	return &store.WebhookAttempt{
		Webhook: webhook, Kind: store.WebhookLive, Event: event, Type: mail.EventBounced, N: 2, At: at, Took: 15 * time.Millisecond,
		URL: "https://example.com/events", Status: 500, Error: "status 500", Next: at.Add(time.Minute), Cut: true,
		RequestHeader: http.Header{"Webhook-Id": {event}}, RequestBody: `{"type":"bounced"}`,
		ResponseHeader: http.Header{"Content-Type": {"text/plain"}}, ResponseBody: "not now: \u00e4",
	}
}

// testWebhooks: what was written is read again, also after the store was closed, and a webhook that is deleted is gone.
func testWebhooks(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	a, b := attempt("whk_a", "evt_1", Day0), attempt("whk_b", "evt_2", Day0)
	replay := store.WebhookReplay{
		ID: "rpl_1", Webhook: "whk_a", From: Day0, To: Day0.Add(day), State: store.ReplayRunning, At: store.Cursor{7: 3}, Done: 2, Sent: 2, Since: Day0, Actor: "admin/ada",
		Events: []string{"evt_1", "evt_2"}, Looked: true,
	}
	stopped := position("whk_b", 9)
	stopped.Stopped, stopped.Reason = Day0, "410"
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 1), stopped}, []*store.WebhookAttempt{a, b}, []store.WebhookReplay{replay}))
	if a.ID == 0 || b.ID <= a.ID {
		t.Errorf("attempts got the ids %d and %d", a.ID, b.ID)
	}
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 2)}, nil, nil))
	must(t, s.Close())

	s = open(t, dir, Options{})
	defer s.Close()
	positions, err := s.WebhookPositions(ctx)
	must(t, err)
	if diff := cmp.Diff([]store.WebhookPosition{position("whk_a", 2), stopped}, positions); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	got, err := s.WebhookAttempt(ctx, "whk_a", a.ID)
	must(t, err)
	if diff := cmp.Diff(*a, got); diff != "" {
		t.Errorf("attempt (-want +got):\n%s", diff)
	}
	_, err = s.WebhookAttempt(ctx, "whk_b", a.ID)
	wantErr(t, err, store.ErrNotFound) // another webhook's
	for _, of := range []string{"", "whk_a"} {
		replays, err := s.WebhookReplays(ctx, of)
		must(t, err)
		if diff := cmp.Diff([]store.WebhookReplay{replay}, replays); diff != "" {
			t.Errorf("replays of %q (-want +got):\n%s", of, diff)
		}
	}
	replay.State, replay.Ended, replay.Sent = store.ReplayDone, Day0.Add(time.Hour), 5
	must(t, s.WriteWebhooks(ctx, nil, nil, []store.WebhookReplay{replay}))
	if running, err := s.WebhookReplays(ctx, ""); err != nil || len(running) != 0 {
		t.Errorf("still running: %v, %v", running, err)
	}

	must(t, s.DeleteWebhook(ctx, "whk_a"))
	positions, err = s.WebhookPositions(ctx)
	must(t, err)
	list, _, err := s.WebhookAttempts(ctx, store.WebhookQuery{Webhook: "whk_a"})
	must(t, err)
	replays, err := s.WebhookReplays(ctx, "whk_a")
	must(t, err)
	if len(positions) != 1 || len(list) != 0 || len(replays) != 0 {
		t.Errorf("after the deletion: %v, %v, %v", positions, list, replays)
	}
	next := attempt("whk_a", "evt_3", Day0)
	must(t, s.WriteWebhooks(ctx, nil, []*store.WebhookAttempt{next}, nil))
	if next.ID <= b.ID {
		t.Errorf("the id %d was used again", next.ID)
	}
}

// testWebhookLog: pages, filters and bounds of the log.
func testWebhookLog(t *testing.T, open Opener) {
	ctx := t.Context()
	var full error
	s := fresh(t, open, Options{MayGrow: func() error { return full }})
	var all []*store.WebhookAttempt
	for i := range 25 {
		a := attempt("whk_a", "evt_"+strconv.Itoa(i/5), Day0.Add(time.Duration(i)*time.Hour))
		a.Taken = i%5 == 4
		all = append(all, a, attempt("whk_b", "evt_other", Day0))
	}
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 1)}, all, nil))
	read := func(q store.WebhookQuery) (list []store.WebhookAttempt) {
		t.Helper()
		q.Webhook = "whk_a"
		for {
			page, next, err := s.WebhookAttempts(ctx, q)
			must(t, err)
			list = append(list, page...)
			if q.Cursor = next; next == "" {
				return list
			}
		}
	}
	list := read(store.WebhookQuery{Max: 10})
	if len(list) != 25 || list[0].ID < list[24].ID || list[0].RequestBody != "" || list[0].ResponseHeader != nil {
		t.Errorf("%d attempts, the first %+v", len(list), list[0])
	}
	list = read(store.WebhookQuery{Max: 3, Failed: true, Event: "evt_2", Bodies: true})
	if len(list) != 4 {
		t.Fatalf("%d failed attempts of one event, want 4", len(list))
	}
	if diff := cmp.Diff(*all[2*13], list[0]); diff != "" {
		t.Errorf("newest failed attempt of evt_2 (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"?", store.EncodeCursor([]byte("-1")), store.EncodeCursor([]byte("01")), store.EncodeCursor([]byte("x"))} {
		_, _, err := s.WebhookAttempts(ctx, store.WebhookQuery{Webhook: "whk_a", Cursor: bad})
		wantErr(t, err, store.ErrBadCursor)
	}

	// On a full disk positions move on and the log has a gap.
	full = errors.New("no room")
	left := attempt("whk_a", "evt_left", Day0)
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 8)}, []*store.WebhookAttempt{left}, nil))
	positions, err := s.WebhookPositions(ctx)
	must(t, err)
	if left.ID != 0 || positions[0].At[7] != 8 || len(read(store.WebhookQuery{})) != 25 {
		t.Errorf("on a full disk: id %d, %+v", left.ID, positions)
	}
	full = nil

	// Old ones go, the newest stay.
	done, err := s.Maintain(ctx, Day0.Add(store.DefaultWebhookLog+10*time.Hour+time.Minute))
	must(t, err)
	list = read(store.WebhookQuery{})
	if len(list) >= 25 || len(list) == 0 || done.WebhookAttempts == 0 || list[len(list)-1].At.Before(Day0.Add(10*time.Hour)) {
		t.Errorf("%d are left and %d were dropped; the oldest is of %v", len(list), done.WebhookAttempts, list[len(list)-1].At)
	}
	kept := list[0].ID
	for range (store.WebhookLogEntries + 1000) / 500 {
		batch := make([]*store.WebhookAttempt, 500)
		for i := range batch {
			batch[i] = attempt("whk_a", "evt_many", Day0.Add(day))
			batch[i].RequestBody, batch[i].ResponseBody = "", ""
		}
		must(t, s.WriteWebhooks(ctx, nil, batch, nil))
	}
	list = read(store.WebhookQuery{Max: store.MaxPage})
	if n := len(list); n < store.WebhookLogEntries || n > store.WebhookLogEntries+500 || list[n-1].ID <= kept {
		t.Errorf("%d attempts are kept, want %d and a little", n, store.WebhookLogEntries)
	}
}

// testWebhooksAtomic: an attempt is never in the log without the position it brought, nor the other way round.
func testWebhooksAtomic(t *testing.T, open Opener) {
	ctx := t.Context()
	var fail error
	s := fresh(t, open, Options{Step: func(name string) error {
		if name == "in webhooks" {
			return fail
		}
		return nil
	}})
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 1)}, nil, nil))
	fail = errors.New("died here")
	a := attempt("whk_a", "evt_1", Day0)
	err := s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_a", 2)}, []*store.WebhookAttempt{a}, []store.WebhookReplay{{ID: "rpl_1", Webhook: "whk_a", State: store.ReplayRunning}})
	wantErr(t, err, fail)
	fail = nil
	positions, err := s.WebhookPositions(ctx)
	must(t, err)
	list, _, err := s.WebhookAttempts(ctx, store.WebhookQuery{Webhook: "whk_a"})
	must(t, err)
	replays, err := s.WebhookReplays(ctx, "whk_a")
	must(t, err)
	if diff := cmp.Diff([]store.WebhookPosition{position("whk_a", 1)}, positions, cmpopts.EquateEmpty()); diff != "" || len(list) != 0 || len(replays) != 0 || a.ID != 0 {
		t.Errorf("half of it was written: %s %v %v %d", diff, list, replays, a.ID)
	}
}
