package practice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	netsmtp "net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
)

// sender is a small honest client: it follows MX, prefers TLS, goes on in clear when the handshake fails, and tries
// again what failed for now.
type sender struct {
	t    *testing.T
	n    *Internet
	mx   *mx.Resolver
	from net.IP // the address it connects from; nil: any
}

func newSender(t *testing.T, n *Internet) *sender {
	t.Helper()
	c, err := dns.New(dns.Options{Servers: []dns.Server{{Addr: n.DNSAddr()}}, FailureTTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r, err := mx.New(mx.Options{Resolver: c})
	if err != nil {
		t.Fatal(err)
	}
	return &sender{t: t, n: n, mx: r}
}

// attempt tries once. begun tells whether a transaction was reached.
func (s *sender) attempt(ctx context.Context, sample Sample, id string) (result mail.Result, begun bool, err error) {
	_, domain, _ := strings.Cut(sample.Recipient, "@")
	plan, err := s.mx.Plan(ctx, domain)
	if err != nil {
		if mx.Final(err) {
			return mail.Bounced, false, err
		}
		return mail.Deferred, false, err
	}
	for _, host := range plan.Hosts {
		addrs, addrErr := s.mx.Addrs(ctx, host.Name)
		if addrErr != nil {
			err = addrErr
			continue
		}
		for _, clear := range []bool{false, true} {
			begun, err = s.talk(ctx, net.JoinHostPort(addrs[0].String(), fmt.Sprint(s.n.Port())), clear, sample, id)
			if !errors.Is(err, errHandshake) {
				break
			}
		}
		if begun || err == nil {
			break
		}
	}
	var reply *textproto.Error
	switch {
	case err == nil:
		return mail.Delivered, begun, nil
	case begun && errors.As(err, &reply) && reply.Code >= 500 && !strings.Contains(reply.Msg, "blocked using"):
		return mail.Bounced, begun, err
	}
	return mail.Deferred, begun, err
}

var errHandshake = errors.New("handshake failed")

func (s *sender) talk(ctx context.Context, addr string, clear bool, sample Sample, id string) (begun bool, err error) {
	d := net.Dialer{}
	if s.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: s.from}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c, err := netsmtp.NewClient(conn, "mx.test")
	if err != nil {
		return false, err
	}
	if err := c.Hello("out.postroad.test"); err != nil {
		return false, err
	}
	if ok, _ := c.Extension("STARTTLS"); ok && !clear {
		if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
			return false, fmt.Errorf("%w: %w", errHandshake, err)
		}
	}
	if err := c.Mail("sender@example.com"); err != nil {
		return true, err
	}
	if err := c.Rcpt(sample.Recipient); err != nil {
		return true, err
	}
	w, err := c.Data()
	if err != nil {
		return true, err
	}
	body := strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 1+sample.Size/46)
	if eight, _ := c.Extension("8BITMIME"); eight && sample.EightBit {
		body += "\xc3\xa9\r\n"
	}
	if _, err := fmt.Fprintf(w, "Message-ID: %s\r\nSubject: %s\r\n\r\n%s", id, sample.Subject, body); err != nil {
		return true, err
	}
	if err := w.Close(); err != nil {
		return true, err
	}
	return true, c.Quit()
}

// Each sample leads a good sender to the outcome it promises, with the attempts and copies it promises.
func TestSamples(t *testing.T) {
	now := newClock()
	n := start(t, Options{
		Now: now.now, GreylistDelay: time.Minute, BlockedSources: []netip.Addr{loopback(40)},
	})
	if missing := n.Missing(); len(missing) > 0 {
		t.Logf("left out, for this system has no such address: %v", missing)
	}
	names := make(map[string]bool)
	for _, sample := range n.Samples() {
		if names[sample.Name] || sample.Subject == "" {
			t.Errorf("sample %q is there twice or says nothing", sample.Name)
		}
		names[sample.Name] = true
		t.Run(sample.Name, func(t *testing.T) {
			s := newSender(t, n)
			id := "<" + sample.Name + "@example.com>"
			var result mail.Result
			var err error
			attempts := 0
			for range 5 {
				var begun bool
				result, begun, err = s.attempt(testContext(t), sample, id)
				if begun {
					attempts++
				}
				if result.Final() {
					break
				}
				now.add(time.Minute)
			}
			if result != sample.Want {
				t.Fatalf("came to %s (%v), want %s", result, err, sample.Want)
			}
			if attempts < sample.Attempts {
				t.Errorf("%d attempts, want at least %d", attempts, sample.Attempts)
			}
			got := n.Received(sample.Recipient)
			if len(got) != sample.Copies {
				t.Fatalf("%d copies arrived, want %d", len(got), sample.Copies)
			}
			for i, r := range got {
				if r.MessageID != id || r.Duplicate != (i > 0) || r.Sender != "sender@example.com" || r.Size < int64(sample.Size) {
					t.Errorf("copy %d: %+v", i, r)
				}
			}
			if (sample.Want == mail.Delivered) == (sample.WantClass != mail.ClassNone) {
				t.Errorf("wants %s with class %q", sample.Want, sample.WantClass)
			}
		})
	}
	if v := n.Violations(); len(v) > 0 {
		t.Errorf("the sender is said to have done wrong: %q", v)
	}
	c := n.Counters()
	if c.Duplicates != 1 || c.Unanswered != 1 || c.TLS == 0 || c.Dropped == 0 {
		t.Errorf("counters %+v", c)
	}
}

// Samples need what the platform can give: no sample is offered that could not work.
func TestSamplesThatNeedSomething(t *testing.T) {
	has := func(n *Internet, name string) bool {
		for _, s := range n.Samples() {
			if s.Name == name {
				return true
			}
		}
		return false
	}
	n := start(t, Options{})
	if has(n, "blocked-source") {
		t.Error("blocked-source is offered without a blocked source")
	}
	if !has(n, "broken-tls") {
		t.Skip("no other loopback address here")
	}
	for _, h := range n.hosts {
		if h.name == "mx.brokentls.test" {
			h.shut()
			h.missing = true
		}
	}
	if has(n, "broken-tls") || !has(n, "accept") {
		t.Error("a sample whose receiver is missing is offered, or one that needs none is not")
	}
	if loaded := start(t, Options{Load: &Load{}}); len(loaded.Samples()) > 0 {
		t.Error("the load receiver offers samples")
	}
}

func TestBlockedSource(t *testing.T) {
	n := start(t, Options{BlockedSources: []netip.Addr{loopback(40)}})
	s := newSender(t, n)
	sample := Sample{Recipient: "blocked-source@mailbox.test"}
	s.from = net.IPv4(127, 0, 0, 40)
	if result, _, err := s.attempt(testContext(t), sample, "<1@x>"); err != nil && !strings.Contains(err.Error(), "[127.0.0.40] blocked using") {
		var op *net.OpError
		if errors.As(err, &op) {
			t.Skip("no other loopback address here")
		}
		t.Errorf("from the blocked source: %s, %v", result, err)
	}
	s.from = nil
	if result, _, err := s.attempt(testContext(t), sample, "<1@x>"); result != mail.Delivered {
		t.Errorf("from another source: %s, %v", result, err)
	}
}
