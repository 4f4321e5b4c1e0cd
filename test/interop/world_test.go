//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/test/interop/peer"
	"github.com/postroad/postroad/test/rig"
)

// Addresses of the receivers: one loopback address each, all at the port of [delivery].
const (
	postfixIP, eximIP, opensmtpdIP, gosmtpIP = "127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"
	smallIP, oldIP                           = "127.0.0.25", "127.0.0.26"
	relayIP                                  = "127.0.0.31"
)

const (
	hostname = "out.postroad.test" // the platform's, and the domain of its return paths
	sender   = "orders@shop.test"
	// stranger is a sender of the account that is known by its address alone.
	stranger  = "load@source.test"
	login     = "shop/smtp"
	password  = "interop-password-of-the-shop"
	apiKey    = "pr_interop-test-key-that-is-long-enough-0000"
	relayUser = "postroad"
	relayPass = "relay password, with spaces"
	// mailboxPass is that of the sender's mailbox.
	mailboxPass = "mailbox-password"
	greyDelay   = 1500 * time.Millisecond
	largeLimit  = 1 << 20
	smallLimit  = 100_000
	// patience is how long a message may take to come to its end.
	patience = 5 * time.Minute
)

// world is all that runs.
type world struct {
	*rig.Platform
	ca      *peer.CA
	sink    *peer.Sink // behind Postfix, Exim and OpenSMTPD
	gosmtp  *peer.Sink
	records map[string]string // DKIM records by name, for the judge
	relays  map[string]string // address of a relay's listener by what is special about it
	client  *client.Client    // speaks for the shop
	dir     string
	imap    string        // address of Dovecot, with the mailbox of the sender
	mailbox string        // folder of the mailboxes behind it
	lmtp    string        // where Dovecot takes mail for them
	hooks   *hookReceiver // the shop's webhook
}

// TestInterop builds the world once and runs everything in it.
func TestInterop(t *testing.T) {
	w := newWorld(t)
	t.Run("clients", w.clients)
	t.Run("receivers", w.receivers)
	t.Run("dkim", w.dkim)
	t.Run("relays", w.relaying)
	t.Run("feedback", w.feedback)
	t.Run("nothing is left", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := w.Settled(ctx); err != nil {
			t.Error(err)
		}
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// Other users (postfix, nobody) have to get in, and paths of sockets must be short.
	dir, err := os.MkdirTemp("/tmp", "postroad-interop-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		} else {
			t.Log("configurations and logs are kept in", dir)
		}
	})
	w := &world{ca: peer.NewCA(t, dir), relays: map[string]string{}, dir: dir}
	rsa, ed := w.keys(t)

	port := freePort(t)
	at := func(ip string) string { return net.JoinHostPort(ip, port) }
	nsd := freeAddr(t)
	peer.StartNSD(t, dir, nsd, w.zone())
	c := config.Default()
	c.Hostname = hostname
	submission := w.ca.Issue(t, hostname, "localhost")
	c.TLS.Certificate, c.TLS.Key = submission.CertFile, submission.KeyFile
	c.DNS.Servers = []string{nsd}
	fmt.Sscan(port, &c.Delivery.Port)
	c.Delivery.AllowPrivate, c.Delivery.IPv6, c.Delivery.Transcripts = true, false, "all"
	c.Spool.Ballast, c.Spool.MinFree = 0, 64<<20
	c.Webhook.AllowHTTP, c.Webhook.AllowPrivate = true, true
	c.Retry.Transactional = config.RetrySchedule{
		Intervals: []config.Duration{config.Duration(time.Second), config.Duration(time.Second), config.Duration(2 * time.Second)},
		Expire:    config.Duration(3 * time.Minute),
	}
	binary, err := filepath.Abs(os.Getenv("POSTROAD"))
	if err != nil || os.Getenv("POSTROAD") == "" {
		t.Fatal("POSTROAD does not name the program: run test/interop/run.sh")
	}
	w.Platform, err = rig.New(rig.Options{
		Binary: binary, Dir: dir, Config: c,
		// Relay certificates are checked against the system's roots: ours stands for them.
		Env: []string{"SSL_CERT_FILE=" + w.ca.File},
	})
	if err != nil {
		t.Fatal(err)
	}

	cert := w.ca.Issue(t, "mx.gosmtp.test").Certificate
	w.sink, w.gosmtp = peer.NewSink(t, "127.0.0.1:0", nil), peer.NewSink(t, at(gosmtpIP), &cert)
	grey := peer.NewGreylist(t, greyDelay)
	peer.StartExim(t, dir, peer.EximOptions{
		Hostname: "mx.exim.test", Addr: at(eximIP), Domain: "exim.test", Sink: w.sink.Addr, Greylist: grey.Addr, MaxSize: largeLimit,
		Returns: hostname, ReturnAddr: w.ReturnPath,
		Cert: w.ca.Issue(t, "mx.exim.test"),
	})
	peer.StartOpenSMTPD(t, dir, peer.OpenSMTPDOptions{
		Hostname: "mx.opensmtpd.test", Addr: at(opensmtpdIP), Domain: "opensmtpd.test", Sink: w.sink.Addr, MaxSize: largeLimit,
		Mailboxes: []string{
			"user@opensmtpd.test", "eightbit@opensmtpd.test", "large@opensmtpd.test", "toolarge@opensmtpd.test",
			"m1@opensmtpd.test", "m2@opensmtpd.test", "m3@opensmtpd.test",
		},
		Cert: w.ca.Issue(t, "mx.opensmtpd.test"),
	})
	w.startPostfix(t, dir, at, grey.Addr)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of postroad ends with:\n%s", w.LogTail())
		}
	})
	w.hooks = newHookReceiver(t)
	w.apply(t, w.state(t, rsa, ed))
	if w.client, err = client.New(client.Options{URL: "http://" + w.API, Key: apiKey}); err != nil {
		t.Fatal(err)
	}
	return w
}

// keys makes the shop's DKIM keys; what DNS shows of them goes into records.
func (w *world) keys(t *testing.T) (rsa, ed string) {
	t.Helper()
	w.records = map[string]string{}
	private := func(selector string, make func() (crypto.Signer, error)) string {
		key, err := make()
		if err != nil {
			t.Fatal(err)
		}
		der, err := dkim.MarshalPrivate(key)
		if err != nil {
			t.Fatal(err)
		}
		w.records[selector+"._domainkey.shop.test."] = dkim.PublicRecord(key.Public())
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return private("rsa1", dkim.GenerateRSA), private("ed1", dkim.GenerateEd25519)
}

// zone is what NSD serves.
func (w *world) zone() []string {
	list := []string{
		"mail.relay.test. A " + relayIP,
		"other.relay.test. A " + relayIP, // a name the relay's certificate does not have
		"null.test. MX 0 .",
	}
	for domain, ip := range map[string]string{
		"postfix.test": postfixIP, "exim.test": eximIP, "opensmtpd.test": opensmtpdIP, "gosmtp.test": gosmtpIP,
		"dove.test": postfixIP, "shop.test": postfixIP, "small.test": smallIP, "old.test": oldIP, "smtpsource.test": gosmtpIP,
	} {
		list = append(list, domain+". MX 10 mx."+domain+".", "mx."+domain+". A "+ip)
	}
	for name, record := range w.records {
		line := name + " TXT"
		for chunk := range slices.Chunk([]byte(record), 255) {
			line += fmt.Sprintf(" %q", chunk)
		}
		list = append(list, line)
	}
	return list
}

// startPostfix runs one Postfix with a listener for each kind of receiver and relay.
func (w *world) startPostfix(t *testing.T, dir string, at func(string) string, grey string) {
	sasl := freeAddr(t)
	w.imap, w.lmtp = freeAddr(t), freeAddr(t)
	w.mailbox = peer.StartDovecot(t, dir, peer.DovecotOptions{
		Auth: sasl, User: relayUser, Password: relayPass, IMAP: w.imap, LMTP: w.lmtp, Mailboxes: map[string]string{sender: mailboxPass},
		Away: []string{"away@dove.test", "away2@dove.test"}, Submission: w.ReturnPath, Cert: w.ca.Issue(t, "localhost"),
	})
	_, lmtpPort, _ := strings.Cut(w.lmtp, ":")
	_, returnPort, _ := strings.Cut(w.ReturnPath, ":")
	relay := func(name string, settings map[string]string) peer.PostfixListener {
		w.relays[name] = net.JoinHostPort(relayIP, freePort(t))
		all := map[string]string{
			"smtpd_tls_security_level": "encrypt", "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "inet:" + sasl,
			"smtpd_recipient_restrictions": "permit_sasl_authenticated, reject", "smtpd_tls_auth_only": "yes",
		}
		for k, v := range settings {
			all[k] = v
		}
		return peer.PostfixListener{Addr: w.relays[name], Settings: all}
	}
	peer.StartPostfix(t, dir, peer.PostfixOptions{
		Hostname: "mail.relay.test", Domains: []string{"postfix.test", "small.test", "old.test", "dove.test", "shop.test"}, Sink: w.sink.Addr,
		Transports: []string{
			`/@out\.postroad\.test$/ smtp:[127.0.0.1]:` + returnPort,
			`/@success\.via\.test$/ virtual:`, // a mailbox of Postfix's own: what is behind LMTP it calls relayed
			`/@(dove|shop)\.test$/ lmtp:inet:127.0.0.1:` + lmtpPort,
		},
		Cert: w.ca.Issue(t, "mail.relay.test"),
		Listeners: []peer.PostfixListener{
			{Addr: at(postfixIP), Settings: map[string]string{
				"smtpd_recipient_restrictions": "reject_unlisted_recipient, check_policy_service inet:" + grey,
			}},
			{Addr: at(smallIP), Settings: map[string]string{"message_size_limit": fmt.Sprint(smallLimit)}},
			{Addr: at(oldIP), Settings: map[string]string{"smtpd_discard_ehlo_keywords": "8bitmime, pipelining, chunking, dsn, starttls, enhancedstatuscodes, smtputf8"}},
			relay("good", nil),
			relay("wrapped", map[string]string{"smtpd_tls_wrappermode": "yes"}),
			relay("no auth", map[string]string{"smtpd_sasl_auth_enable": "no"}),
			relay("no tls", map[string]string{"smtpd_tls_security_level": "none", "smtpd_tls_auth_only": "no"}),
		},
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	a, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (w *world) apply(t *testing.T, state string) {
	t.Helper()
	if _, err := w.Apply(t.Context(), state); err != nil {
		t.Fatal(err)
	}
}

// state declares the shop and its ways out.
func (w *world) state(t *testing.T, rsa, ed string) string {
	return fmt.Sprintf(`
[[accounts]]
name = "shop"

  [[accounts.senders]]
  name = "shop.test"
  verified = true

    [[accounts.senders.keys]]
    selector = "rsa1"
    algorithm = "rsa-2048"
    active = true
    private_key = '''
%s'''

    [[accounts.senders.keys]]
    selector = "ed1"
    algorithm = "ed25519"
    active = true
    private_key = '''
%s'''

  [[accounts.credentials]]
  name = "smtp"
  kind = "smtp"
  secret = %q

  [[accounts.credentials]]
  name = "api"
  kind = "api"
  scopes = ["send", "read"]
  secret = %q
%s
[[accounts]]
name = "source"

  [[accounts.senders]]
  name = "*"
  verified = true

  [[accounts.credentials]]
  name = "loopback"
  kind = "network"
  networks = ["127.0.0.0/8"]
`, rsa, ed, password, apiKey, w.feedbackState(t)) + w.routes(relayPass)
}

// routes declares the ways out: direct for all, and relays by recipient domain. wrong is the password of the relay
// whose password is wrong at first.
func (w *world) routes(wrong string) string {
	var routes, rules strings.Builder
	relay := func(name, listener, host, tls, auth, password string) {
		_, port, _ := strings.Cut(w.relays[listener], ":")
		fmt.Fprintf(&routes, `
[[routes]]
name = %q
kind = "relay"
host = %q
port = %s
tls = %q
auth = %q
username = %q
password = %q
allow_private = true
`, name, host, port, tls, auth, relayUser, password)
		fmt.Fprintf(&rules, "\n  [[policies.rules]]\n  recipient_domains = [%q]\n  route = %q\n", name+".via.test", name)
	}
	relay("plain", "good", "mail.relay.test", "verify", "plain", relayPass)
	relay("login", "good", "mail.relay.test", "required", "login", relayPass)
	relay("cram", "good", "mail.relay.test", "verify", "cram-md5", relayPass)
	relay("wrapped", "wrapped", "mail.relay.test", "implicit", "plain", relayPass)
	relay("wrong", "good", "mail.relay.test", "verify", "plain", wrong)
	relay("noauth", "no auth", "mail.relay.test", "verify", "plain", relayPass)
	relay("notls", "no tls", "mail.relay.test", "required", "plain", relayPass)
	relay("othername", "good", "other.relay.test", "verify", "plain", relayPass)
	// A gateway that takes our own return path and is asked for its success reports.
	relay("success", "good", "mail.relay.test", "verify", "plain", relayPass)
	routes.WriteString("return_path = \"verp\"\nnotify_success = true\n")
	return "\n[[routes]]\nname = \"direct\"\nkind = \"mx\"\n" + routes.String() + "\n[[policies]]\nname = \"default\"\n" + rules.String() +
		"\n  [[policies.rules]]\n  route = \"direct\"\n"
}

// message is a message to submit.
type message struct {
	subject string
	from    string // "": sender
	body    string // its lines end in LF
	headers string // further header lines, ending in LF
}

func (m message) id() string { return strings.ReplaceAll(m.subject, " ", "-") + "@shop.test" }

// text is the message with CRLF.
func (m message) text(to string) []byte {
	body := m.body
	if body == "" {
		body = "Hello.\n.one line begins with a dot\n..another with two\n.\nThe end.\n"
	}
	from := m.from
	if from == "" {
		from = sender
	}
	s := fmt.Sprintf("From: Shop <%s>\nTo: <%s>\nSubject: %s\nDate: %s\nMessage-ID: <%s>\nMIME-Version: 1.0\n%s\n%s",
		from, to, m.subject, time.Now().Format(time.RFC1123Z), m.id(), m.headers, body)
	return bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n"))
}

// submit hands a message in over HTTP.
func (w *world) submit(t *testing.T, m message, to ...string) mail.MessageID {
	t.Helper()
	q := url.Values{"from": {sender}, "to": to}
	b, err := w.client.Raw(t.Context(), http.MethodPost, "/v1/messages", q, "message/rfc822", m.text(to[0]), nil)
	if err != nil {
		t.Fatalf("submit %q: %v", m.subject, err)
	}
	id, ok := findID(string(b))
	if !ok {
		t.Fatalf("no message id in %s", b)
	}
	return id
}

// findID finds a message id in what a server said.
func findID(text string) (mail.MessageID, bool) {
	for rest := text; ; {
		i := strings.Index(rest, mail.PrefixMessage)
		if i < 0 {
			return mail.MessageID{}, false
		}
		rest = rest[i:]
		if n := len(mail.PrefixMessage) + 26; len(rest) >= n {
			if id, err := mail.ParseMessageID(rest[:n]); err == nil {
				return id, true
			}
		}
		rest = rest[1:]
	}
}

// fate waits until every delivery of a message is over and returns them by recipient.
func (w *world) fate(t *testing.T, id mail.MessageID) map[string]rig.Delivery {
	t.Helper()
	return w.wait(t, id, func(d *rig.Delivery) bool { return d.State.Final() })
}

// wait waits until every delivery of a message is as wanted.
func (w *world) wait(t *testing.T, id mail.MessageID, wanted func(*rig.Delivery) bool) map[string]rig.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := map[string]rig.Delivery{}
	err := rig.Poll(ctx, 50*time.Millisecond, func() bool {
		m, err := w.Message(ctx, id)
		if err != nil {
			return false
		}
		all := len(m.Deliveries) > 0
		for _, d := range m.Deliveries {
			out[d.Recipient] = d
			all = all && wanted(&d)
		}
		return all
	})
	if err != nil {
		for _, d := range out {
			t.Logf("%s: %s %s %q, waits: %s\n%s", d.Recipient, d.State, d.Class, d.Reply, d.Why, w.story(t, d.ID))
		}
		t.Fatalf("message %s: %v", id, err)
	}
	return out
}

// expect waits for the end of a message to one recipient, and holds it against what is expected: with state delivered
// or relayed exactly one copy must have arrived, otherwise none.
func (w *world) expect(t *testing.T, id mail.MessageID, recipient, state string, class mail.Class, at *peer.Sink) rig.Delivery {
	t.Helper()
	d, ok := w.fate(t, id)[recipient]
	if !ok {
		t.Fatalf("message %s has no delivery to %s", id, recipient)
	}
	if string(d.State) != state || d.Class != class {
		t.Errorf("%s: %s %q (%s), want %s %q\n%s", recipient, d.State, d.Class, d.Reply, state, class, w.story(t, d.ID))
	}
	if state == string(mail.Delivered) || state == string(mail.Relayed) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		at.Await(ctx, t, recipient)
		if n := len(at.Of(recipient)); n != 1 {
			t.Errorf("%d copies arrived for %s, want 1", n, recipient)
		}
	} else if n := len(at.Of(recipient)); n != 0 {
		t.Errorf("%d copies arrived for %s, want none", n, recipient)
	}
	return d
}

// story is the timeline of a delivery with its dialogues.
func (w *world) story(t *testing.T, id mail.DeliveryID) string {
	t.Helper()
	events, err := w.Timeline(t.Context(), id)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s %s %s\n", e.At.Format("15:04:05.000"), e.Type, e.Class, e.Scope, e.Reason)
		if a := e.Attempt; a != nil {
			fmt.Fprintf(&b, "  attempt %d to %s (%s) TLS %q %s, at %s: %s\n%s\n", a.N, a.Host, a.IP, a.TLS, a.TLSNote, a.Stage, a.Reply, a.Transcript)
		}
	}
	return b.String()
}

// search finds the deliveries of a message by its Message-ID field.
func (w *world) search(t *testing.T, q url.Values) []rig.Delivery {
	t.Helper()
	var found []rig.Delivery
	for { // a page ends early on a slow machine
		var page struct {
			Deliveries []rig.Delivery `json:"deliveries"`
			Next       string         `json:"next"`
		}
		if err := w.Client().Do(t.Context(), http.MethodGet, "/v1/messages", q, nil, &page); err != nil {
			t.Fatal(err)
		}
		found = append(found, page.Deliveries...)
		if page.Next == "" {
			return found
		}
		q.Set("cursor", page.Next)
	}
}
