package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// TestEventsArriveInOrder: several webhooks get what they want, each in order, although they refuse now and then.
func TestEventsArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "all", nil))
		r.set(hook("acme", "delivered", func(w *platform.Webhook) { w.Types = []mail.EventType{mail.EventDelivered} }))
		r.set(hook("acme", "bulk", func(w *platform.Webhook) { w.Streams = []mail.Stream{mail.Bulk} }))
		r.set(hook("beta", "beta", nil))
		r.set(hook("ops", "everyone", func(w *platform.Webhook) { w.AllAccounts = true }))
		random := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		flaky := func(int, got, http.ResponseWriter, *http.Request) int {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(10) == 0 {
				return []int{500, 400, 302, 503, 404}[random.IntN(5)]
			}
			return 204
		}
		all, delivered, bulk := r.receiver("all.example", flaky), r.receiver("delivered.example", nil), r.receiver("bulk.example", flaky)
		beta, everyone := r.receiver("beta.example", flaky), r.receiver("everyone.example", nil)
		r.run()
		var wantAll, wantDelivered, wantBeta, wantEveryone []string
		for i := range 100 {
			a := r.sent("acme", 1+i%3)
			b := r.sent("beta", 1)
			wantAll, wantBeta = append(wantAll, a...), append(wantBeta, b...)
			for n, id := range a {
				if n%2 == 1 {
					wantDelivered = append(wantDelivered, id)
				}
			}
			wantEveryone = append(append(wantEveryone, a...), b...)
			time.Sleep(time.Duration(i%7) * 100 * time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		for x, want := range map[*receiver][]string{all: wantAll, delivered: wantDelivered, bulk: nil, beta: wantBeta, everyone: wantEveryone} {
			x.await(want)
		}
		if st := r.svc.Stats(); st.Live != 5 || st.Taken == 0 || st.Refused == 0 || st.Failed != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestReceiverDownForADay is the regression test of a defect of other platforms, which give up after half an hour or a day:
// a receiver that is down for 24 hours gets every event afterwards, in order, each signed for the time it is sent.
func TestReceiverDownForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		r.set(hook("beta", "other", nil))
		crm, other := r.receiver("crm.example", nil), r.receiver("other.example", nil)
		r.run()
		want := r.sent("acme", 5)
		crm.await(want)
		crm.setDown(true)
		var others []string
		for range 24 {
			want = append(want, r.sent("acme", 20)...)
			others = append(others, r.sent("beta", 1)...)
			time.Sleep(time.Hour)
		}
		other.await(others) // nobody else waits
		if got := len(crm.taken()); got != 10 {
			t.Fatalf("%d events arrived at a receiver that is down", got)
		}
		if st := r.status("whk_acme_crm", func(st Status) bool { return st.State == StateRetrying }); st.Attempts < 40 || st.Event != want[10] {
			t.Errorf("%+v, the first that waits is %s", st, want[10])
		}
		r.restart() // the wait goes on over a restart
		if st := r.status("whk_acme_crm", func(st Status) bool { return st.State == StateRetrying }); st.Attempts < 40 {
			t.Errorf("after the restart %+v", st)
		}
		crm.setDown(false)
		time.Sleep(time.Hour)
		crm.await(want)
		want = append(want, r.sent("acme", 1)...) // and it is with the others again
		time.Sleep(time.Second)
		crm.await(want)
		if st, err := r.svc.Status("whk_acme_crm"); err != nil || st.State != StateLive || len(r.stops()) != 0 {
			t.Errorf("%+v, %v; told %v", st, err, r.stops())
		}
	})
}

// TestGivenUp: after three days the webhook is stopped, its owner and the operator are told, and nothing is lost: enabled
// again it goes on with the event it stopped at.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		var up atomic.Bool
		crm := r.receiver("crm.example", func(int, got, http.ResponseWriter, *http.Request) int {
			if up.Load() {
				return 200
			}
			return 500
		})
		r.run()
		want := r.sent("acme", 3)
		time.Sleep(71 * time.Hour)
		if told := r.stops(); len(told) != 0 {
			t.Fatalf("given up early: %+v", told)
		}
		time.Sleep(2 * time.Hour)
		st := r.status("whk_acme_crm", func(st Status) bool { return st.State == StateStopped })
		if told := r.stops(); len(told) != 1 || told[0].Webhook != "crm" || told[0].Account != "acme" || !strings.Contains(told[0].Reason, want[0]) || st.Reason != told[0].Reason {
			t.Errorf("told %+v, status %+v", told, st)
		}
		if list := r.raised(); len(list) != 1 || list[0].Kind != "webhook_stopped" || list[0].Scope != "webhook/acme/crm" || !list[0].Cleared.IsZero() {
			t.Errorf("alerts %+v", list)
		}
		tried := crm.all()
		if span := tried[len(tried)-1].at.Sub(tried[0].at); span < 72*time.Hour || span > 73*time.Hour {
			t.Errorf("tried over %v", span)
		}
		want = append(want, r.sent("acme", 2)...)
		time.Sleep(time.Hour)
		r.restart() // it stays stopped
		time.Sleep(3 * time.Hour)
		if n := len(crm.all()); n != len(tried) {
			t.Fatalf("a stopped webhook was tried %d times", n-len(tried))
		}
		up.Store(true)
		if err := r.svc.Enable(t.Context(), "whk_acme_crm"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		crm.await(want)
		if list := r.raised(); list[len(list)-1].Cleared.IsZero() || list[len(list)-1].Scope != "webhook/acme/crm" {
			t.Errorf("alerts %+v", list)
		}
		if err := r.svc.Enable(t.Context(), "whk_none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("enabling what is not there: %v", err)
		}
	})
}

// TestSkip: an event a receiver never takes can be passed over; those behind it follow, and the log says so.
func TestSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		var poison [2]string
		crm := r.receiver("crm.example", func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			if slices.Contains(poison[:], g.id) {
				return 400
			}
			return 200
		})
		id := func(offset uint64) string { return mail.EventID{Spool: spoolID, Seq: r.gen.Seq + offset}.String() }
		poison = [2]string{id(2), id(5)}
		r.run()
		want := r.sent("acme", 4)
		time.Sleep(time.Hour)
		crm.await(want[:1])
		first, _ := mail.ParseEventID(want[0])
		if err := r.svc.Skip(t.Context(), "whk_acme_crm", first); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("passing over what was taken: %v", err)
		}
		for i, bad := range poison { // while it is tried, and after it was given up
			if i == 1 {
				time.Sleep(80 * time.Hour)
				r.status("whk_acme_crm", func(st Status) bool { return st.State == StateStopped })
			}
			event, _ := mail.ParseEventID(bad)
			if err := r.svc.Skip(t.Context(), "whk_acme_crm", event); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		crm.await(slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(poison[:], id) }))
		passed := 0
		for _, a := range r.log("whk_acme_crm") {
			if strings.HasPrefix(a.Error, "passed over") && slices.Contains(poison[:], a.Event) {
				passed++
			}
		}
		if passed != 2 {
			t.Errorf("the log has %d events passed over", passed)
		}
	})
}

func TestGoneStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(int, got, http.ResponseWriter, *http.Request) int { return 410 })
		r.run()
		r.sent("acme", 3)
		time.Sleep(time.Hour)
		if st := r.status("whk_acme_crm", func(Status) bool { return true }); st.State != StateStopped || !strings.Contains(st.Reason, "410") || len(crm.all()) != 1 {
			t.Errorf("%+v after %d requests", st, len(crm.all()))
		}
	})
}

// TestRetryAfterIsHonoured: 429 and 503 say when, in seconds or as a date; with another status the field means nothing.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(n int, _ got, w http.ResponseWriter, _ *http.Request) int {
			w.Header().Set("Retry-After", "3600")
			switch n {
			case 1:
				return 429
			case 2:
				w.Header().Set("Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
				return 503
			case 3:
				return 500
			}
			return 200
		})
		r.run()
		want := r.sent("acme", 1)
		time.Sleep(5 * time.Hour)
		crm.await(want)
		had := crm.all()
		for i, bounds := range [][2]time.Duration{{time.Hour, time.Hour + time.Second}, {2*time.Hour - time.Second, 2*time.Hour + time.Second}, {24 * time.Second, 36 * time.Second}} {
			if d := had[i+1].at.Sub(had[i].at); d < bounds[0] || d > bounds[1] {
				t.Errorf("pause %d is %v, want %v", i+1, d, bounds)
			}
		}
		for i, a := range r.log("whk_acme_crm")[:3] {
			if a.N != i+1 || a.Next.IsZero() || a.Status != had[i].status || a.RequestBody != string(had[i].body) {
				t.Errorf("logged %+v", a)
			}
		}
	})
}

// TestErasedBeforeRetry: who has been erased since the first attempt is not told at the second.
func TestErasedBeforeRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(n int, _ got, _ http.ResponseWriter, _ *http.Request) int {
			if n == 1 {
				return 500
			}
			return 200
		})
		r.run()
		want := r.sent("acme", 1)
		synctest.Wait()
		page, err := r.store.Events(t.Context(), store.EventQuery{})
		if err != nil || len(page.Events) == 0 || len(crm.all()) != 1 {
			t.Fatalf("%v, %v", page, err)
		}
		person, marker := page.Events[0].Recipient, "erased-1@erased.invalid"
		days, err := r.store.RecordDays(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range days {
			if _, err := r.store.EraseRecorded(t.Context(), day, store.Erasing{Address: person, Marker: marker}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		crm.await(want)
		had := crm.all()
		if !strings.Contains(string(had[0].body), person) {
			t.Fatalf("the first attempt did not name %s: %s", person, had[0].body)
		}
		for _, x := range had[1:] {
			if strings.Contains(string(x.body), person) || !strings.Contains(string(x.body), marker) {
				t.Errorf("told: %s", x.body)
			}
		}
	})
}

// TestRotation: while the old secret has not expired both sign; then the new one alone.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", nil)
		r.run()
		want := r.sent("acme", 1)
		crm.await(want)
		fresh := []byte("a new secret of enough octets....")
		account, w := hook("acme", "crm", nil)
		w.Keys = []platform.WebhookKey{{Since: time.Now(), Sealed: fresh}, {Since: time.Unix(1, 0), Expires: time.Now().Add(time.Hour), Sealed: secretOf}}
		r.set(account, w)
		time.Sleep(time.Minute)
		for _, secrets := range [][][]byte{{secretOf}, {fresh}} { // a receiver that has not changed yet, and one that has
			crm.mu.Lock()
			crm.secrets = secrets
			crm.mu.Unlock()
			want = append(want, r.sent("acme", 1)...)
			time.Sleep(time.Second)
			crm.await(want)
		}
		if last := crm.all()[len(want)-1]; strings.Count(last.header.Get("webhook-signature"), "v1,") != 2 {
			t.Errorf("signed with %q", last.header.Get("webhook-signature"))
		}
		time.Sleep(time.Hour)
		want = append(want, r.sent("acme", 1)...)
		time.Sleep(time.Second)
		crm.await(want)
		if last := crm.all()[len(want)-1]; strings.Contains(last.header.Get("webhook-signature"), " ") {
			t.Errorf("after its end the old secret signs: %q", last.header.Get("webhook-signature"))
		}
		// A secret that does not open sends nothing, and says so.
		w.Keys = []platform.WebhookKey{{Since: time.Now()}}
		r.set(account, w)
		time.Sleep(time.Second)
		r.sent("acme", 1)
		time.Sleep(time.Second)
		log := r.log(w.ID)
		if a := log[len(log)-1]; a.Status != 0 || !strings.Contains(a.Error, "no secret to sign with") || len(crm.all()) != len(want) {
			t.Errorf("%+v", a)
		}
	})
}

// TestReceiverNeverAnswers: an attempt ends after 15 seconds, also when the header comes drop by drop, and others go on.
func TestReceiverNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "silent", nil))
		r.set(hook("acme", "quick", nil))
		silent := r.receiver("silent.example", func(_ int, _ got, _ http.ResponseWriter, q *http.Request) int {
			<-q.Context().Done()
			return 0
		})
		quick := r.receiver("quick.example", nil)
		r.run()
		begin := time.Now()
		want := r.sent("acme", 20)
		quick.await(want)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the quick one waited %v for the silent one", d)
		}
		time.Sleep(16 * time.Second)
		log := r.log("whk_acme_silent")
		if len(log) != 1 || log[0].Took != 15*time.Second || log[0].Status != 0 || log[0].Error != "no answer within 15s" || silent == nil {
			t.Errorf("%+v", log)
		}
		// A stop does not wait for it longer than the grace time, and it counts as no attempt.
		time.Sleep(10 * time.Second)
		begin = time.Now()
		r.stop()
		if d := time.Since(begin); d > DefaultStopGrace {
			t.Errorf("the stop took %v", d)
		}
		if log := r.log("whk_acme_silent"); len(log) != 1 {
			t.Errorf("the broken-off attempt is in the log: %+v", log[1:])
		}
	})
}

// TestHugeAndSlowAnswers: the status decides; 4 KiB of the body are kept, and a body that drips does not hold the next event
// up for long.
func TestHugeAndSlowAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(n int, _ got, w http.ResponseWriter, q *http.Request) int {
			w.Header().Set("Set-Cookie", "session=secret")
			w.WriteHeader(200)
			for i := 0; q.Context().Err() == nil && i < 1<<14; i++ {
				if _, err := w.Write([]byte(strings.Repeat("\xff\x00<script>", 100))); err != nil {
					return 0
				}
				if n == 2 {
					w.(http.Flusher).Flush()
					select {
					case <-time.After(time.Second):
					case <-q.Context().Done():
					}
				}
			}
			return 0
		})
		r.run()
		begin := time.Now()
		r.sent("acme", 2)
		time.Sleep(time.Minute)
		log := r.log("whk_acme_crm")
		if len(log) != 4 {
			t.Fatalf("%d attempts, want 4", len(log))
		}
		for i, a := range log {
			if !a.Taken || !a.Cut || len(a.ResponseBody) < 1000 || len(a.ResponseBody) > 3*maxAnswer || a.ResponseHeader["Set-Cookie"] != nil {
				t.Errorf("attempt %d: %v, cut %v, %d octets, header %v", i, a.Taken, a.Cut, len(a.ResponseBody), a.ResponseHeader)
			}
		}
		if d := log[3].At.Sub(begin); d > 5*time.Second {
			t.Errorf("the last event waited %v", d)
		}
		_ = crm
	})
}

// TestRedirectsAreNotFollowed: an answer of 3xx is a failure, and nobody goes where it points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		inner := r.receiver("inner.example", nil)
		r.receiver("crm.example", func(_ int, _ got, w http.ResponseWriter, _ *http.Request) int {
			w.Header().Set("Location", "http://inner.example/")
			return 307
		})
		r.run()
		r.sent("acme", 1)
		time.Sleep(time.Minute)
		if log := r.log("whk_acme_crm"); len(inner.all()) != 0 || log[0].Taken || log[0].Status != 307 || !strings.Contains(log[0].Error, "redirects are not followed") {
			t.Errorf("%+v, the other had %d", log[0], len(inner.all()))
		}
	})
}

// TestDisableChangeDelete: a disabled webhook waits and goes on; a changed one is tried at once; a deleted one leaves nothing
// behind, and one of the same name begins anew.
func TestDisableChangeDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", nil)
		r.run()
		want := r.sent("acme", 1)
		crm.await(want)
		account, w := hook("acme", "crm", nil)
		w.Disabled = true
		r.set(account, w)
		time.Sleep(time.Second)
		want = append(want, r.sent("acme", 50)...)
		time.Sleep(time.Hour)
		if n := len(crm.taken()); n != 2 {
			t.Errorf("a disabled webhook had %d events", n)
		}
		r.restart()
		time.Sleep(time.Minute)
		w.Disabled = false
		r.set(account, w)
		time.Sleep(time.Minute)
		crm.await(want)

		crm.setDown(true)
		event := r.sent("acme", 1)
		time.Sleep(3 * time.Hour)
		moved := r.receiver("moved.example", nil)
		w.URL = "http://moved.example/"
		r.set(account, w)
		time.Sleep(time.Second)
		moved.await(event) // not after half an hour

		w.Types = []mail.EventType{mail.EventBounced}
		r.set(account, w)
		r.set(account, platform.Webhook{Name: "crm"}) // deletes
		time.Sleep(time.Minute)
		positions, err := r.store.WebhookPositions(t.Context())
		if err != nil || len(positions) != 0 || len(r.log(w.ID)) != 0 {
			t.Errorf("of the deleted webhook are left %+v, %v", positions, err)
		}
		r.sent("acme", 1)
		w.ID, w.Types = "whk_again", nil
		r.set(account, w)
		time.Sleep(time.Second)
		event = append(event, r.sent("acme", 1)...)
		time.Sleep(time.Second)
		moved.await(event)
	})
}

// madeMeanwhile is a store in which something happens right after the places of webhooks were read for the first time.
type madeMeanwhile struct {
	Store
	then func()
}

func (s madeMeanwhile) WebhookPositions(ctx context.Context) ([]store.WebhookPosition, error) {
	list, err := s.Store.WebhookPositions(ctx)
	s.then()
	return list, err
}

// TestMadeAtStart: a webhook is made, and events come, while the Service starts. It misses none of them.
func TestMadeAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var want []string
		var r *rig
		r = newRig(t, func(o *Options) {
			o.Store = madeMeanwhile{o.Store, sync.OnceFunc(func() {
				r.set(hook("acme", "crm", nil))
				want = r.sent("acme", 1)
			})}
		})
		r.set(hook("beta", "old", nil))
		crm := r.receiver("crm.example", nil)
		r.run()
		time.Sleep(time.Minute)
		want = append(want, r.sent("acme", 1)...)
		time.Sleep(time.Minute)
		crm.await(want)
	})
}

// TestListensAtOnce: a webhook that starts as one of those that are up to date gets the next event the reader hands out.
func TestListensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		crm := r.receiver("crm.example", nil)
		r.run()
		account, w := hook("acme", "crm", nil)
		r.svc.mu.Lock()
		r.svc.endpoints[w.ID] = r.svc.start(r.svc.ctx, account, &w, store.WebhookPosition{Webhook: w.ID, At: r.svc.head})
		r.svc.mu.Unlock()
		want := r.sent("acme", 1)
		time.Sleep(time.Minute)
		crm.await(want)
	})
}

// TestManyWebhooks: hundreds of idle webhooks cost one reader, and slow ones hold nobody up.
func TestManyWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads counting
		r := newRig(t, func(o *Options) { reads.Store = o.Store; o.Store = &reads })
		const accounts = 150
		quick := r.receiver("quick.example", nil)
		slow := r.receiver("slow.example", func(int, got, http.ResponseWriter, *http.Request) int {
			time.Sleep(10 * time.Second)
			return 200
		})
		for i := range accounts {
			r.set(hook(fmt.Sprintf("a%d", i), "hook", func(w *platform.Webhook) {
				if w.URL = "http://quick.example/"; i%10 == 0 {
					w.URL = "http://slow.example/"
				}
			}))
		}
		r.run()
		begin := time.Now()
		for range 5 {
			for i := range accounts {
				r.record(r.gen.Sent(fmt.Sprintf("a%d", i), 1)...)
			}
		}
		time.Sleep(5 * time.Second)
		if n := len(quick.taken()); n != accounts*9/10*5*2 {
			t.Errorf("the quick ones had %d events after %v", n, time.Since(begin))
		}
		if n := reads.events.Load(); n > 2*5*accounts+100 { // the reader's pages, for it is woken by every write
			t.Errorf("the stream was read %d times", n)
		}
		before := reads.events.Load()
		time.Sleep(2 * time.Minute)
		if n := len(slow.taken()); n != accounts/10*5*2 {
			t.Errorf("the slow ones had %d events", n)
		}
		if n := reads.events.Load() - before; n > 2*60/2+accounts/10 {
			t.Errorf("in two idle minutes the stream was read %d times", n)
		}
		perAccount := map[string]uint64{}
		for _, x := range []*receiver{quick, slow} {
			for _, g := range x.all() {
				if g.seq <= perAccount[g.account] {
					t.Errorf("%s had %d behind %d", g.account, g.seq, perAccount[g.account])
				}
				perAccount[g.account] = g.seq
			}
		}
	})
}

// TestSlowWebhookLeavesAndJoins: one that is slower than its events reads by itself, in order, with little in memory, and is
// among the others again in the end.
func TestSlowWebhookLeavesAndJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "slow", nil))
		slow := r.receiver("slow.example", func(int, got, http.ResponseWriter, *http.Request) int {
			time.Sleep(100 * time.Millisecond)
			return 200
		})
		r.run()
		var want []string
		left := false
		for i := range 200 {
			want = append(want, r.sent("acme", 2)...)
			r.sent("beta", 3)
			time.Sleep(time.Duration(i%5) * 50 * time.Millisecond)
			r.svc.mu.Lock()
			e := r.svc.endpoints["whk_acme_slow"]
			left = left || !e.live
			if len(e.queue) > maxQueued {
				t.Errorf("%d events in memory", len(e.queue))
			}
			r.svc.mu.Unlock()
		}
		time.Sleep(10 * time.Minute)
		slow.await(want)
		if st := r.status("whk_acme_slow", func(Status) bool { return true }); !left || st.State != StateLive {
			t.Errorf("left %v, now %+v", left, st)
		}
	})
}

func TestTestAndResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(n int, _ got, _ http.ResponseWriter, _ *http.Request) int {
			if n == 2 {
				return 500
			}
			return 200
		})
		r.run()
		want := r.sent("acme", 1)
		crm.await(want[:1])
		time.Sleep(time.Minute)
		crm.await(want)
		for _, typ := range mail.EventTypes() {
			a, err := r.svc.Test(t.Context(), "whk_acme_crm", typ)
			if err != nil || !a.Taken || a.ID == 0 || a.Type != typ || a.Kind != store.WebhookTest {
				t.Errorf("%s: %+v, %v", typ, a, err)
			}
		}
		if had := crm.all(); had[len(had)-1].test != "1" || had[len(had)-1].typ != "clicked" {
			t.Errorf("%+v", had[len(had)-1])
		}
		first := r.log("whk_acme_crm")[0]
		a, err := r.svc.Resend(t.Context(), "whk_acme_crm", first.ID)
		if err != nil || !a.Taken || a.Event != want[0] || a.Kind != store.WebhookResend {
			t.Fatalf("%+v, %v", a, err)
		}
		had := crm.all()
		if last := had[len(had)-1]; last.replay != "resend" || string(last.body) != string(had[0].body) || last.header.Get("webhook-signature") == had[0].header.Get("webhook-signature") {
			t.Errorf("resent %+v", last)
		}
		if _, err := r.svc.Resend(t.Context(), "whk_acme_crm", 999); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("resend of nothing: %v", err)
		}
		if _, err := r.svc.Test(t.Context(), "whk_none", mail.EventBounced); !errors.Is(err, ErrNotFound) {
			t.Errorf("test of nothing: %v", err)
		}
		r.stop()
		if _, err := r.svc.Test(context.Background(), "whk_acme_crm", mail.EventBounced); !errors.Is(err, ErrUnavailable) {
			t.Errorf("test after the stop: %v", err)
		}
	})
}

// TestReplay: events of a time and named ones are sent once more, marked, in order, beside the live ones and over a restart.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", func(w *platform.Webhook) { w.Types = []mail.EventType{mail.EventDelivered} }))
		hold := time.Duration(0)
		crm := r.receiver("crm.example", func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			if g.replay != "" {
				time.Sleep(hold)
			}
			return 200
		})
		r.run()
		var hours [][]string
		var want []string
		begin := time.Now()
		for range 48 {
			var of []string
			for _, ids := range [][]string{r.sent("acme", 3)} {
				for n, id := range ids {
					if n%2 == 1 {
						of = append(of, id)
					}
				}
			}
			r.sent("beta", 10)
			hours, want = append(hours, of), append(want, of...)
			time.Sleep(time.Hour)
		}
		crm.await(want)
		replayed := func(id string) (ids []string) {
			for _, g := range crm.all() {
				if g.replay == id {
					ids = append(ids, g.id)
				}
			}
			return ids
		}
		hold = time.Second
		x, err := r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{From: begin.Add(10*time.Hour - time.Minute), To: begin.Add(20*time.Hour - time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{From: begin, To: begin.Add(time.Hour)}); !errors.Is(err, ErrBusy) {
			t.Errorf("a second replay: %v", err)
		}
		time.Sleep(5500 * time.Millisecond)
		now := r.sent("acme", 1)[1:] // live ones do not wait for it
		time.Sleep(100 * time.Millisecond)
		crm.await(append(want, now...))
		r.restart()
		time.Sleep(time.Minute)
		wantReplay := slices.Concat(hours[10:20]...)
		again := slices.Compact(replayed(x.ID)) // the one in hand at the stop may come twice
		if !slices.Equal(again, wantReplay) {
			t.Errorf("replayed %d: %v\nwant %d: %v", len(again), again, len(wantReplay), wantReplay)
		}
		list, err := r.store.WebhookReplays(t.Context(), "whk_acme_crm")
		if err != nil || len(list) != 1 || list[0].State != store.ReplayDone || list[0].Sent < int64(len(wantReplay)) || list[0].Ended.IsZero() {
			t.Errorf("%+v, %v", list, err)
		}

		first, _ := mail.ParseEventID(hours[3][1])
		second, _ := mail.ParseEventID(hours[1][0])
		x, err = r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{Events: []mail.EventID{first, second}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if again := replayed(x.ID); !slices.Equal(again, []string{first.String(), second.String()}) {
			t.Errorf("replayed %v", again)
		}
		foreign, _ := mail.ParseEventID(r.sent("beta", 1)[0])
		for _, id := range []mail.EventID{foreign, {Spool: spoolID, Seq: 1 << 40}, {Spool: 9, Seq: 1}, {}} {
			if _, err := r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{Events: []mail.EventID{id}}); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("replay of %v: %v", id, err)
			}
		}

		// One that is refused again and again ends, and says where.
		crm.mu.Lock()
		crm.answer = func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			if g.replay != "" {
				return 500
			}
			return 200
		}
		crm.mu.Unlock()
		if _, err = r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{Events: []mail.EventID{first}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		list, _ = r.store.WebhookReplays(t.Context(), "whk_acme_crm")
		if list[0].State != store.ReplayFailed || !strings.Contains(list[0].Error, first.String()) {
			t.Errorf("%+v", list[0])
		}
		if _, err = r.svc.Replay(t.Context(), "whk_acme_crm", "test", ReplayRequest{From: begin, To: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := r.svc.CancelReplay("whk_acme_crm"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		list, _ = r.store.WebhookReplays(t.Context(), "whk_acme_crm")
		if list[0].State != store.ReplayCancelled {
			t.Errorf("%+v", list[0])
		}
	})
}

// counting counts the reads of the stream.
type counting struct {
	Store
	events atomic.Int64
}

func (c *counting) Events(ctx context.Context, q store.EventQuery) (store.EventPage, error) {
	c.events.Add(1)
	return c.Store.Events(ctx, q)
}
