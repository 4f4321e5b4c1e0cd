package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// What belongs to another account is not there; what it asks for by name is refused.
func TestOthersMailIsNotThere(t *testing.T) {
	g := newRig(t, nil)
	s := g.send(shopKey, goodBody)
	g.recorded()
	id, dlv := s.ID.String(), s.Recipients[0].Delivery.String()
	own := []string{"/v1/messages/" + id, "/v1/messages/" + id + "/events", "/v1/deliveries/" + dlv, "/v1/deliveries/" + dlv + "/events"}
	for _, path := range own {
		if a := g.do(rivalKey, http.MethodGet, path, ""); a.status != 404 || strings.Contains(string(a.body), "shop") || strings.Contains(string(a.body), "example.com") {
			t.Errorf("%s for another account: %d %s", path, a.status, a.body)
		}
		missing := strings.NewReplacer(id, mail.NewMessageID(time.Now()).String(), dlv, mail.NewDeliveryID(time.Now()).String()).Replace(path)
		if a, b := g.do(rivalKey, http.MethodGet, path, ""), g.do(rivalKey, http.MethodGet, missing, ""); string(a.body) != string(b.body) {
			t.Errorf("%s: %s can be told from what is not there: %s", path, a.body, b.body)
		}
		for _, key := range []string{shopKey, readKey, adminKey} {
			if a := g.do(key, http.MethodGet, path, ""); a.status != 200 {
				t.Errorf("%s with key %.8s: %d %s", path, key, a.status, a.body)
			}
		}
		if a := g.do(sendKey, http.MethodGet, path, ""); a.status != 403 {
			t.Errorf("%s without the scope to read: %d", path, a.status)
		}
	}
	for _, path := range []string{"/v1/messages", "/v1/events", "/v1/stats?by=account", "/v1/queues", "/v1/queues/deliveries"} {
		if a := g.do(rivalKey, http.MethodGet, path, ""); a.status != 200 || strings.Contains(string(a.body), "shop") {
			t.Errorf("%s shows another account's: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/v1/messages?account=shop", "/v1/events?account=shop", "/v1/stats?account=shop", "/v1/queues/deliveries?account=shop"} {
		if a := g.do(rivalKey, http.MethodGet, path, ""); a.status != 403 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, of := range []string{"site", "route"} {
		if a := g.do(rivalKey, http.MethodGet, "/v1/stats?of="+of, ""); a.status != 400 {
			t.Errorf("figures of every account's %s: %d %s", of, a.status, a.body)
		}
	}
	for _, act := range []string{"retry", "cancel"} {
		for _, filter := range []string{`{"message":"` + id + `"}`, `{"delivery":"` + dlv + `"}`, `{"everything":true}`, `{"recipient":"you@example.com"}`} {
			a := g.do(rivalKey, http.MethodPost, "/v1/queues/"+act, `{"filter":`+filter+`}`)
			if a.status != 200 || !strings.Contains(string(a.body), `"count":0`) {
				t.Errorf("%s of another's mail by %s: %d %s", act, filter, a.status, a.body)
			}
		}
		if a := g.do(rivalKey, http.MethodPost, "/v1/queues/"+act, `{"filter":{"account":"shop"}}`); a.status != 403 {
			t.Errorf("%s: %d %s", act, a.status, a.body)
		}
		if a := g.do(readKey, http.MethodPost, "/v1/queues/"+act, `{"filter":{"message":"`+id+`"}}`); a.status != 403 {
			t.Errorf("%s with a credential that may only read: %d %s", act, a.status, a.body)
		}
	}
	if g.spool.Counts().Deliveries != 1 {
		t.Error("another account took the mail out of the queue")
	}
}

// An operator who acts for an account sees what it sees.
func TestOperatorForAnAccount(t *testing.T) {
	g := newRig(t, nil)
	s := g.send(shopKey, goodBody)
	g.send(rivalKey, strings.ReplaceAll(goodBody, "shop", "rival"))
	g.recorded()
	for _, path := range []string{"/v1/messages", "/v1/events", "/v1/queues", "/v1/queues/deliveries"} {
		if a := g.do(adminKey, http.MethodGet, path, "", AccountHeader, "rival"); a.status != 200 || strings.Contains(string(a.body), "shop") || !strings.Contains(string(a.body), "rival") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if a := g.do(shopKey, http.MethodGet, path, "", AccountHeader, "rival"); a.status != 403 {
			t.Errorf("%s by another account: %d %s", path, a.status, a.body)
		}
	}
	if a := g.do(adminKey, http.MethodGet, "/v1/messages/"+s.ID.String(), "", AccountHeader, "rival"); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.do(adminKey, http.MethodPost, "/v1/queues/cancel", `{"filter":{"everything":true}}`, AccountHeader, "rival"); !strings.Contains(string(a.body), `"count":1`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := g.spool.Counts().Deliveries; n != 1 {
		t.Errorf("%d deliveries are left, want that of the other account", n)
	}
}

func TestOperatorsOnly(t *testing.T) {
	g := newRig(t, nil)
	for _, op := range []struct{ method, path string }{
		{"GET", "/v1/state"},
		{"PUT", "/v1/state"},
		{"GET", "/v1/accounts"},
		{"GET", "/v1/senders"},
		{"GET", "/v1/credentials"},
		{"GET", "/v1/pools"},
		{"GET", "/v1/sources"},
		{"GET", "/v1/routes"},
		{"GET", "/v1/policies"},
		{"GET", "/v1/holds"},
		{"PUT", "/v1/holds/x"},
		{"DELETE", "/v1/holds/x"},
		{"GET", "/v1/alerts"},
		{"GET", "/v1/audit"},
	} {
		if a := g.do(shopKey, op.method, op.path, `{"reason":"x"}`); a.status != 403 {
			t.Errorf("%s %s by an account: %d %s", op.method, op.path, a.status, a.body)
		}
	}
	a := g.do(adminKey, http.MethodGet, "/v1/credentials", "")
	for _, secret := range []string{"sha256", "argon2", shopKey} {
		if strings.Contains(string(a.body), secret) {
			t.Errorf("the list of credentials has %s: %s", secret, a.body)
		}
	}
}

// Whoever can open the admin socket is the operator, with no key; and one who shows a key is who the key says.
func TestAdminSocket(t *testing.T) {
	g := newRig(t, nil)
	g.server.Config.Handler = g.api.LocalHandler()
	if a := g.do("", http.MethodGet, "/v1/accounts", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.do("", http.MethodPost, "/v1/messages", goodBody); a.status != 400 || !strings.Contains(string(a.body), AccountHeader) {
		t.Errorf("sending for nobody: %d %s", a.status, a.body)
	}
	if s := g.send("", goodBody, AccountHeader, "shop"); s.Count != 1 {
		t.Errorf("%+v", s)
	}
	if a := g.do(shopKey, http.MethodGet, "/v1/accounts", ""); a.status != 403 {
		t.Errorf("with an account's key: %d %s", a.status, a.body)
	}
	if a := g.do("pr_wrong", http.MethodGet, "/v1/accounts", ""); a.status != 401 {
		t.Errorf("with a wrong key: %d %s", a.status, a.body)
	}
}

type eventPage struct {
	Events []mail.Event
	Next   string
}

func TestEvents(t *testing.T) {
	g := newRig(t, nil)
	var want []string
	for range 25 {
		want = append(want, g.send(shopKey, goodBody).ID.String())
		g.send(rivalKey, strings.ReplaceAll(goodBody, "shop", "rival"))
	}
	g.recorded()
	var got []string
	next := ""
	for page := range 10 {
		var p eventPage
		g.get(shopKey, "/v1/events?max=10&type=accepted&cursor="+next, &p)
		for _, e := range p.Events {
			if e.Account != "shop" || e.Type != mail.EventAccepted || e.Envelope == nil || e.Envelope.Content != (mail.Content{}) {
				t.Errorf("event %+v", e)
			}
			got = append(got, e.Message.String())
		}
		next = p.Next
		if len(got) >= len(want) || page == 9 {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%d events, want %d in order of acceptance", len(got), len(want))
	}
	var p eventPage
	if g.get(shopKey, "/v1/events?cursor="+next, &p); len(p.Events) != 0 {
		t.Errorf("the cursor does not go on: %+v", p.Events)
	}
}

// A client that waits is answered by the event it waits for, not by the clock.
func TestEventsLongPoll(t *testing.T) {
	g := newRig(t, nil)
	g.send(shopKey, goodBody)
	g.recorded()
	var tail eventPage
	g.get(shopKey, "/v1/events?tail=true", &tail)
	if len(tail.Events) != 0 || tail.Next == "" {
		t.Fatalf("%+v", tail)
	}
	got := make(chan eventPage)
	go func() {
		defer close(got)
		r, _ := http.NewRequest(http.MethodGet, g.server.URL+"/v1/events?wait=30&cursor="+tail.Next, nil)
		r.Header.Set("Authorization", "Bearer "+shopKey)
		resp, err := g.client.Do(r)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		var p eventPage
		if json.NewDecoder(resp.Body).Decode(&p) == nil {
			got <- p
		}
	}()
	begin := time.Now()
	s := g.send(shopKey, goodBody)
	if p := <-got; len(p.Events) != 1 || p.Events[0].Message != s.ID || time.Since(begin) >= 30*time.Second {
		t.Errorf("%+v after %s", p, time.Since(begin))
	}
}

// A stop ends those that wait, with what there is.
func TestEventsEndWithAStop(t *testing.T) {
	g := newRig(t, nil)
	close(g.stop)
	begin := time.Now()
	var p eventPage
	if g.get(shopKey, "/v1/events?wait=30", &p); len(p.Events) != 0 || time.Since(begin) >= 30*time.Second {
		t.Errorf("%+v after %s", p, time.Since(begin))
	}
}

// behind is a record that got stuck: nothing new comes into it.
type behind struct {
	store.Store
	mark uint64
}

func (b behind) WaitFor(context.Context, mail.SpoolID, uint64) (uint64, error) { return b.mark, nil }

func (b behind) Message(context.Context, mail.MessageID) (*mail.Message, error) {
	return nil, store.ErrNotFound
}

func (b behind) Delivery(context.Context, mail.DeliveryID) (*store.Delivery, error) {
	return nil, store.ErrNotFound
}

func (b behind) Deliveries(context.Context, mail.MessageID, mail.DeliveryID, int) ([]*store.Delivery, error) {
	return nil, nil
}

// While the record is behind, live mail is told of from the spool, and of what neither knows nobody says that it does
// not exist.
func TestRecordBehind(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Store = behind{o.Store, 0} })
	g.hasty = true
	s := g.send(shopKey, `{"from":"info@shop.example","recipients":["a@example.com","b@example.com","c@example.com"],"text":"x"}`)
	var m struct {
		Deliveries []struct{ ID, State string }
		Next       string
	}
	g.get(shopKey, "/v1/messages/"+s.ID.String()+"?max=2", &m)
	if len(m.Deliveries) != 2 || m.Deliveries[0].State != "queued" || m.Next == "" {
		t.Fatalf("%+v", m)
	}
	seen := map[string]bool{m.Deliveries[0].ID: true, m.Deliveries[1].ID: true}
	g.get(shopKey, "/v1/messages/"+s.ID.String()+"?max=2&cursor="+m.Next, &m)
	if len(m.Deliveries) != 1 || seen[m.Deliveries[0].ID] {
		t.Errorf("second page %+v", m)
	}
	if a := g.do(rivalKey, http.MethodGet, "/v1/messages/"+s.ID.String(), ""); a.status != 404 {
		t.Errorf("for another account: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/v1/messages/" + mail.NewMessageID(time.Now()).String(), "/v1/deliveries/" + mail.NewDeliveryID(time.Now()).String()} {
		a := g.do(shopKey, http.MethodGet, path, "")
		if p := a.problem(t); p.kind() != "not-recorded-yet" || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// A delivery that left the spool and is not in the record yet is missing in neither answer: nobody is told that a message went to
// fewer recipients, or that all of it is known.
func TestRecordBehindWithSettled(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Store = behind{o.Store, 0} })
	g.hasty = true
	s := g.send(shopKey, `{"from":"info@shop.example","recipients":["a@example.com","b@example.com"],"text":"x"}`)
	path := "/v1/messages/" + s.ID.String()
	if a := g.do(shopKey, http.MethodGet, path, ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := g.do(shopKey, http.MethodPost, "/v1/queues/cancel", `{"filter":{"recipient":"a@example.com"}}`); !strings.Contains(string(a.body), `"count":1`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, path := range []string{path, "/v1/deliveries/" + s.Recipients[0].Delivery.String()} {
		if p := g.do(shopKey, http.MethodGet, path, "").problem(t); p.kind() != "not-recorded-yet" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if a := g.do(shopKey, http.MethodGet, path+"?max=1", ""); a.status != 200 {
		t.Errorf("a page that is full: %d %s", a.status, a.body)
	}
}

// stuck is a record that takes nothing after a mark, once it has one. It tells up to where it was waited for.
type stuck struct {
	store.Store
	mark, waited atomic.Uint64
}

func (s *stuck) WaitFor(ctx context.Context, id mail.SpoolID, seq uint64) (uint64, error) {
	s.waited.Store(seq)
	if mark := s.mark.Load(); mark > 0 {
		return mark, nil
	}
	return s.Store.WaitFor(ctx, id, seq)
}

func (s *stuck) Delivery(ctx context.Context, id mail.DeliveryID) (*store.Delivery, error) {
	d, err := s.Store.Delivery(ctx, id)
	if err == nil && s.mark.Load() > 0 {
		d.State = store.StateQueued
	}
	return d, err
}

func (s *stuck) Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*store.Delivery, error) {
	list, err := s.Store.Deliveries(ctx, id, after, max)
	for _, d := range list {
		if s.mark.Load() > 0 {
			d.State = store.StateQueued
		}
	}
	return list, err
}

// Whatever is told of a record that is behind says as of when it is, so that nobody takes it for the end of the story; each reader
// has waited for what was committed before it came.
func TestRecordBehindSaysSince(t *testing.T) {
	record := &stuck{}
	g := newRig(t, func(o *Options) { record.Store = o.Store; o.Store = record })
	s := g.send(shopKey, goodBody)
	g.recorded()
	_, mark := g.spool.OutboxRange()
	if a := g.do(shopKey, http.MethodPost, "/v1/queues/cancel", `{"filter":{"recipient":"you@example.com"}}`); !strings.Contains(string(a.body), `"count":1`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	missing, err := g.spool.ReadOutbox(t.Context(), mark, 1)
	if err != nil || len(missing) != 1 || missing[0].Type != mail.EventCancelled {
		t.Fatalf("%v, %v", missing, err)
	}
	_, newest := g.spool.OutboxRange()
	delivery, message := "/v1/deliveries/"+s.Recipients[0].Delivery.String(), "/v1/messages/"+s.ID.String()
	for _, behind := range []bool{true, false} {
		record.mark.Store(0)
		want := time.Time{}
		if behind {
			record.mark.Store(mark)
			want = missing[0].At
		}
		for _, path := range []string{delivery, delivery + "/events", message + "/events", "/v1/messages", "/v1/stats"} {
			var got struct {
				AsOf time.Time `json:"as_of"`
			}
			record.waited.Store(0)
			g.get(shopKey, path, &got)
			if !got.AsOf.Equal(want) {
				t.Errorf("behind %v: %s is as of %s, want %s", behind, path, got.AsOf, want)
			}
			if waited := record.waited.Load(); waited != newest {
				t.Errorf("%s waited for %d, want %d", path, waited, newest)
			}
		}
		var m struct {
			Deliveries []struct {
				State string
				AsOf  time.Time `json:"as_of"`
			}
		}
		g.get(shopKey, message, &m)
		if len(m.Deliveries) != 1 || !m.Deliveries[0].AsOf.Equal(want) || (m.Deliveries[0].State == "cancelled") == behind {
			t.Errorf("behind %v: %+v, want as of %s", behind, m, want)
		}
	}
}

// A release is no event: to the record the delivery is held until it is tried.
func TestReleased(t *testing.T) {
	x := DeliveryStatus{Delivery: store.Delivery{State: store.StateHeld, Reason: "incident: under review"}}
	due := time.Now()
	x.overlay(&mail.Delivery{Due: due})
	if x.State != store.StateQueued || x.Reason != "" || !x.Next.Equal(due) {
		t.Errorf("%+v", x)
	}
	if x.overlay(&mail.Delivery{Due: due, Held: "incident"}); x.State != store.StateHeld || !x.Next.IsZero() {
		t.Errorf("held again: %+v", x)
	}
}

func TestSearchAndStats(t *testing.T) {
	g := newRig(t, nil)
	for i := range 5 {
		g.send(shopKey, strings.Replace(goodBody, "you@", fmt.Sprintf("you%d@", i), 1))
	}
	g.recorded()
	var found struct {
		Deliveries []struct{ Recipient, Account string }
		Next       string
	}
	g.get(shopKey, "/v1/messages?max=3", &found)
	if len(found.Deliveries) != 3 || found.Next == "" || found.Deliveries[0].Recipient != "you4@example.com" {
		t.Errorf("%+v", found)
	}
	g.get(adminKey, "/v1/messages?recipient=you2@example.com&account=shop", &found)
	if len(found.Deliveries) != 1 || found.Deliveries[0].Recipient != "you2@example.com" {
		t.Errorf("%+v", found)
	}
	var stats struct{ Rows []store.StatsRow }
	g.get(shopKey, "/v1/stats?by=type,stream", &stats)
	if len(stats.Rows) != 1 || stats.Rows[0].Count != 5 || stats.Rows[0].Type != mail.EventAccepted || stats.Rows[0].Stream != mail.Transactional {
		t.Errorf("%+v", stats)
	}
}

// Somebody who looks for a delivery must not take a typing mistake for the answer "there is none".
func TestSearchTypos(t *testing.T) {
	g := newRig(t, nil)
	g.send(shopKey, goodBody)
	g.recorded()
	for _, query := range []string{
		"recipient=you", "recipient=you@", "domain=exa_mple..com", "sender=a@b@c", "state=lost", "class=no-such-class", "stream=news",
		"from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "account=nobody", "cursor=x", "receiver=nobody", "max=0", "max=1001",
	} {
		if a := g.do(adminKey, http.MethodGet, "/v1/messages?"+query, ""); a.status != 400 && a.status != 404 && a.status != 422 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		} else {
			a.problem(t)
		}
	}
	var all struct{ Deliveries []store.Delivery }
	g.get(adminKey, "/v1/messages", &all)
	m, err := g.store.Message(t.Context(), all.Deliveries[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	id := "%3C" + m.RFC822ID + "%3E"
	for _, query := range []string{
		"recipient=YOU@Example.COM", "recipient=%20you@example.com", "domain=EXAMPLE.com", "domain=@example.com", "sender=INFO@shop.example", "sender=@shop.example",
		"sender=Shop.Example", "message_id=" + id, "account=shop", "state=queued",
	} {
		var found struct{ Deliveries []store.Delivery }
		g.get(adminKey, "/v1/messages?"+query, &found)
		if len(found.Deliveries) != 1 {
			t.Errorf("%s found %d deliveries", query, len(found.Deliveries))
		}
	}
	var none struct{ Deliveries []store.Delivery }
	g.get(shopKey, "/v1/messages?recipient=ot'her@example.com", &none) // an address nobody wrote to
	for _, path := range []string{"/v1/suppressions?account=nobody", "/v1/suppressions?domain=a..b", "/v1/archive/messages?account=shop&recipient=you"} {
		if a := g.do(adminKey, http.MethodGet, path, ""); a.status != 400 && a.status != 404 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// Who the client is, is said by the nearest proxy that is trusted; everything before that the client may have made up.
func TestClientAddress(t *testing.T) {
	a := &API{o: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, tt := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"[::ffff:192.0.2.1]:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"203.0.113.1"}, "192.0.2.1"}, // no proxy of ours
		{"10.0.0.1:5", []string{"203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:5", []string{"198.51.100.66, 203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:5", []string{"198.51.100.66", "203.0.113.1"}, "203.0.113.1"}, // a line of the client's own before the proxy's
		{"10.0.0.1:5", []string{"198.51.100.66, 203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:5", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{""}, "10.0.0.1"},
		{"[fd00::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"@", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := a.clientIP(r).String(); got != tt.want {
			t.Errorf("peer %s, forwarded %q: %s, want %s", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}

// What a lane was answered for another account's mail must not show that account's addresses.
func TestLaneAnswersHideAddresses(t *testing.T) {
	why := `waiting: lane direct > mx.example rests since 2026-03-01T12:00:00Z because: 450 4.7.1 <"a b"@rival.example>: sender x@rival.example, "ceo@rival.example" limited`
	account := context.WithValue(t.Context(), callerKey{}, caller{})
	if got := told(account, why); strings.Contains(got, "@") || !strings.Contains(got, "450 4.7.1") || !strings.Contains(got, "mx.example") {
		t.Errorf("an account is told: %s", got)
	}
	if got := told(context.WithValue(t.Context(), callerKey{}, caller{operator: true}), why); got != why {
		t.Errorf("an operator is told: %s", got)
	}
}

func TestHealth(t *testing.T) {
	var why []string
	g := newRig(t, func(o *Options) { o.NotReady = func() []string { return why } })
	if a := g.do("", http.MethodGet, "/healthz", ""); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	if a := g.do("", http.MethodGet, "/readyz", ""); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	why = []string{"disk: full"}
	if a := g.do("", http.MethodGet, "/readyz", ""); a.status != 503 || !strings.Contains(string(a.body), "disk: full") {
		t.Errorf("%d %s", a.status, a.body)
	}
	var info ListenerInfo
	g.get("", "/.well-known/postroad", &info)
	if info.Product != "postroad" || info.AdminSocket != "/run/admin.sock" {
		t.Errorf("%+v", info)
	}
}
