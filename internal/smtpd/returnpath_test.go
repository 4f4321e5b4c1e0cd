package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/spool/spooltest"
)

var (
	returnKey   = mail.ReturnPathKey{1, 2, 3}
	foreignKey  = mail.ReturnPathKey{3, 2, 1}
	returnToken = returnKey.Token(mail.DeliveryID{7})
)

// openSpool opens a spool on fs.
func openSpool(t testing.TB, fs vfs.FS, free *atomic.Uint64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(context.Background(), spool.Options{Dir: "/spool", FS: fs, MemTable: 1 << 20, BlockCache: 1 << 20, MinFree: 1 << 20, FreeSpace: func(string) (uint64, uint64, error) {
		if free == nil {
			return 1 << 40, 2 << 40, nil
		}
		return free.Load(), 2 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, spool.ErrClosed) && !errors.Is(err, spool.ErrFailed) {
			t.Error(err)
		}
	})
	return s
}

// startReturn is a running return-path listener over inbox.
func startReturn(t testing.TB, inbox Inbox, change func(*ReturnPathOptions, *Listener)) (addr string, registry *prometheus.Registry) {
	t.Helper()
	addr, registry, _ = startReturnPath(t, inbox, change)
	return addr, registry
}

func startReturnPath(t testing.TB, inbox Inbox, change func(*ReturnPathOptions, *Listener)) (addr string, registry *prometheus.Registry, p *ReturnPath) {
	t.Helper()
	certs, err := NewCertificates(CertificateOptions{Hostname: "mx.example.net", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	registry = prometheus.NewRegistry()
	o := ReturnPathOptions{
		Inbox: inbox, Token: func(local string) bool { _, ok := returnKey.Delivery(local); return ok },
		Domains: []string{"bounces.example.net", "mx.example.net"}, ReportAddresses: []string{"fbl"},
		Hostname: "mx.example.net", Registerer: registry, Logger: quiet,
	}
	l := Listener{Name: "return-path", Addresses: []string{"127.0.0.1:0"}, MaxSize: 8 << 20, MaxConnections: 60, MaxPerAddress: 40}
	if change != nil {
		change(&o, &l)
	}
	if p, err = NewReturnPath(o); err != nil {
		t.Fatal(err)
	}
	l.Sessions = p.Session
	s, err := New(Options{Hostname: "mx.example.net", Listeners: []Listener{l}, Certificates: certs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(sync.OnceFunc(func() { cancel(); <-done }))
	return s.Addrs("return-path")[0].String(), registry, p
}

// dialReturn is past EHLO.
func dialReturn(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.hear("220 ")
	c.ask("EHLO peer.example.org", "250 ")
	return c
}

// inbox reads all entries.
func inbox(t *testing.T, s *spool.Spool) []spool.InboxEntry {
	t.Helper()
	list, err := s.ReadInbox(context.Background(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestReturnPathRecipients(t *testing.T) {
	addr, _ := startReturn(t, openSpool(t, vfs.NewMem(), nil), nil)
	upper := strings.ToUpper(returnToken)
	for rcpt, want := range map[string]string{
		returnToken + "@bounces.example.net": "250 2.1.5",
		upper + "@BOUNCES.example.NET":       "250 2.1.5",
		returnToken + "@mx.example.net":      "250 2.1.5",
		"fbl@bounces.example.net":            "250 2.1.5",
		"FBL@mx.example.net":                 "250 2.1.5",
		"postmaster@bounces.example.net":     "250 2.1.5",
		"Abuse@mx.example.net":               "250 2.1.5",
		"postmaster":                         "250 2.1.5", // RFC 5321 §4.5.1
		"PostMaster":                         "250 2.1.5",
		returnToken + "@other.example":       "550 5.1.1",
		foreignKey.Token(mail.DeliveryID{7}) + "@bounces.example.net":      "550 5.1.1",
		returnToken[:len(returnToken)-1] + "2@bounces.example.net":         "550 5.1.1",
		returnKey.MessageToken(mail.MessageID{7}) + "@bounces.example.net": "550 5.1.1",
		"info@bounces.example.net":                                         "550 5.1.1",
		"postmaster@other.example":                                         "550 5.1.1",
		"fbl+x@bounces.example.net":                                        "550 5.1.1",
		"b1-@bounces.example.net":                                          "550 5.1.1",
	} {
		for _, from := range []string{"", "mailer@peer.example.org"} {
			c := dialReturn(t, addr)
			c.ask("MAIL FROM:<"+from+">", "250 ")
			c.ask("RCPT TO:<"+rcpt+">", want)
			c.ask("QUIT", "221 ")
		}
	}
}

// What the listener offers: everything the engine does, and no way to log in.
func TestReturnPathOffers(t *testing.T) {
	addr, _ := startReturn(t, openSpool(t, vfs.NewMem(), nil), nil)
	c := dial(t, addr)
	c.hear("220 mx.example.net")
	c.say("EHLO peer.example.org\r\n")
	offered := strings.Join(c.lines("250"), "\n")
	for _, want := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "SIZE 8388608", "STARTTLS", "ENHANCEDSTATUSCODES"} {
		if !strings.Contains(offered, want) {
			t.Errorf("%s is not offered:\n%s", want, offered)
		}
	}
	if strings.Contains(offered, "AUTH") {
		t.Errorf("AUTH is offered:\n%s", offered)
	}
	c.ask("AUTH PLAIN AGEAYg==", "502 5.5.1")
	c.ask("STARTTLS", "220 ")
	c.upgrade()
	c.ask("EHLO peer.example.org", "250 ")
	c.ask("MAIL FROM:<> SMTPUTF8 BODY=8BITMIME", "250 ")
	c.ask("RCPT TO:<fbl@bounces.example.net>", "250 ")
}

const someReport = "From: mailer-daemon@peer.example.org\r\nSubject: Undelivered\r\n\r\nIt failed.\r\n"

func TestReturnPathStores(t *testing.T) {
	s := openSpool(t, vfs.NewMem(), nil)
	var told atomic.Int64
	addr, registry := startReturn(t, s, func(o *ReturnPathOptions, _ *Listener) { o.Stored = func() { told.Add(1) } })
	other := returnKey.Token(mail.DeliveryID{8})
	c := dialReturn(t, addr)
	c.ask("STARTTLS", "220 ")
	c.upgrade()
	c.ask("EHLO peer.example.org", "250 ")
	c.ask("MAIL FROM:<bounce@peer.example.org>", "250 ")
	for _, to := range []string{returnToken, other, strings.ToUpper(returnToken), "fbl"} { // the third is the first
		c.ask("RCPT TO:<"+to+"@bounces.example.net>", "250 ")
	}
	c.ask("DATA", "354 ")
	// Bare line ends, a NUL and a line of 100,000 octets are repaired.
	c.ask("From: a\nSubject: b\r\n\r\nc\x00d\re\r\n"+strings.Repeat("x", 100_000)+"\r\n.", "250 2.6.0")
	c.ask("QUIT", "221 ")

	list := inbox(t, s)
	if len(list) != 3 || told.Load() != 3 {
		t.Fatalf("%d entries, told %d times; want 3", len(list), told.Load())
	}
	ids := map[string]bool{}
	for i, want := range []string{returnToken, other, "fbl"} {
		e := list[i]
		want += "@bounces.example.net"
		raw := string(e.Raw)
		head := "Return-Path: <bounce@peer.example.org>\r\nReceived: from peer.example.org ([127.0.0.1])\r\n by mx.example.net with ESMTPS (TLS1.3 "
		if !strings.HasPrefix(raw, head) || !strings.Contains(raw, "\r\n for <"+want+">;\r\n") {
			t.Errorf("the entry begins with %.400q", raw)
		}
		body := "\r\nFrom: a\r\nSubject: b\r\n\r\ncd\r\ne\r\n" + strings.Repeat("x", smtp.MaxBodyLine-2) + "\r\n"
		if !strings.Contains(raw, body) || !strings.HasSuffix(raw, strings.Repeat("x", 100_000-smtp.MaxBodyLine+2)+"\r\n") {
			t.Error("the content is not repaired as it should be")
		}
		id, err := mail.ParseReportID(e.Meta[spool.MetaReport])
		if err != nil || ids[id.String()] || !strings.Contains(raw, "id "+id.String()) {
			t.Errorf("report id %q: %v", e.Meta[spool.MetaReport], err)
		}
		ids[id.String()] = true
		for key, want := range map[string]string{
			spool.MetaFrom: "bounce@peer.example.org", spool.MetaRecipient: want, spool.MetaClient: "127.0.0.1",
			spool.MetaHelo: "peer.example.org", spool.MetaTruncated: "",
		} {
			if e.Meta[key] != want {
				t.Errorf("%s is %q, want %q", key, e.Meta[key], want)
			}
		}
		if e.Kind != spool.InboxReturnPath || !strings.HasPrefix(e.Meta[spool.MetaTLS], "TLS1.3 ") || time.Since(e.Received) > time.Minute {
			t.Errorf("entry %+v", e)
		}
	}
	if n := counted(t, registry, "postroad_return_path_taken_total", "token"); n != 2 {
		t.Errorf("%v tokens counted, want 2", n)
	}
}

func counted(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// deliver says a mail over one dialogue and returns the last reply.
func deliver(t *testing.T, addr, mailArgs, to, content string) string {
	t.Helper()
	c := dialReturn(t, addr)
	c.ask("MAIL FROM:<>"+mailArgs, "250 ")
	c.say("RCPT TO:<" + to + ">\r\n")
	defer c.nc.Close()
	if line := c.line(); !strings.HasPrefix(line, "250") {
		return line
	}
	c.ask("DATA", "354 ")
	c.say(content + ".\r\n")
	return c.line()
}

func TestReturnPathLengths(t *testing.T) {
	s := openSpool(t, vfs.NewMem(), nil)
	addr, _ := startReturn(t, s, nil)
	long := someReport + strings.Repeat(strings.Repeat("y", 78)+"\r\n", spool.MaxReport/80)
	if got := deliver(t, addr, "", returnToken+"@bounces.example.net", long); !strings.HasPrefix(got, "250") {
		t.Fatalf("a long report: %s", got)
	}
	// Its beginning and its end are kept, and what is missing in between is told, in the entry and in the mail.
	e := inbox(t, s)[0]
	kept := string(e.Raw[strings.Index(string(e.Raw), "From:"):])
	cut := e.Meta[spool.MetaTruncated]
	head, tail, ok := strings.Cut(kept, "["+cut+" octets left out]\r\n")
	if len(e.Raw) > spool.MaxReport || !ok || !strings.HasPrefix(long, head) || !strings.HasSuffix(long, tail) || cut != fmt.Sprint(len(long)-len(head)-len(tail)) || len(tail) < 300<<10 {
		t.Errorf("%d octets kept, %s cut of %d", len(e.Raw), cut, len(long))
	}
	for _, tt := range []struct{ args, to, content, want string }{
		{"", "postmaster@bounces.example.net", long, "552 5.3.4"},
		{fmt.Sprintf(" SIZE=%d", len(long)), "abuse@bounces.example.net", long, "552 5.3.4"},
		{"", returnToken + "@bounces.example.net", strings.Repeat("Received: from a by b; now\r\n", 101) + someReport, "554 5.4.6"},
		{"", returnToken + "@bounces.example.net", strings.Repeat("Received: from a by b; now\r\n", 100) + someReport, "250 "},
		{"", "postmaster@bounces.example.net", someReport, "250 "},
		{"", returnToken + "@bounces.example.net", strings.Repeat(long, 3), "552 5.3.4"}, // above max_size
	} {
		if got := deliver(t, addr, tt.args, tt.to, tt.content); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s, %d octets: %s, want %s", tt.to, len(tt.content), got, tt.want)
		}
	}
	if n := len(inbox(t, s)); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	c := dialReturn(t, addr)
	c.ask("MAIL FROM:<> SIZE=9000000", "552 5.3.4")
	c.ask("MAIL FROM:<>", "250 ")
	c.ask("RCPT TO:<"+returnToken+"@bounces.example.net>", "250 ")
	c.ask("RCPT TO:<abuse@bounces.example.net>", "452 4.5.3") // whole or not at all, so apart
	c.ask("RSET", "250 ")
	c.ask("MAIL FROM:<>", "250 ")
	c.ask("RCPT TO:<abuse@bounces.example.net>", "250 ")
	c.ask("RCPT TO:<postmaster@bounces.example.net>", "250 ")
	c.ask("RCPT TO:<fbl@bounces.example.net>", "452 4.5.3")
}

// A report to many return paths keeps less of each, so that one mail cannot fill the inbox.
func TestReturnPathManyRecipients(t *testing.T) {
	s := openSpool(t, vfs.NewMem(), nil)
	addr, _ := startReturn(t, s, nil)
	c := dialReturn(t, addr)
	c.ask("MAIL FROM:<>", "250 ")
	const n = smtp.MinRecipients
	for i := range n {
		c.ask("RCPT TO:<"+returnKey.Token(mail.DeliveryID{9, byte(i)})+"@bounces.example.net>", "250 ")
	}
	c.ask("DATA", "354 ")
	c.say(someReport + strings.Repeat(strings.Repeat("y", 78)+"\r\n", 50_000) + ".\r\n")
	c.hear("250 ")
	list, total := inbox(t, s), 0
	for _, e := range list {
		total += len(e.Raw)
	}
	if len(list) != n || total > 3*spool.MaxReport {
		t.Errorf("%d entries of together %d octets", len(list), total)
	}
}

// Trouble of ours is answered for the moment, and what was taken before is still there after it.
func TestReturnPathTrouble(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	s := openSpool(t, vfs.NewMem(), &free)
	var down atomic.Bool
	addr, registry := startReturn(t, s, func(o *ReturnPathOptions, _ *Listener) {
		o.MaxBacklog = 2
		o.Down = func() error {
			if down.Load() {
				return errors.New("down")
			}
			return nil
		}
	})
	to := returnToken + "@bounces.example.net"
	down.Store(true)
	for _, rcpt := range []string{to, "fbl@bounces.example.net", "postmaster@bounces.example.net"} {
		if got := deliver(t, addr, "", rcpt, someReport); !strings.HasPrefix(got, "451 4.3.0") {
			t.Errorf("%s while the record is down: %s", rcpt, got)
		}
	}
	if got := deliver(t, addr, "", "u@bounces.example.net", someReport); !strings.HasPrefix(got, "550 5.1.1") {
		t.Errorf("record down, unknown address: %s", got)
	}
	down.Store(false)
	c := dialReturn(t, addr)
	c.ask("MAIL FROM:<>", "250 ")
	c.ask("RCPT TO:<"+to+">", "250 ")
	c.ask("DATA", "354 ")
	free.Store(0) // full between RCPT and the end
	c.ask(someReport+".", "452 4.3.1")
	if got := deliver(t, addr, "", to, someReport); !strings.HasPrefix(got, "452 4.3.1") {
		t.Errorf("disk full: %s", got)
	}
	if got := deliver(t, addr, "", "nobody@bounces.example.net", someReport); !strings.HasPrefix(got, "550 5.1.1") {
		t.Errorf("disk full, unknown address: %s", got)
	}
	free.Store(1 << 40)
	for range 2 {
		if got := deliver(t, addr, "", to, someReport); !strings.HasPrefix(got, "250") {
			t.Errorf("with space again: %s", got)
		}
	}
	if got := deliver(t, addr, "", to, someReport); !strings.HasPrefix(got, "451 4.3.2") {
		t.Errorf("backlog full: %s", got)
	}
	if err := s.Commit(context.Background(), &spool.Batch{InboxDone: []uint64{inbox(t, s)[0].Seq}}); err != nil {
		t.Fatal(err)
	}
	if got := deliver(t, addr, "", to, someReport); !strings.HasPrefix(got, "250") {
		t.Errorf("backlog read: %s", got)
	}
	if n := len(inbox(t, s)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
	for reason, want := range map[string]float64{"space": 2, "record": 3, "backlog": 1, "unknown": 2} {
		if got := counted(t, registry, "postroad_return_path_refused_total", reason); got != want {
			t.Errorf("refused for %s: %v, want %v", reason, got, want)
		}
	}
	if err := s.Commit(context.Background(), &spool.Batch{InboxDone: []uint64{inbox(t, s)[0].Seq}}); err != nil {
		t.Fatal(err)
	}
	c = dialReturn(t, addr)
	c.ask("MAIL FROM:<>", "250 ")
	c.ask("RCPT TO:<"+to+">", "250 ")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.ask("DATA", "354 ")
	c.ask(someReport+".", "451 4.3.0")
}

// A peer that looks for addresses is sent away; other listeners' places are not taken.
func TestReturnPathFlood(t *testing.T) {
	addr, _ := startReturn(t, openSpool(t, vfs.NewMem(), nil), func(_ *ReturnPathOptions, l *Listener) { l.MaxPerAddress = 3 })
	c := dialReturn(t, addr)
	c.ask("MAIL FROM:<>", "250 ")
	for i := range maxStrangers {
		c.ask(fmt.Sprintf("RCPT TO:<u%d@bounces.example.net>", i), "550 5.1.1")
	}
	c.ask("RCPT TO:<last@bounces.example.net>", "421 4.7.0")
	c.gone()
	if err := c.nc.Close(); err != nil {
		t.Fatal(err)
	}
	for places := 0; places < 3; { // the server notices the end a moment after the client
		c := dial(t, addr)
		if line := c.line(); strings.HasPrefix(line, "220 ") {
			places++
		} else if c.nc.Close(); !strings.HasPrefix(line, "421 4.7.0") {
			t.Fatal(line)
		}
	}
	dial(t, addr).hear("421 4.7.0")
}

// Whoever sends too much to one address in an hour is asked to come again; others, and other addresses, are not concerned.
func TestReturnPathShare(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Truncate(time.Hour).Unix())
	addr, registry, path := startReturnPath(t, openSpool(t, vfs.NewMem(), nil), func(o *ReturnPathOptions, _ *Listener) {
		o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	token, other := returnToken+"@bounces.example.net", returnKey.Token(mail.DeliveryID{8})+"@bounces.example.net"
	client := netip.MustParseAddr("127.0.0.99") // of the network of those who connect here
	for range maxPerToken - 1 {
		path.flood.add(path.o.Now(), returnToken, client, 1)
	}
	path.flood.add(path.o.Now(), "", netip.MustParseAddr("192.0.2.1"), maxPerNetwork)
	for _, tt := range []struct{ to, want string }{
		{strings.ToUpper(returnToken) + "@bounces.example.net", "250 "}, {token, "451 4.7.1"}, {other, "250 "}, {"fbl@bounces.example.net", "250 "},
	} {
		if got := deliver(t, addr, "", tt.to, someReport); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.to, got, tt.want)
		}
	}
	path.flood.add(path.o.Now(), "", client, maxPerNetwork)
	for _, to := range []string{"fbl", "postmaster", "abuse"} {
		if got := deliver(t, addr, "", to+"@bounces.example.net", someReport); !strings.HasPrefix(got, "451 4.7.1") {
			t.Errorf("%s: %s", to, got)
		}
	}
	if n := counted(t, registry, "postroad_return_path_refused_total", "flood"); n != 4 {
		t.Errorf("%v counted", n)
	}
	now.Add(3600)
	for _, to := range []string{token, "fbl@bounces.example.net"} {
		if got := deliver(t, addr, "", to, someReport); !strings.HasPrefix(got, "250") {
			t.Errorf("an hour later %s: %s", to, got)
		}
	}
	// What is counted is bounded.
	for i := range maxFloodKeys + 10 {
		path.flood.add(path.o.Now(), fmt.Sprint(i), client, 1)
	}
	if n := len(path.flood.tokens); n > maxFloodKeys+1 {
		t.Errorf("%d return paths are counted", n)
	}
	if got := []netip.Prefix{network(netip.MustParseAddr("::ffff:192.0.2.7")), network(netip.MustParseAddr("2001:db8:1:2::3")), network(netip.Addr{})}; fmt.Sprint(got) != "[192.0.2.0/24 2001:db8:1::/48 invalid Prefix]" {
		t.Errorf("networks %v", got)
	}
}

// The memory of contents that come in at once is bounded.
func TestReturnPathMemory(t *testing.T) {
	p, err := NewReturnPath(ReturnPathOptions{Inbox: openSpool(t, vfs.NewMem(), nil), Token: func(string) bool { return true }, Domains: []string{"example.net"}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	var sinks []*sink
	for refused := false; !refused; {
		s := newSink(p, maxWhole)
		sinks = append(sinks, s)
		for range 4 { // the fourth is beyond what is kept
			if _, err := s.Write(block); err != nil {
				var e *smtp.ReplyError
				if refused = errors.As(err, &e) && e.Reply.Code == 451; !refused {
					t.Fatal(err)
				}
				break
			}
		}
		if len(sinks) > 1000 {
			t.Fatal("no bound")
		}
	}
	if n := len(sinks) * maxWhole; n < maxReportBuffers/2 || n > 2*maxReportBuffers {
		t.Errorf("bounded at about %d octets", n)
	}
	for _, s := range sinks {
		s.free()
	}
	if p.buffered.Load() != 0 {
		t.Errorf("%d octets are never given back", p.buffered.Load())
	}
}

// What was answered with 250 is in the inbox after a crash at any moment.
func TestReturnPathCrash(t *testing.T) {
	fs := spooltest.NewCrashFS()
	addr, _ := startReturn(t, openSpool(t, fs, nil), func(_ *ReturnPathOptions, l *Listener) {
		l.MaxConnections, l.MaxPerAddress = 100_000, 100_000 // the server may notice late that a client has gone
	})
	var mu sync.Mutex
	acked := 0
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				got := deliver(t, addr, "", returnKey.Token(mail.DeliveryID{byte(w), byte(i), byte(i >> 8)})+"@bounces.example.net", someReport)
				if !strings.HasPrefix(got, "250") {
					t.Errorf("answered %s", got)
					return
				}
				mu.Lock()
				acked++
				mu.Unlock()
			}
		})
	}
	for crash := range 10 {
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			n := acked
			mu.Unlock()
			if n > 2*crash || t.Failed() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("only %d reports are acknowledged", n)
			}
		}
		mu.Lock()
		before := acked
		clone := fs.CrashClone(vfs.CrashCloneCfg{}) // nothing that was not synced is left
		mu.Unlock()
		after := openSpool(t, clone, nil)
		if n := len(inbox(t, after)); n < before {
			t.Errorf("%d reports were acknowledged, %d are there after the crash", before, n)
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
}

// line reads the next line.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.br.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %q, %v", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// lines reads one reply of that code.
func (c *client) lines(code string) (list []string) {
	c.t.Helper()
	for {
		line := c.line()
		if !strings.HasPrefix(line, code) {
			c.t.Fatalf("want %s, got %q", code, line)
		}
		list = append(list, line[4:])
		if line[3] != '-' {
			return list
		}
	}
}
