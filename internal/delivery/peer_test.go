package delivery

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a server that does as it is told. It answers a command with the first reply left of those set for it, the
// last of which stays; what is not set is answered well.
type peer struct {
	// offers are the lines of the reply to EHLO, by connection; the last stays. nil: PIPELINING and 8BITMIME.
	offers [][]string
	// replies by the beginning of the command: "", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT TO:<x", "DATA", "."
	// (also after BDAT). "" is the greeting. CLOSE hangs up, LOST takes content and hangs up, GARBAGE breaks the handshake.
	replies map[string][]string
	refuse  bool // connections are refused
	silent  bool // connections are never answered
	tls     *tls.Config
	// implicit: TLS from the first octet. before is called with "." when a content has come.
	implicit bool
	before   func(command string)

	record bool // fill taken
	taken  []taken

	mu       sync.Mutex
	dials    int
	commands []string // "1: MAIL FROM:<…>" with the number of the connection; with TLS "1+: …"
	contents []string
}

// taken is a content that came to its end, to whom, and the reply, "" if none was sent.
type taken struct {
	to      []string
	content string
	said    string
}

func (p *peer) next(key, otherwise string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, found := "", false
	for k := range p.replies {
		if (k == "") == (key == "") && strings.HasPrefix(key, k) && (!found || len(k) > len(best)) {
			best, found = k, true
		}
	}
	list := p.replies[best]
	if !found || len(list) == 0 {
		return otherwise
	}
	if len(list) > 1 {
		p.replies[best] = list[1:]
	}
	return list[0]
}

func (p *peer) serve(conn net.Conn, n int) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 1<<20)
	secure := ""
	if p.implicit {
		t := tls.Server(conn, p.tls)
		if t.Handshake() != nil {
			return
		}
		conn, r, secure = t, bufio.NewReaderSize(t, 1<<20), "+"
	}
	say := func(s string) bool {
		if s == "CLOSE" || s == "LOST" {
			return false
		}
		_, err := io.WriteString(conn, strings.ReplaceAll(s, "\n", "\r\n")+"\r\n")
		return err == nil && !strings.HasPrefix(s, "421")
	}
	if !say(p.next("", "220 mx ready")) {
		return
	}
	accepted, sender := 0, false
	var to []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		p.mu.Lock()
		p.commands = append(p.commands, fmt.Sprintf("%d%s: %s", n, secure, line))
		p.mu.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			offer := []string{"PIPELINING", "8BITMIME"}
			if len(p.offers) > 0 {
				offer = p.offers[min(n, len(p.offers))-1]
			}
			if secure != "" {
				offer = slices.DeleteFunc(slices.Clone(offer), func(s string) bool { return s == "STARTTLS" })
			}
			all := append([]string{"mx.test"}, offer...)
			text := ""
			for i, l := range all {
				sep := "-"
				if i == len(all)-1 {
					sep = " "
				}
				text += "250" + sep + l + "\n"
			}
			if !say(p.next("EHLO", strings.TrimSuffix(text, "\n"))) {
				return
			}
		case "STARTTLS":
			reply := p.next("STARTTLS", "220 go")
			if reply == "GARBAGE" {
				_ = say("220 go")
				_, _ = io.ReadFull(r, make([]byte, 5))
				_, _ = io.WriteString(conn, "this is no TLS")
				return
			}
			if !say(reply) {
				return
			}
			if !strings.HasPrefix(reply, "220") {
				continue
			}
			t := tls.Server(conn, p.tls)
			if t.Handshake() != nil {
				return
			}
			conn, r, secure = t, bufio.NewReaderSize(t, 1<<20), "+"
		case "MAIL":
			reply := p.next(line, "250 sender ok")
			accepted, sender, to = 0, strings.HasPrefix(reply, "2"), nil
			if !say(reply) {
				return
			}
		case "RCPT":
			reply := "503 MAIL first"
			if sender {
				reply = p.next(line, "250 recipient ok")
			}
			if strings.HasPrefix(reply, "2") {
				accepted++
				local, _, _ := strings.Cut(strings.TrimPrefix(line, "RCPT TO:<"), "@")
				to = append(to, local)
			}
			if !say(reply) {
				return
			}
		case "DATA":
			reply := "503 no recipients"
			if accepted > 0 {
				reply = p.next("DATA", "354 go")
			}
			if !say(reply) {
				return
			}
			if !strings.HasPrefix(reply, "354") {
				continue
			}
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			if !p.take(b.String(), to, say) {
				return
			}
		case "BDAT":
			var size int
			_, _ = fmt.Sscanf(line, "BDAT %d LAST", &size)
			b := make([]byte, size)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			if accepted == 0 {
				if !say("503 no recipients") {
					return
				}
				continue
			}
			if !p.take(string(b), to, say) {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			if !say(p.next(line, "250 ok")) {
				return
			}
		}
	}
}

func (p *peer) take(content string, to []string, say func(string) bool) bool {
	if p.before != nil {
		p.before(".")
	}
	reply := p.next(".", "250 2.0.0 queued")
	if strings.HasPrefix(reply, "2") || reply == "LOST" {
		p.mu.Lock()
		p.contents = append(p.contents, content)
		p.mu.Unlock()
	}
	said := say(reply)
	if p.record && (strings.HasPrefix(reply, "2") || reply == "LOST") {
		x := taken{to: to, content: content, said: reply}
		if reply == "LOST" {
			x.said = ""
		}
		p.mu.Lock()
		p.taken = append(p.taken, x)
		p.mu.Unlock()
	}
	return said
}

// did returns the commands that begin with one of the words, with the numbers of their connections.
func (p *peer) did(words ...string) (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.commands {
		_, command, _ := strings.Cut(c, ": ")
		for _, w := range words {
			if strings.HasPrefix(command, w) {
				out = append(out, c)
			}
		}
	}
	return out
}

// world is the network of a test: hosts with their peers, domains with their hosts.
type world struct {
	t       *testing.T
	peers   map[string]*peer // by address
	addrs   map[string][]string
	plans   map[string]mx.Plan
	planErr map[string]error
	state   platform.State
	opts    Options
	dialled []string
	mu      sync.Mutex
	running sync.WaitGroup
	now     time.Time
}

// newWorld makes a world in which example.com has the MX hosts mx1 and mx2.
func newWorld(t *testing.T) *world {
	w := &world{
		t: t, now: time.Now(),
		peers: map[string]*peer{"192.0.2.1": {}, "192.0.2.2": {}},
		addrs: map[string][]string{"mx1.example.com": {"192.0.2.1"}, "mx2.example.com": {"192.0.2.2"}, "relay.example.net": {"192.0.2.1"}},
		plans: map[string]mx.Plan{
			"example.com": {Domain: "example.com", Hosts: []mx.Host{{Name: "mx1.example.com", Pref: 10}, {Name: "mx2.example.com", Pref: 20}}, Site: "site"},
		},
		planErr: map[string]error{},
		state: platform.State{
			Routes: []platform.Route{
				{Name: "direct", Kind: mail.RouteMX},
				{Name: "gateway", Kind: mail.RouteRelay, Host: "relay.example.net", TLS: platform.TLSNone},
			},
			Sources: []platform.Source{{Name: "one", IP: netip.MustParseAddr("198.51.100.1"), EHLO: "out1.example.org"}},
		},
	}
	w.opts = Options{
		MX: w, Classify: bounce.Default().Reply, Hostname: "postroad.example.org", Dial: w.dial,
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
	}
	t.Cleanup(w.running.Wait)
	return w
}

func (w *world) Plan(_ context.Context, domain string) (mx.Plan, error) {
	if err := w.planErr[domain]; err != nil {
		return mx.Plan{}, err
	}
	p, ok := w.plans[domain]
	if !ok {
		return mx.Plan{}, fmt.Errorf("%s: %w", domain, mx.ErrNoSuchDomain)
	}
	p.Expires = w.opts.Now().Add(time.Hour)
	return p, nil
}

func (w *world) Addrs(_ context.Context, host string) (ips []netip.Addr, err error) {
	for _, a := range w.addrs[host] {
		ips = append(ips, netip.MustParseAddr(a))
	}
	if ips == nil {
		return nil, fmt.Errorf("no address of %s", host)
	}
	return ips, nil
}

func (w *world) dial(_ context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, local.String()+">"+to.String())
	p := w.peers[to.Addr().String()]
	w.mu.Unlock()
	if p == nil || p.refuse {
		return nil, fmt.Errorf("connection refused")
	}
	p.mu.Lock()
	p.dials++
	n := p.dials
	p.mu.Unlock()
	ours, theirs := net.Pipe()
	w.running.Add(1)
	go func() {
		defer w.running.Done()
		if p.silent {
			_, _ = io.Copy(io.Discard, theirs)
			return
		}
		p.serve(&buffered{Conn: theirs}, n)
	}()
	return ours, nil
}

// buffered lets a peer answer while the other side still writes, as sockets do and pipes do not.
type buffered struct {
	net.Conn
	once sync.Once
	mu   sync.Mutex
	cond *sync.Cond
	out  []byte
	done bool
	err  error
	gone chan struct{}
}

func (b *buffered) start() {
	b.once.Do(func() {
		b.cond, b.gone = sync.NewCond(&b.mu), make(chan struct{})
		go func() {
			defer close(b.gone)
			for {
				b.mu.Lock()
				for len(b.out) == 0 && !b.done {
					b.cond.Wait()
				}
				out := b.out
				b.out = nil
				b.mu.Unlock()
				if len(out) == 0 {
					return
				}
				if _, err := b.Conn.Write(out); err != nil {
					b.mu.Lock()
					b.err = err
					b.mu.Unlock()
					return
				}
			}
		}()
	})
}

func (b *buffered) Write(p []byte) (int, error) {
	b.start()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.out = append(b.out, p...)
	b.cond.Signal()
	return len(p), nil
}

func (b *buffered) Close() error {
	b.start()
	b.mu.Lock()
	b.done = true
	b.cond.Signal()
	b.mu.Unlock()
	// A peer that is not read from cannot say more.
	timer := time.AfterFunc(time.Minute, func() { _ = b.Conn.Close() })
	<-b.gone
	timer.Stop()
	return b.Conn.Close()
}

// build makes the Delivery of the world as it stands.
func (w *world) build() *Delivery {
	w.t.Helper()
	if w.opts.Snapshot == nil {
		snap := platform.NewSnapshot(w.state, "")
		w.opts.Snapshot = func() *platform.Snapshot { return snap }
	}
	d, err := New(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// run gives jobs to one session and returns their outcomes in words, and the outcomes.
func (w *world) run(d *Delivery, lane mail.Lane, jobs ...mail.Job) (words []string, outcomes []mail.Outcome) {
	w.t.Helper()
	settled := map[mail.DeliveryID]int{}
	taken := 0
	d.Session(w.t.Context(), lane, func(context.Context) (mail.Job, bool) {
		if taken == len(jobs) {
			return mail.Job{}, false
		}
		taken++
		return jobs[taken-1], true
	}, func(_ mail.Job, o mail.Outcome) {
		settled[o.Delivery]++
		outcomes = append(outcomes, o)
		words = append(words, inWords(&o))
	})
	for i, j := range jobs[:taken] {
		for _, dl := range j.Deliveries {
			if settled[dl.ID] != 1 {
				w.t.Errorf("job %d: a delivery was settled %d times", i, settled[dl.ID])
			}
		}
	}
	if taken < len(jobs) {
		words = append(words, fmt.Sprintf("%d not taken", len(jobs)-taken))
	}
	return words, outcomes
}

// inWords is an outcome in short: result, class, scope, stage, host, and what is special.
func inWords(o *mail.Outcome) string {
	s := string(o.Result)
	if o.Result == mail.Deferred || o.Result == mail.Bounced {
		s += " " + string(o.Class) + "/" + string(o.Scope) + " at " + string(o.Attempt.Stage)
	}
	if o.Attempt.Code != 0 && o.Attempt.Code != 250 {
		s += fmt.Sprintf(" %d", o.Attempt.Code)
	}
	if o.Attempt.Host != "" {
		s += " " + strings.TrimSuffix(o.Attempt.Host, ".example.com")
	}
	if o.Attempt.TLS != "" {
		s += " " + o.Attempt.TLS
	}
	if o.Attempt.Uncertain {
		s += " uncertain"
	}
	if !o.Tried {
		s += " untried"
	}
	return s
}

var (
	direct  = mail.Lane{Route: "direct", Source: "one", Site: "site"}
	gateway = mail.Lane{Route: "gateway", Site: "relay.example.net:25"}
)

const body = "From: a@example.org\r\nSubject: test\r\n\r\nHello.\r\n"

var serial = time.Now()

// job makes one message from a@example.org to the recipients.
func job(content string, to ...string) mail.Job {
	m := &mail.Message{
		ID: mail.NewMessageID(serial), Account: "acme", From: address("a@example.org"), Size: int64(len(content)),
		Recipients: len(to), Content: mail.Content{Kind: mail.ContentRaw, BodyOffset: headerEnd([]byte(content))},
	}
	for _, c := range content {
		m.EightBit = m.EightBit || c >= 0x80
	}
	j := mail.Job{Message: m, Body: mail.BytesBody(content), Durable: func(context.Context) error { return nil }}
	for i, r := range to {
		j.Deliveries = append(j.Deliveries, &mail.Delivery{ID: mail.NewDeliveryID(serial), Message: m.ID, Recipient: address(r), CreatedAt: serial})
		j.Attempts = append(j.Attempts, i+1)
	}
	return j
}

func address(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// certificate makes a self-signed certificate for names, and the pool that trusts it.
func certificate(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}
