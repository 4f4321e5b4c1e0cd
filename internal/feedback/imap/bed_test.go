package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	imap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// bed is a server with one user, and the shelves of a platform that outlive any number of pollers.
type bed struct {
	t    *testing.T
	user *imapmemserver.User
	port int
	caps imap.CapSet

	mu      sync.Mutex
	entries []spool.InboxEntry
	meta    map[string][]byte
	alerts  map[string]string // kind → message of those that stand
	raised  int
	logins  int
	fetches int
	idling  int                   // sessions that wait for new mail
	fail    func(op string) error // asked before and after everything that can fail
	box     platform.Mailbox
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	now     func() time.Time
	pace    float64
	// patience is 1 unless a server is to stay silent: no test depends on how quick this machine is.
	patience float64
	parse    func(raw []byte, lim report.Limits) *report.Report
}

const password = "correct horse"

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{
		t: t, meta: map[string][]byte{}, alerts: map[string]string{}, fail: func(string) error { return nil }, now: time.Now, pace: 0.02,
		caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapMove: {}, imap.CapUIDPlus: {}},
		box: platform.Mailbox{
			Name: "isp", Host: "127.0.0.1", TLS: platform.TLSNone, Username: "bounces", Folder: "INBOX",
			PollSeconds: 10, From: platform.MailboxNew, After: platform.MailboxKeepSeen,
		},
	}
	b.user = imapmemserver.NewUser("bounces", password)
	if err := b.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// serve starts the server.
func (b *bed) serve() {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	s := imapserver.New(&imapserver.Options{
		Caps: b.caps, InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{UserSession: imapmemserver.NewUserSession(b.user), b: b}, nil, nil
		},
	})
	go func() { _ = s.Serve(l) }()
	b.t.Cleanup(func() { s.Close() })
	b.port = l.Addr().(*net.TCPAddr).Port
	b.box.Port = b.port
}

// session counts and fails.
type session struct {
	*imapmemserver.UserSession
	b *bed
}

func (s *session) Login(username, given string) error {
	s.b.mu.Lock()
	s.b.logins++
	s.b.mu.Unlock()
	return s.b.user.Login(username, given)
}

func (s *session) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	s.b.mu.Lock()
	s.b.fetches++
	fail := s.b.fail
	s.b.mu.Unlock()
	if err := fail("fetch " + set.String()); err != nil {
		return err
	}
	return s.UserSession.Fetch(w, set, o)
}

// Idle tells of what came before it as well, which the library's does not.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	s.b.look(func() { s.b.idling++ })
	defer s.b.look(func() { s.b.idling-- })
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(2 * time.Millisecond):
			if err := s.Poll(w, true); err != nil {
				return err
			}
		}
	}
}

// changes is asked before a mail is marked, moved or deleted: nothing may be that is not on our disk.
func (s *session) changes(what string, set imap.NumSet) error {
	s.b.mu.Lock()
	fail := s.b.fail
	for _, rg := range set.(imap.UIDSet) {
		kept := false
		for _, e := range s.b.entries {
			kept = kept || strings.HasSuffix(e.Meta[spool.MetaMailbox], fmt.Sprint(";", rg.Start)) || string(e.Raw) == s.b.bodyOf(rg.Start)
		}
		if !kept {
			s.b.t.Errorf("%s of mail %d, which is not kept", what, rg.Start)
		}
	}
	s.b.mu.Unlock()
	return fail(what)
}

func (s *session) Store(w *imapserver.FetchWriter, set imap.NumSet, f *imap.StoreFlags, o *imap.StoreOptions) error {
	if err := s.changes("store", set); err != nil {
		return err
	}
	return s.UserSession.Store(w, set, f, o)
}

func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	if err := s.changes("move", set); err != nil {
		return err
	}
	return s.UserSession.Move(w, set, dest)
}

// bodyOf is what append wrote under a UID; the mutex is held.
func (b *bed) bodyOf(uid imap.UID) string { return string(b.meta[fmt.Sprint("body ", uid)]) }

// append puts a mail into a folder.
func (b *bed) append(folder, raw string, at time.Time) imap.UID {
	b.t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	d, err := b.user.Append(folder, literal{strings.NewReader(raw)}, &imap.AppendOptions{Time: at})
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.meta[fmt.Sprint("body ", d.UID)] = []byte(raw)
	b.mu.Unlock()
	return d.UID
}

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// bounceMail is a report about the n-th recipient.
func bounceMail(n int) string {
	return fmt.Sprintf(`From: MAILER-DAEMON@mx.isp.example
To: bounces@shop.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <r%[1]d@mx.isp.example>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Sorry.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.isp.example

Final-Recipient: rfc822; nobody%[1]d@dest.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
`, n)
}

const plainMail = "From: ann@friend.example\nTo: bounces@shop.example\nSubject: lunch\nMessage-ID: <l@friend.example>\n\nAt noon?\n"

const vacationMail = "From: bob@dest.example\nTo: bounces@shop.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am on holiday until Monday.\n"

func (b *bed) options() Options {
	return Options{
		Snapshot: func() *platform.Snapshot {
			b.mu.Lock()
			defer b.mu.Unlock()
			return platform.NewSnapshot(platform.State{Accounts: []platform.Account{{Name: "shop", Mailboxes: []platform.Mailbox{b.box}}}}, "mail.example")
		},
		Password: func(_ string, m *platform.Mailbox) (string, error) {
			if m.Password != "" {
				return m.Password, nil
			}
			return password, nil
		},
		Put: func(_ context.Context, e spool.InboxEntry) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if err := b.fail("put"); err != nil {
				return err
			}
			b.entries = append(b.entries, e)
			return b.fail("after put")
		},
		Known: func(_ context.Context, id mail.ReportID) (bool, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, e := range b.entries {
				if e.Meta[spool.MetaReport] == id.String() {
					return true, nil
				}
			}
			return false, b.fail("known")
		},
		Meta: b, Hostname: "mail.example", Pace: b.pace, Patience: b.patience, Dial: b.dial, Now: b.now, Parse: b.parse,
		Alert: func(a platform.Alert) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if !a.Cleared.IsZero() {
				delete(b.alerts, a.Kind)
				return
			}
			b.alerts[a.Kind] = a.Message
			b.raised++
		},
	}
}

func (b *bed) GetMeta(_ context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail("get meta"); err != nil {
		return nil, err
	}
	if v, ok := b.meta[key]; ok {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (b *bed) PutMeta(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail("put meta"); err != nil {
		return err
	}
	b.meta[key] = value
	return b.fail("after put meta")
}

func (b *bed) DeleteMeta(context.Context, string) error { return errors.New("not used") }

// start runs a poller until stop is called or the test ends.
func (b *bed) start() (p *Poller, stop func()) {
	b.t.Helper()
	return b.startWith(b.options())
}

func (b *bed) startWith(o Options) (p *Poller, stop func()) {
	b.t.Helper()
	p, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(5 * time.Minute):
			b.t.Error("the poller does not end")
		}
	}
	b.t.Cleanup(stop)
	return p, stop
}

// eventually waits until ok holds; it is called with the mutex held.
func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		b.mu.Lock()
		done := ok()
		b.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("not reached: %s (%d entries, alerts %v)", what, len(b.entries), b.alerts)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// look shows the test what it holds, while the poller runs.
func (b *bed) look(at func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at()
}

// positioned waits for the first contact.
func (b *bed) positioned() {
	b.t.Helper()
	b.eventually("first contact", func() bool { return b.meta["imap/shop/isp"] != nil })
}

// count returns how many mails a folder has, and how many of them are seen.
func (b *bed) count(folder string) (mails, seen uint32) {
	b.t.Helper()
	d, err := b.user.Status(folder, &imap.StatusOptions{NumMessages: true, NumUnseen: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return *d.NumMessages, *d.NumMessages - *d.NumUnseen
}

// idTime is the moment in an entry's report id: when the server got the mail.
func idTime(t *testing.T, e spool.InboxEntry) time.Time {
	t.Helper()
	id, err := mail.ParseReportID(e.Meta[spool.MetaReport])
	if err != nil {
		t.Fatal(err)
	}
	return id.Time()
}
