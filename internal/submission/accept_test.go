package submission

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

func TestAcceptSmall(t *testing.T) {
	b := newTestbed(t, nil)
	r, err := b.smtp(b.who("shop", "smtp"), "bounce@shop.example", []string{"you@example.com", "Me@example.net", "you@example.com"}, plainMessage)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != 2 || len(r.Recipients) != 2 || r.Recipients[0].Address != "you@example.com" || r.Recipients[1].Status != StatusQueued {
		t.Errorf("receipt %+v, want two queued recipients: one was named twice", r)
	}
	m := b.message(r.Message)
	if m.Account != "shop" || m.Credential != "smtp" || m.Stream != mail.Transactional || m.From.String() != "bounce@shop.example" ||
		m.HeaderFrom != "info@shop.example" || m.Subject != "Hello" || !m.Verified || m.Recipients != 2 || m.Content.External {
		t.Errorf("message %+v", m)
	}
	if want := testTime.Add(DefaultExpiry.Transactional); !m.ExpiresAt.Equal(want) {
		t.Errorf("expires at %s, want %s", m.ExpiresAt, want)
	}
	content := b.stored(r.Message)
	if !strings.HasPrefix(content, "Received: ") || !strings.HasSuffix(content, "\r\n\r\nIt works.\r\n") || m.Size != int64(len(content)) {
		t.Errorf("content %q, size %d", content, m.Size)
	}
	if strings.Contains(content, "192.0.2.7") {
		t.Error("the client's address is in the message although nobody asked for it")
	}
	if content[m.Content.BodyOffset:] != "It works.\r\n" {
		t.Errorf("body offset %d is at %q", m.Content.BodyOffset, content[m.Content.BodyOffset:])
	}
	if len(b.added) != 1 || len(b.added[0].ds) != 2 || b.added[0].body == nil || len(b.added[0].staged) != 0 {
		t.Errorf("handed on %+v", b.added)
	}
	c := b.spool.Counts()
	if c.Deliveries != 2 || c.Messages != 1 || c.Outbox != 2 {
		t.Errorf("spool %+v, want 2 deliveries of 1 message with 2 events", c)
	}
}

func TestAcceptLarge(t *testing.T) {
	b := newTestbed(t, nil)
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 2000) // 156 kB
	r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage+body)
	if err != nil {
		t.Fatal(err)
	}
	if m := b.message(r.Message); !m.Content.External || m.From != (mail.Address{}) {
		t.Errorf("message %+v, want external content and the null sender", m)
	}
	if !strings.HasSuffix(b.stored(r.Message), "It works.\r\n"+body) {
		t.Error("the content is not as it came")
	}
	if b.added[0].body != nil {
		t.Error("a large body was handed on in memory")
	}
}

// At the border between memory and file nothing gets lost.
func TestAcceptBorder(t *testing.T) {
	b := newTestbed(t, nil)
	for _, n := range []int{spool.DefaultMaxInline - 1, spool.DefaultMaxInline, spool.DefaultMaxInline + 1, spool.DefaultMaxInline - 300} {
		body := strings.Repeat(strings.Repeat("y", 62)+"\r\n", n/64+1)
		content := (plainMessage + body)[:n-2] + "\r\n"
		r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, content)
		if err != nil {
			t.Fatalf("%d octets: %v", n, err)
		}
		if _, got, _ := strings.Cut(b.stored(r.Message), "\r\n\r\n"); got != content[strings.Index(content, "\r\n\r\n")+4:] {
			t.Errorf("%d octets: the body is not as it came", n)
		}
	}
}

func TestAcceptMany(t *testing.T) {
	b := newTestbed(t, func(o *Options) {
		o.MaxRecipients = 5000
		o.Suppressed = func(_ context.Context, _ string, _ mail.Stream, a mail.Address) (platform.Suppression, bool, error) {
			return platform.Suppression{Reason: "asked"}, strings.HasSuffix(a.Local, "7"), nil
		}
	})
	const n = 2500
	r, err := b.smtp(b.shop(), "", recipients(n), plainMessage)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != n || len(r.Recipients) != MaxListed {
		t.Errorf("receipt counts %d and lists %d, want %d and %d", r.Count, len(r.Recipients), n, MaxListed)
	}
	if c := b.spool.Counts(); c.Deliveries != n-n/10 || c.Outbox != n+n/10 || c.Messages != 1 {
		t.Errorf("spool %+v, want %d deliveries and %d events", c, n-n/10, n+n/10)
	}
	if len(b.added) != 1 || len(b.added[0].staged) != 7 {
		t.Errorf("handed on with %d staged queues, want 7", len(b.added[0].staged))
	}
	live, err := b.spool.Deliveries(t.Context(), r.Message, mail.DeliveryID{}, n)
	if err != nil || len(live) != n-n/10 {
		t.Errorf("%d deliveries can be seen, %v", len(live), err)
	}
}

func TestAcceptAllSuppressed(t *testing.T) {
	b := newTestbed(t, func(o *Options) {
		o.Suppressed = func(context.Context, string, mail.Stream, mail.Address) (platform.Suppression, bool, error) {
			return platform.Suppression{Reason: "bounced"}, true, nil
		}
	})
	r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage)
	if err != nil {
		t.Fatal(err)
	}
	if x := r.Recipients[0]; x.Status != StatusSuppressed || x.Reason != "bounced" {
		t.Errorf("recipient %+v", x)
	}
	events, err := b.spool.ReadOutbox(t.Context(), 0, 10)
	if err != nil || len(events) != 2 || events[0].Type != mail.EventAccepted || events[1].Type != mail.EventSuppressed {
		t.Errorf("events %v, %v; want accepted and suppressed", events, err)
	}
	if c := b.spool.Counts(); c.Deliveries != 0 {
		t.Errorf("%d deliveries wait for a suppressed recipient", c.Deliveries)
	}
}

func TestSuppressionsUnreadable(t *testing.T) {
	b := newTestbed(t, func(o *Options) {
		o.MaxRecipients = 3000
		o.Suppressed = func(_ context.Context, _ string, _ mail.Stream, a mail.Address) (platform.Suppression, bool, error) {
			if a.Local == "r2100" {
				return platform.Suppression{}, false, io.ErrUnexpectedEOF
			}
			return platform.Suppression{}, false, nil
		}
	})
	h := &hook{Spool: b.spool}
	b.o.Spool = h
	before := b.traces()
	_, err := b.smtp(b.shop(), "", recipients(2500), plainMessage+strings.Repeat("x\r\n", 40000))
	wantKind(t, err, Unavailable, "")
	if h.staged != 2 || h.unstaged != 1 {
		t.Errorf("%d stages were written, %d times taken back", h.staged, h.unstaged)
	}
	// The stages were numbered events never shown: everything but the frame count is as it was.
	if after := b.traces(); after != before {
		t.Errorf("before %s\n after  %s", before, after)
	}
}

// A client that goes away while its message is being written has sent it all the same: it is accepted whole, or not.
func TestClientGoesAwayDuringCommit(t *testing.T) {
	b := newTestbed(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.Service.o.Spool = &hook{Spool: b.spool, commit: cancel}
	tx, err := b.Begin(ctx, b.shop(), Client{}, mail.Address{}, Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.AddRecipient(ctx, address(t, "you@example.com"), RecipientOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := tx.Accept(ctx, strings.NewReader(plainMessage))
	if err != nil {
		t.Fatalf("Accept = %v although the message was in the spool's hands", err)
	}
	if len(b.added) != 1 || b.added[0].m.ID != r.Message {
		t.Error("the queue does not know of a message that is on disk")
	}
}

// hook is a spool that calls back before it commits, and counts stages.
type hook struct {
	Spool
	commit           func()
	staged, unstaged int
}

func (h *hook) Stage(ctx context.Context, id mail.MessageID, ds []*mail.Delivery, evs []*mail.Event) error {
	h.staged++
	return h.Spool.Stage(ctx, id, ds, evs)
}

func (h *hook) Unstage(ctx context.Context, id mail.MessageID) error {
	h.unstaged++
	return h.Spool.Unstage(ctx, id)
}

func (h *hook) Commit(ctx context.Context, batch *spool.Batch) error {
	if h.commit != nil {
		h.commit()
	}
	return h.Spool.Commit(ctx, batch)
}

func TestControls(t *testing.T) {
	b := newTestbed(t, nil)
	content := crlf("From: info@shop.example\nTo: you@example.com\nX-Postroad-Stream: bulk\nX-Postroad-Tags: a, b\nx-postroad-tag: web\n" +
		"X-Postroad-Metadata: {\"order\": \"12\"}\nX-Postroad-Send-At: 2026-03-02T12:00:00Z\nX-Postroad-Expires-At: 2026-03-03T12:00:00Z\n" +
		"X-Postroad-Require-TLS: yes\nBcc: hidden@example.com\nReturn-Path: <x@y.example>\n\nbody\n")
	r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, content)
	if err != nil {
		t.Fatal(err)
	}
	m := b.message(r.Message)
	if m.Stream != mail.Bulk || strings.Join(m.Tags, " ") != "a b web" || m.Metadata["order"] != "12" || !m.RequireTLS ||
		!m.SendAt.Equal(testTime.Add(24*time.Hour)) || !m.ExpiresAt.Equal(testTime.Add(48*time.Hour)) {
		t.Errorf("message %+v", m)
	}
	if d := b.added[0].ds[0]; !d.Due.Equal(m.SendAt) || !d.ExpiresAt.Equal(m.ExpiresAt) || d.Queue.Stream != mail.Bulk {
		t.Errorf("delivery %+v", d)
	}
	head, _, _ := strings.Cut(b.stored(r.Message), "\r\n\r\n")
	for _, gone := range []string{"Postroad-", "Bcc", "Return-Path"} {
		if strings.Contains(strings.ToLower(head), strings.ToLower(gone+":")) || strings.Contains(head, "X-Postroad") {
			t.Errorf("%s is still in the header:\n%s", gone, head)
		}
	}
}

func TestStreamAndExpiry(t *testing.T) {
	b := newTestbed(t, nil)
	base := Request{From: Person{Email: "info@shop.example"}, To: persons("you@example.com"), Text: "x"}
	for _, tt := range []struct {
		name       string
		credential string
		change     func(*Request)
		stream     mail.Stream
		sendAt     time.Time
		expires    time.Time
	}{
		{"plain", "web", func(*Request) {}, mail.Transactional, time.Time{}, testTime.Add(72 * time.Hour)},
		{"the credential's stream", "news", func(*Request) {}, mail.Bulk, time.Time{}, testTime.Add(96 * time.Hour)},
		{"its own stream", "news", func(r *Request) { r.Stream = mail.Transactional }, mail.Transactional, time.Time{}, testTime.Add(72 * time.Hour)},
		{"send_at in the past is now", "web", func(r *Request) { r.SendAt = testTime.Add(-time.Hour) }, mail.Transactional, time.Time{}, testTime.Add(72 * time.Hour)},
		{"the deadline counts from send_at", "web", func(r *Request) { r.SendAt = testTime.Add(time.Hour) }, mail.Transactional, testTime.Add(time.Hour), testTime.Add(73 * time.Hour)},
		{"a deadline of its own", "web", func(r *Request) { r.ExpiresAt = testTime.Add(10 * time.Minute) }, mail.Transactional, time.Time{}, testTime.Add(10 * time.Minute)},
		{"never later than the stream's", "web", func(r *Request) { r.ExpiresAt = testTime.Add(9999 * time.Hour) }, mail.Transactional, time.Time{}, testTime.Add(72 * time.Hour)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := base
			tt.change(&r)
			receipt, err := b.Send(t.Context(), b.who("shop", tt.credential), r)
			if err != nil {
				t.Fatal(err)
			}
			m := b.message(receipt.Message)
			if m.Stream != tt.stream || !m.SendAt.Equal(tt.sendAt) || !m.ExpiresAt.Equal(tt.expires) {
				t.Errorf("stream %s, send at %s, expires %s", m.Stream, m.SendAt, m.ExpiresAt)
			}
		})
	}
}

func TestPrivateCopies(t *testing.T) {
	b := newTestbed(t, nil)
	r, err := b.Send(t.Context(), b.shop(), Request{
		From: Person{Email: "info@shop.example", Name: "The Shop"}, Subject: "For you alone", Text: "hello",
		Recipients: []Person{{Email: "a@example.com", Name: "Anna"}, {Email: "b@example.com"}, {Email: "a@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := b.message(r.Message); m.Content.Kind != mail.ContentPrivate || r.Count != 2 {
		t.Errorf("content kind %s, %d recipients", m.Content.Kind, r.Count)
	}
	if content := b.stored(r.Message); strings.Contains(content, "a@example.com") || strings.Contains(content, "b@example.com") || strings.Contains(content, "\nTo:") {
		t.Errorf("the stored content names recipients:\n%s", content)
	}
	if ds := b.added[0].ds; string(ds[0].Data) != "Anna" || ds[1].Data != nil {
		t.Errorf("display names %q, %q", ds[0].Data, ds[1].Data)
	}
}

// Lines no relay would take are re-encoded, in memory as in a file, and the text is the same.
func TestLongLines(t *testing.T) {
	for _, n := range []int{1, 40} { // below and above what is kept in memory
		b := newTestbed(t, nil)
		line := strings.Repeat("0123456789", 300)
		content := "From: info@shop.example\r\nSubject: x\r\n\r\n" + strings.Repeat(line+"\r\n", n)
		r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, content)
		if err != nil {
			t.Fatal(err)
		}
		stored := b.stored(r.Message)
		for l := range strings.SplitSeq(stored, "\r\n") {
			if len(l) > maxLine {
				t.Fatalf("%d lines: a line of %d octets is left", n, len(l))
			}
		}
		if !strings.Contains(stored, "quoted-printable") || strings.Count(strings.ReplaceAll(stored, "=\r\n", ""), line) != n {
			t.Errorf("%d lines: the text is not the same after decoding", n)
		}
		if m := b.message(r.Message); m.Size != int64(len(stored)) || m.Content.External != (n > 20) {
			t.Errorf("%d lines: size %d, external %v", n, m.Size, m.Content.External)
		}
	}
}

func TestReaderErrorIsReturnedAsItIs(t *testing.T) {
	b := newTestbed(t, nil)
	cut := errors.New("connection lost")
	for _, size := range []int{100, 200 << 10} {
		b.unchanged(func() {
			tx, err := b.Begin(t.Context(), b.shop(), Client{}, mail.Address{}, Envelope{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.AddRecipient(t.Context(), address(t, "you@example.com"), RecipientOptions{}); err != nil {
				t.Fatal(err)
			}
			content := io.MultiReader(strings.NewReader(plainMessage+strings.Repeat("x\r\n", size/3)), failing{cut})
			if _, err := tx.Accept(t.Context(), content); !errors.Is(err, cut) {
				t.Errorf("%d octets: Accept = %v, want the reader's error", size, err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReceivedOfTheWireStaysTrue(t *testing.T) {
	b := newTestbed(t, func(o *Options) { o.ClientAddress = true })
	r, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(b.stored(r.Message), "From:")
	for _, want := range []string{"192.0.2.7", "by mail.example", "ESMTPSA", r.Message.String(), "<you@example.com>"} {
		if !strings.Contains(head, want) {
			t.Errorf("Received lacks %s:\n%s", want, head)
		}
	}
	two, err := b.smtp(b.shop(), "", []string{"you@example.com", "other@example.com"}, plainMessage)
	if err != nil {
		t.Fatal(err)
	}
	if head, _, _ := strings.Cut(b.stored(two.Message), "From:"); strings.Contains(head, "example.com") {
		t.Errorf("Received tells one recipient of the other:\n%s", head)
	}
}
