package feedback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// noticeBed is a record that grows, and what a Notifier writes of it. It outlives any number of Notifiers.
type noticeBed struct {
	t        *testing.T
	events   []*mail.Event
	messages map[mail.MessageID]*mail.Message
	reports  map[mail.ReportID]*store.StoredReport
	meta     map[string][]byte
	account  platform.Account
	now      time.Time
	kept     []*store.StoredReport
	letters  []NoticeLetter
	keys     map[string]bool
	alerts   []platform.Alert
	fail     func(op string) error
	content  []byte
	window   time.Duration
	made     int
}

func newNoticeBed(t *testing.T) *noticeBed {
	return &noticeBed{
		t: t, messages: map[mail.MessageID]*mail.Message{}, reports: map[mail.ReportID]*store.StoredReport{}, meta: map[string][]byte{}, keys: map[string]bool{},
		now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), fail: func(string) error { return nil },
		account: platform.Account{
			Name: "shop", Senders: []platform.Sender{{Name: "shop.example", Verified: true}},
			Credentials: []platform.Credential{{Name: "smtp", Kind: platform.CredentialSMTP}, {Name: "app", Kind: platform.CredentialAPI}},
		},
	}
}

// notifier starts a Notifier: what it had in memory is not there.
func (b *noticeBed) notifier() *Notifier {
	b.t.Helper()
	n, err := NewNotifier(NoticeOptions{
		Store: b, Spool: 1, Hostname: "mail.example", Now: func() time.Time { return b.now }, Window: b.window,
		Snapshot: func() *platform.Snapshot {
			return platform.NewSnapshot(platform.State{Accounts: []platform.Account{b.account}}, "mail.example")
		},
		Letter: func(_ context.Context, l NoticeLetter) error {
			if err := b.fail("letter"); err != nil {
				return err
			}
			if !b.keys[l.Key] {
				b.keys[l.Key] = true
				b.letters = append(b.letters, l)
			}
			return b.fail("after letter")
		},
		Content: func(context.Context, mail.MessageID) ([]byte, error) { return b.content, nil },
		Keep: func(_ context.Context, r *store.StoredReport) error {
			if err := b.fail("keep"); err != nil {
				return err
			}
			b.kept = append(b.kept, r)
			return nil
		},
		Alert: func(a platform.Alert) { b.alerts = append(b.alerts, a) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := n.loadHour(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// run tells of the events from the given one on, in pages.
func (b *noticeBed) run(n *Notifier, from, page int) {
	b.t.Helper()
	for events := range slices.Chunk(b.events[from:], page) {
		if err := n.page(b.t.Context(), events); err != nil {
			b.t.Fatal(err)
		}
	}
}

// message adds a message.
func (b *noticeBed) message(credential string, recipients int) *mail.Message {
	m := &mail.Message{
		ID: mail.NewMessageID(b.now), Account: "shop", Credential: credential, Stream: mail.Transactional, From: mail.Address{Local: "ann", Domain: "shop.example"},
		AcceptedAt: b.now, ExpiresAt: b.now.Add(72 * time.Hour), HeaderFrom: "ann@shop.example", Subject: "Grüße", RFC822ID: "m1@shop.example", Recipients: recipients, EnvID: "QQ1",
	}
	b.messages[m.ID] = m
	return m
}

// deliveryID makes an id of now, whatever the clock of this process has shown.
func (b *noticeBed) deliveryID() (id mail.DeliveryID) {
	ms := b.now.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	b.made++
	id[14], id[15] = byte(b.made>>8), byte(b.made)
	return id
}

// deliver adds the n-th delivery of a message, as accepted.
func (b *noticeBed) deliver(m *mail.Message, n int, notify mail.Notify, orcpt string) *mail.Event {
	e := &mail.Event{Type: mail.EventAccepted, At: b.now, Account: m.Account, Message: m.ID, Delivery: b.deliveryID(), Recipient: fmt.Sprintf("r%d@dest.example", n), Notify: notify, ORcpt: orcpt, Envelope: m}
	b.record(e)
	return e
}

func (b *noticeBed) record(e *mail.Event) *mail.Event {
	e.ID = mail.EventID{Spool: 1, Seq: uint64(len(b.events) + 1)}
	b.events = append(b.events, e)
	return e
}

// became records what became of a delivery.
func (b *noticeBed) became(d *mail.Event, t mail.EventType, after time.Duration, change ...func(*mail.Event)) *mail.Event {
	e := &mail.Event{
		Type: t, At: d.At.Add(after), Account: d.Account, Message: d.Message, Delivery: d.Delivery, Recipient: d.Recipient, Notify: d.Notify,
		Attempt: &mail.Attempt{At: d.At.Add(after), Host: "mx.dest.example", Code: 550, Enhanced: "5.1.1", Reply: "550 5.1.1 no such user"}, Class: mail.ClassInvalidRecipient,
	}
	for _, f := range change {
		f(e)
	}
	return b.record(e)
}

func reported(kind, door string) func(*mail.Event) {
	return func(e *mail.Event) {
		e.Report = &mail.Report{ID: mail.NewReportID(e.At), Door: door, Kind: kind}
		e.Late, e.Notify = e.Type == mail.EventBounced, 0
	}
}

func (b *noticeBed) GetMeta(_ context.Context, key string) ([]byte, error) {
	if v, ok := b.meta[key]; ok {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (b *noticeBed) PutMeta(_ context.Context, key string, value []byte) error {
	if err := b.fail("meta"); err != nil {
		return err
	}
	b.meta[key] = value
	return b.fail("after meta")
}
func (b *noticeBed) DeleteMeta(context.Context, string) error                { return nil }
func (b *noticeBed) Tail(context.Context) (store.Cursor, error)              { return nil, nil }
func (b *noticeBed) Watermark(context.Context, mail.SpoolID) (uint64, error) { return 0, nil }
func (b *noticeBed) WaitFor(context.Context, mail.SpoolID, uint64) (uint64, error) {
	return 0, errors.New("not used")
}

func (b *noticeBed) Events(context.Context, store.EventQuery) (store.EventPage, error) {
	return store.EventPage{}, errors.New("not used")
}

func (b *noticeBed) Message(_ context.Context, id mail.MessageID) (*mail.Message, error) {
	if m := b.messages[id]; m != nil {
		return m, nil
	}
	return nil, store.ErrNotFound
}

func (b *noticeBed) Report(_ context.Context, id mail.ReportID) (*store.StoredReport, error) {
	if r := b.reports[id]; r != nil {
		return r, nil
	}
	return nil, store.ErrNotFound
}

func (b *noticeBed) Timeline(_ context.Context, id mail.DeliveryID) (list []*mail.Event, err error) {
	for _, e := range b.events {
		if e.Delivery == id {
			list = append(list, e)
		}
	}
	return list, b.fail("timeline")
}

func (b *noticeBed) MessageEvents(_ context.Context, id mail.MessageID, cursor string, _ int) (list []*mail.Event, next string, err error) {
	for _, e := range b.events {
		if e.Message == id {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b *mail.Event) int { return bytes.Compare(a.Delivery[:], b.Delivery[:]) })
	if half := len(list) / 2; cursor == "" && half > 0 {
		return list[:half], "rest", b.fail("message events")
	} else if cursor != "" {
		list = list[half:]
	}
	return list, "", b.fail("message events")
}

// recipients returns whom a notice speaks of, with its action.
func recipients(t *testing.T, l NoticeLetter) (list []string) {
	t.Helper()
	r := report.Parse(l.Content, report.Limits{})
	for _, rc := range r.Recipients {
		list = append(list, string(rc.Action)+" "+rc.Address)
	}
	return list
}

// TestNoticeWho: the account's setting, its default by the way the mail came in, and NOTIFY above both.
func TestNoticeWho(t *testing.T) {
	failed := func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventBounced, time.Minute) }
	late := func(b *noticeBed, d *mail.Event) {
		b.became(d, mail.EventBounced, time.Hour, reported("bounce", spool.InboxReturnPath))
	}
	delayed := func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventDeferred, NoticeDelay) }
	taken := func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventDelivered, time.Minute) }
	for name, tt := range map[string]struct {
		setting, credential string
		notify              mail.Notify
		what                func(*noticeBed, *mail.Event)
		change              func(*noticeBed, *mail.Message)
		want                string
	}{
		"smtp":                {"", "smtp", 0, failed, nil, "failed"},
		"smtp, late":          {"", "smtp", 0, late, nil, "failed"},
		"smtp, delay":         {"", "smtp", 0, delayed, nil, ""},
		"smtp, delivered":     {"", "smtp", 0, taken, nil, ""},
		"api":                 {"", "app", 0, failed, nil, ""},
		"api, late":           {"", "app", 0, late, nil, ""},
		"unknown credential":  {"", "gone", 0, failed, nil, ""},
		"off":                 {"off", "smtp", 0, failed, nil, ""},
		"on for the api":      {"failures", "app", 0, failed, nil, "failed"},
		"failures, a delay":   {"failures", "smtp", 0, delayed, nil, ""},
		"delays":              {"failures+delays", "app", 0, delayed, nil, "delayed"},
		"never":               {"failures+delays", "smtp", mail.NotifyNever, failed, nil, ""},
		"never, late":         {"failures+delays", "smtp", mail.NotifyNever, late, nil, ""},
		"failure, though off": {"off", "smtp", mail.NotifyFailure, failed, nil, "failed"},
		"failure, late":       {"off", "smtp", mail.NotifyFailure, late, nil, "failed"},
		"only success":        {"failures", "smtp", mail.NotifySuccess, failed, nil, ""},
		"delay asked":         {"", "smtp", mail.NotifyDelay, delayed, nil, "delayed"},
		"success":             {"off", "smtp", mail.NotifySuccess, taken, nil, "relayed"},
		"success at an MX that reports": {"off", "smtp", mail.NotifySuccess, func(b *noticeBed, d *mail.Event) {
			b.became(d, mail.EventDelivered, time.Minute, func(e *mail.Event) { e.Attempt.DSN = true })
		}, nil, "relayed"},
		"success, relay": {"off", "smtp", mail.NotifySuccess, func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventRelayed, time.Minute) }, nil, "relayed"},
		"success, relay reports": {"off", "smtp", mail.NotifySuccess, func(b *noticeBed, d *mail.Event) {
			b.became(d, mail.EventRelayed, time.Minute, func(e *mail.Event) { e.Attempt.DSN = true })
		}, nil, ""},
		"success reported": {"off", "smtp", mail.NotifySuccess, func(b *noticeBed, d *mail.Event) {
			b.became(d, mail.EventDelivered, time.Minute, reported("delivered", spool.InboxReturnPath))
		}, nil, "delivered"},
		"expired":    {"", "smtp", 0, func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventExpired, time.Hour) }, nil, "failed"},
		"suppressed": {"", "smtp", 0, func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventSuppressed, 0) }, nil, "failed"},
		"cancelled":  {"", "smtp", 0, func(b *noticeBed, d *mail.Event) { b.became(d, mail.EventCancelled, 0) }, nil, ""},
		"own mailbox": {"", "smtp", 0, func(b *noticeBed, d *mail.Event) {
			b.became(d, mail.EventBounced, time.Hour, reported("bounce", spool.InboxIMAP))
		}, nil, ""},
		"null sender":     {"failures", "smtp", 0, failed, func(_ *noticeBed, m *mail.Message) { m.From = mail.Address{} }, ""},
		"foreign sender":  {"failures", "smtp", 0, failed, func(_ *noticeBed, m *mail.Message) { m.From.Domain = "victim.example" }, ""},
		"unverified":      {"failures", "smtp", 0, failed, func(b *noticeBed, _ *mail.Message) { b.account.Senders[0].Verified = false }, ""},
		"account is gone": {"failures", "smtp", 0, failed, func(b *noticeBed, _ *mail.Message) { b.account.Name = "other" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newNoticeBed(t)
			b.account.BounceNotice = tt.setting
			m := b.message(tt.credential, 1)
			if tt.change != nil {
				tt.change(b, m)
			}
			tt.what(b, b.deliver(m, 1, tt.notify, ""))
			b.now = b.now.Add(5 * time.Hour)
			b.run(b.notifier(), 0, 100)
			got := ""
			for _, l := range b.letters {
				for _, r := range recipients(t, l) {
					got += strings.Fields(r)[0]
				}
				if l.To != m.From || l.Account != "shop" || l.Writer != NoticeWriter {
					t.Errorf("letter %+v", l)
				}
			}
			if got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNoticeContent: what a notice says, to machines and to people.
func TestNoticeContent(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message("smtp", 2)
	d := b.deliver(m, 1, 0, "rfc822;r.one@old.example")
	b.became(d, mail.EventBounced, time.Hour, reported("bounce", spool.InboxReturnPath))
	b.now = b.now.Add(2 * time.Hour)
	b.run(b.notifier(), 0, 100)
	if len(b.letters) != 1 {
		t.Fatalf("%d letters", len(b.letters))
	}
	raw := b.letters[0].Content
	r := report.Parse(raw, report.Limits{})
	if r.Kind != report.Bounce || r.ReportingMTA != "mail.example" || r.EnvelopeID != "QQ1" || !r.Arrival.Equal(m.AcceptedAt) || r.Original.MessageID != "m1@shop.example" || r.Original.Subject != "Grüße" {
		t.Errorf("read as %+v", r)
	}
	rc := r.Recipients[0]
	if rc.Original != "r.one@old.example" || rc.Final != "r1@dest.example" || rc.Status != (smtp.Enhanced{5, 1, 1}) || rc.RemoteMTA != "mx.dest.example" || rc.Code != 550 || rc.LastAttempt.IsZero() {
		t.Errorf("recipient %+v", rc)
	}
	for _, words := range []string{"came back later", "no mailbox of that name", "mx.dest.example said: 550 5.1.1 no such user", "Subject: Grüße"} {
		if !strings.Contains(r.Text, words) {
			t.Errorf("the text lacks %q:\n%s", words, r.Text)
		}
	}
	// With the content still there its header is returned, or all of it where that was asked for.
	b.content = []byte("From: ann@shop.example\r\nX-Own: yes\r\n\r\nThe body.\r\n")
	for ret, want := range map[string]bool{"": false, "HDRS": false, "FULL": true} {
		m.Ret, b.letters, b.keys = ret, nil, map[string]bool{}
		b.run(b.notifier(), 0, 100)
		raw := b.letters[0].Content
		if !bytes.Contains(raw, []byte("X-Own: yes")) || bytes.Contains(raw, []byte("The body.")) != want {
			t.Errorf("RET=%s:\n%s", ret, raw)
		}
	}
}

// TestEveryClassHasWords: a new class must not be told in machine words.
func TestEveryClassHasWords(t *testing.T) {
	for _, c := range mail.Classes {
		if c != mail.ClassOther && classWords[c] == "" {
			t.Errorf("class %s has no words", c)
		}
	}
}

// TestNoticeTogether: failures of one message within the window are one notice, a later one is another, and seeing the
// events again, also from the middle and by a new process, tells nothing twice.
func TestNoticeTogether(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message("smtp", 5)
	var ds []*mail.Event
	for i := range 5 {
		ds = append(ds, b.deliver(m, i, 0, ""))
	}
	b.became(ds[0], mail.EventBounced, time.Second)
	b.became(ds[1], mail.EventBounced, 20*time.Second)
	b.became(ds[2], mail.EventDelivered, 25*time.Second)
	b.became(ds[3], mail.EventExpired, 55*time.Second)
	b.became(ds[4], mail.EventBounced, 90*time.Second)
	b.now = b.now.Add(time.Hour)
	want := [][]string{{"failed r0@dest.example", "failed r1@dest.example", "failed r3@dest.example"}, {"failed r4@dest.example"}}
	for from := range len(b.events) {
		for _, page := range []int{1, 2, 100} {
			b.run(b.notifier(), from, page)
		}
		if from > 0 {
			continue
		}
		var got [][]string
		for _, l := range b.letters {
			got = append(got, recipients(t, l))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if len(b.letters) != 2 {
		t.Errorf("%d letters after all was seen again", len(b.letters))
	}
}

// TestNoticeFailsOnce: what is written for several recipients cannot be taken in for a moment. The page is seen again, by the
// same process, and everybody is told.
func TestNoticeFailsOnce(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message("smtp", 2)
	b.became(b.deliver(m, 0, 0, ""), mail.EventBounced, time.Second)
	b.became(b.deliver(m, 1, 0, ""), mail.EventBounced, 2*time.Second)
	b.now = b.now.Add(time.Hour)
	full := errors.New("the disk is full")
	b.fail = func(op string) error {
		if op == "letter" {
			return full
		}
		return nil
	}
	n := b.notifier()
	if err := n.page(t.Context(), b.events); !errors.Is(err, full) {
		t.Fatal(err)
	}
	b.fail = func(string) error { return nil }
	b.run(n, 0, 100)
	if len(b.letters) != 1 || len(recipients(t, b.letters[0])) != 2 {
		t.Fatalf("%d letters", len(b.letters))
	}
	b.run(n, 0, 100)
	if len(b.letters) != 1 {
		t.Errorf("%d letters after all was seen again", len(b.letters))
	}
}

// TestNoticeLateEvent: an event of within the window comes into the record after the notice was written, because the disk stood
// still. It is told all the same.
func TestNoticeLateEvent(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message("smtp", 3)
	x, y, z := b.deliver(m, 0, 0, ""), b.deliver(m, 1, 0, ""), b.deliver(m, 2, 0, "")
	b.became(x, mail.EventBounced, time.Second)
	b.now = b.now.Add(time.Hour)
	n := b.notifier()
	b.run(n, 0, 100)
	late := len(b.events)
	b.became(y, mail.EventBounced, 30*time.Second)
	b.became(z, mail.EventBounced, 40*time.Second)
	b.run(n, late, 1)
	var got [][]string
	for _, l := range b.letters {
		got = append(got, recipients(t, l))
	}
	want := [][]string{{"failed r0@dest.example"}, {"failed r1@dest.example", "failed r2@dest.example"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoticeWaits: a notice is not written before its window is over, and a stop does not wait for that.
func TestNoticeWaits(t *testing.T) {
	b := newNoticeBed(t)
	b.now = time.Now()
	m := b.message("smtp", 2)
	b.became(b.deliver(m, 1, 0, ""), mail.EventBounced, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.notifier().page(ctx, b.events); !errors.Is(err, context.DeadlineExceeded) || len(b.letters) != 0 {
		t.Errorf("%v, %d letters", err, len(b.letters))
	}
}

// TestNoticeOfReport: a report that names several recipients is one notice.
func TestNoticeOfReport(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message("smtp", 3)
	same := &mail.Report{ID: mail.NewReportID(b.now), Door: spool.InboxReturnPath, Kind: "bounce"}
	for i := range 3 {
		d := b.deliver(m, i, 0, "")
		b.became(d, mail.EventBounced, time.Hour, func(e *mail.Event) {
			e.Report, e.Late = same, true
			if i == 2 {
				e.Report = &mail.Report{ID: mail.NewReportID(b.now.Add(time.Second)), Door: spool.InboxReturnPath, Kind: "bounce"}
			}
		})
	}
	b.now = b.now.Add(2 * time.Hour)
	b.run(b.notifier(), 0, 1)
	if len(b.letters) != 2 || len(recipients(t, b.letters[0])) != 2 {
		t.Errorf("%d letters, the first of %v", len(b.letters), recipients(t, b.letters[0]))
	}
}

// TestNoticeDelayOnce: a delivery's first delay after four hours is told, with until when it is tried.
func TestNoticeDelayOnce(t *testing.T) {
	for _, n := range []int{1, 2} {
		b := newNoticeBed(t)
		b.account.BounceNotice = platform.NoticesDelays
		m := b.message("smtp", n)
		d := b.deliver(m, 1, 0, "")
		for _, after := range []time.Duration{time.Hour, NoticeDelay + time.Minute, 8 * time.Hour, 12 * time.Hour} {
			b.became(d, mail.EventDeferred, after, func(e *mail.Event) { e.Class, e.Attempt.Enhanced = mail.ClassGreylisted, "4.7.1" })
		}
		b.now = b.now.Add(24 * time.Hour)
		b.run(b.notifier(), 0, 1)
		b.run(b.notifier(), 3, 100)
		if len(b.letters) != 1 {
			t.Fatalf("%d letters", len(b.letters))
		}
		r := report.Parse(b.letters[0].Content, report.Limits{})
		if r.Kind != report.Delay || !r.Recipients[0].WillRetryUntil.Equal(m.ExpiresAt) || !strings.Contains(r.Text, "need not send it again") {
			t.Errorf("%+v", r)
		}
	}
}

// TestNoticeCap: an account gets so many notices an hour; of the rest one summary tells, also after a restart.
func TestNoticeCap(t *testing.T) {
	b := newNoticeBed(t)
	const over = 7
	for i := range NoticesPerHour + over {
		m := b.message("smtp", 1)
		b.became(b.deliver(m, i, 0, ""), mail.EventBounced, time.Second)
	}
	b.now = b.now.Add(time.Minute)
	half := len(b.events) - 6
	n := b.notifier()
	for events := range slices.Chunk(b.events[:half], 10) {
		if err := n.page(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	last := b.notifier()
	b.run(last, half-4, 10) // another process, which sees some again
	if s := last.Stats(); s.Over == 0 || s.Failures > NoticesPerHour || s.Summaries != 0 {
		t.Errorf("counts %+v", s)
	}
	if len(b.letters) != NoticesPerHour {
		t.Errorf("%d letters within the hour", len(b.letters))
	}
	b.now = b.now.Add(time.Hour)
	for range 2 {
		if err := b.notifier().page(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.letters) != NoticesPerHour+1 {
		t.Fatalf("%d letters after it", len(b.letters))
	}
	sum := string(b.letters[NoticesPerHour].Content)
	if !strings.Contains(sum, fmt.Sprintf("%d recipients did not get your mail", over)) || strings.Count(sum, "@dest.example") != over {
		t.Errorf("summary:\n%s", sum)
	}
	if !strings.Contains(sum, "\r\n"+report.NoticeField+": notice\r\n") {
		t.Error("a reader of mailboxes would take it for a report")
	}
}

// TestNoticeCountsOnce: notices that are written again, because the one after them failed or the process died before its place
// was kept, count once among those of the hour.
func TestNoticeCountsOnce(t *testing.T) {
	b := newNoticeBed(t)
	for i := range NoticesPerHour {
		m := b.message("smtp", 1)
		b.became(b.deliver(m, i, 0, ""), mail.EventBounced, time.Second)
	}
	b.now = b.now.Add(time.Minute)
	half := len(b.events) / 2
	n := b.notifier()
	for try := range 4 {
		written := 0
		b.fail = func(op string) error {
			if op != "letter" {
				return nil
			}
			if written++; written == NoticesPerHour/2 && try < 3 {
				return errors.New("the disk is full")
			}
			return nil
		}
		if err := n.page(t.Context(), b.events[:half]); (err == nil) != (try == 3) {
			t.Fatalf("try %d: %v", try, err)
		}
	}
	b.run(b.notifier(), 0, 100) // another process, which sees all of it again
	b.now = b.now.Add(time.Hour)
	b.run(b.notifier(), half, 100)
	if len(b.letters) != NoticesPerHour {
		t.Errorf("%d letters", len(b.letters))
	}
}

// TestNoticeCrash dies at every step and goes on with a new process: everybody is told, nobody twice.
func TestNoticeCrash(t *testing.T) {
	for at := 1; ; at++ {
		b := newNoticeBed(t)
		for i := range 3 {
			m := b.message("smtp", 2)
			x, y := b.deliver(m, 2*i, mail.NotifyFailure, ""), b.deliver(m, 2*i+1, mail.NotifyFailure, "")
			b.became(x, mail.EventBounced, time.Second)
			b.became(y, mail.EventBounced, 2*time.Second)
		}
		b.now = b.now.Add(time.Hour)
		steps := 0
		b.fail = func(string) error {
			if steps++; steps >= at {
				return errors.New("gone")
			}
			return nil
		}
		done := 0 // the cursor: pages that were told
		pages := slices.Collect(slices.Chunk(b.events, 4))
		for n := b.notifier(); done < len(pages) && n.page(t.Context(), pages[done]) == nil; done++ {
		}
		died := steps >= at
		b.fail = func(string) error { return nil }
		b.run(b.notifier(), 4*done, 4)
		var told []string
		for _, l := range b.letters {
			told = append(told, recipients(t, l)...)
		}
		slices.Sort(told)
		if len(told) != 6 || len(slices.Compact(told)) != 6 || len(b.letters) != 3 {
			t.Fatalf("death at step %d: %d letters, told %v", at, len(b.letters), told)
		}
		if !died {
			if at < 10 {
				t.Errorf("only %d steps to die at", at)
			}
			return
		}
	}
}

// TestLetterBounced: an alert or digest that does not arrive, or is not sent any more, is an alert.
func TestLetterBounced(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message(LetterWriter, 1)
	m.From, m.Account, m.Subject = mail.Address{}, "postroad", "Alert: disk-full platform"
	b.became(b.deliver(m, 1, 0, ""), mail.EventDelivered, 0)
	b.became(b.deliver(m, 1, 0, ""), mail.EventBounced, 0)
	b.became(b.deliver(m, 1, 0, ""), mail.EventSuppressed, 0)
	b.run(b.notifier(), 0, 10)
	if len(b.alerts) != 2 || len(b.kept) != 0 {
		t.Fatalf("alerts %+v, %d mails", b.alerts, len(b.kept))
	}
	for i, words := range [][]string{{"disk-full", "could not be delivered"}, {"disk-full", "was not sent", "suppress remove --account postroad r1@dest.example"}} {
		for _, w := range words {
			if a := b.alerts[i]; a.Kind != "letter-bounced" || !strings.Contains(a.Message, w) {
				t.Errorf("alert %+v lacks %q", a, w)
			}
		}
	}
}

// TestNoticeBounced: a notice that does not arrive is an alert, and no notice.
func TestNoticeBounced(t *testing.T) {
	b := newNoticeBed(t)
	m := b.message(NoticeWriter, 1)
	m.From, m.Account = mail.Address{}, "postroad"
	m.Tags = []string{NoticeTag + "shop"}
	d := b.deliver(m, 1, 0, "")
	b.became(d, mail.EventBounced, time.Second)
	b.run(b.notifier(), 0, 10)
	if len(b.kept) != 1 {
		t.Fatalf("%d mails to the operator", len(b.kept))
	}
	x := b.kept[0]
	if x.Mailbox != "postmaster" || x.ID != mail.ReportID(d.Delivery) || x.Size != int64(len(x.Raw)) || !strings.Contains(string(x.Raw), "r1@dest.example") ||
		!strings.Contains(string(x.Raw), "550 5.1.1 no such user") || !strings.Contains(string(x.Raw), "account shop") {
		t.Errorf("the operator reads %+v:\n%s", x, x.Raw)
	}
	// What a report says of it is kept by who reads it; a store that is down must not lose it.
	b.became(d, mail.EventBounced, time.Minute, func(e *mail.Event) { e.Report = &mail.Report{ID: mail.NewReportID(b.now), Door: "return-path"} })
	b.run(b.notifier(), 2, 10)
	if len(b.kept) != 1 || len(b.alerts) != 2 {
		t.Errorf("%d mails, %d alerts", len(b.kept), len(b.alerts))
	}
	// The next one is not even sent.
	b.became(b.deliver(m, 1, 0, ""), mail.EventSuppressed, 0)
	b.run(b.notifier(), 3, 10)
	if len(b.kept) != 1 || len(b.alerts) != 3 || !strings.Contains(b.alerts[2].Message, "suppress remove --account postroad r1@dest.example") {
		t.Errorf("%d mails, alerts %+v", len(b.kept), b.alerts)
	}
	b.alerts = b.alerts[:1]
	b.fail = func(op string) error { return errors.New("store down") }
	if err := b.notifier().page(t.Context(), b.events[:2]); err == nil {
		t.Error("a mail that could not be kept was passed over")
	}
	if len(b.letters) != 0 || len(b.alerts) < 1 || b.alerts[0].Scope != "account/shop" || !strings.Contains(b.alerts[0].Message, "r1@dest.example") {
		t.Errorf("%d letters, alerts %+v", len(b.letters), b.alerts)
	}
}

// TestNoticeRefused: a notice that can never be accepted does not hold up the others; one that cannot be now is tried again.
func TestNoticeRefused(t *testing.T) {
	b := newNoticeBed(t)
	for i := range 2 {
		b.became(b.deliver(b.message("smtp", 1), i, 0, ""), mail.EventBounced, time.Second)
	}
	first := true
	b.fail = func(op string) error {
		if op == "letter" && first {
			first = false
			return fmt.Errorf("%w: bad", ErrLetterRefused)
		}
		return nil
	}
	b.run(b.notifier(), 0, 10)
	if len(b.letters) != 1 {
		t.Errorf("%d letters", len(b.letters))
	}
	b.fail = func(op string) error { return errors.New("no space") }
	if err := b.notifier().page(t.Context(), b.events); err == nil {
		t.Error("a letter that could not be written was passed over")
	}
}

// TestForward: an automatic reply reaches the sender as it came, once for each delivery, where the account wants it.
func TestForward(t *testing.T) {
	raw := "From: Bob <bob@dest.example>\r\nSubject: =?utf-8?q?Abwesend?=\r\nAuto-Submitted: auto-replied\r\n\r\nBin in Urlaub, Gr\xc3\xbc\xc3\x9fe.\r\n"
	for name, tt := range map[string]struct {
		setting, credential string
		stream              mail.Stream
		door                string
		want                int
	}{
		"smtp":             {"", "smtp", mail.Transactional, spool.InboxReturnPath, 1},
		"smtp, bulk":       {"", "smtp", mail.Bulk, spool.InboxReturnPath, 0},
		"api":              {"", "app", mail.Transactional, spool.InboxReturnPath, 0},
		"off":              {"off", "smtp", mail.Transactional, spool.InboxReturnPath, 0},
		"bulk alone":       {"bulk", "app", mail.Bulk, spool.InboxReturnPath, 1},
		"bulk, not bulk":   {"bulk", "app", mail.Transactional, spool.InboxReturnPath, 0},
		"all":              {"all", "app", mail.Bulk, spool.InboxReturnPath, 1},
		"from own mailbox": {"all", "smtp", mail.Transactional, spool.InboxIMAP, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newNoticeBed(t)
			b.account.ForwardAutoreplies = tt.setting
			m := b.message(tt.credential, 1)
			m.Stream = tt.stream
			d := b.deliver(m, 1, 0, "")
			for range 2 {
				e := b.became(d, mail.EventAutoReplied, time.Hour, reported("auto-reply", tt.door))
				b.reports[e.Report.ID] = &store.StoredReport{ID: e.Report.ID, Raw: []byte(raw), Author: "bob@dest.example", Subject: "Abwesend"}
			}
			b.now = b.now.Add(2 * time.Hour)
			b.run(b.notifier(), 0, 1)
			b.run(b.notifier(), 0, 100)
			if len(b.letters) != tt.want {
				t.Fatalf("%d letters", len(b.letters))
			}
			for _, l := range b.letters {
				if l.To != m.From || !bytes.Contains(l.Content, []byte(raw)) || !bytes.Contains(l.Content, []byte("Auto-Submitted: auto-generated\r\n")) || !bytes.Contains(l.Content, []byte("Subject: Automatic reply: Abwesend\r\n")) {
					t.Errorf("letter to %s:\n%s", l.To, l.Content)
				}
			}
		})
	}
}
