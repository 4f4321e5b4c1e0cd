package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	imap "github.com/emersion/go-imap/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
)

// TestTake: what was there before is left alone; of what comes, reports and auto-replies are taken and marked, other mail
// is not even seen. The server tells of new mail (IDLE): the look at intervals is far away.
func TestTake(t *testing.T) {
	b := newBed(t)
	b.pace, b.box.PollSeconds = 1, 1200
	b.append("INBOX", bounceMail(1), time.Now())
	b.serve()
	p, _ := b.start()
	b.positioned()
	for _, m := range []string{bounceMail(2), plainMail, vacationMail} {
		b.append("INBOX", m, time.Now())
	}
	b.eventually("two reports", func() bool { return len(b.entries) == 2 })
	var e spool.InboxEntry
	b.look(func() { e = b.entries[0] })
	if e.Kind != spool.InboxIMAP || e.Meta[spool.MetaAccount] != "shop" || e.Meta[spool.MetaMailbox] != "isp;1;2" || !strings.HasPrefix(e.Meta[spool.MetaReport], "rpt_") ||
		!bytes.Contains(e.Raw, []byte("nobody2@dest.example")) || e.Meta[spool.MetaTruncated] != "" {
		t.Errorf("entry %v\n%s", e.Meta, e.Raw)
	}
	b.append("INBOX", bounceMail(3), time.Now())
	b.eventually("a third", func() bool { return len(b.entries) == 3 })
	b.eventually("marks", func() bool { _, seen := b.count("INBOX"); return seen == 3 })
	if mails, _ := b.count("INBOX"); mails != 5 {
		t.Errorf("%d mails are left", mails)
	}
	b.look(func() {
		if b.logins != 1 || len(b.alerts) != 0 {
			t.Errorf("%d logins, alerts %v", b.logins, b.alerts)
		}
	})
	if s := p.Stats(); s != (Stats{Reading: 1, Reports: 3}) {
		t.Errorf("counts %+v", s)
	}
}

// TestPoll: a server without IDLE is asked at intervals.
func TestPoll(t *testing.T) {
	b := newBed(t)
	b.serve()
	b.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return noIdle{c}, err
	}
	b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now())
	b.eventually("a report", func() bool { return len(b.entries) == 1 })
}

// noIdle is a server that does not offer IDLE.
type noIdle struct{ net.Conn }

func (c noIdle) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	copy(p[:n], bytes.ReplaceAll(p[:n], []byte(" IDLE"), []byte(" XDLE")))
	return n, err
}

// TestAfter holds what becomes of a report that was taken, and of its neighbours.
func TestAfter(t *testing.T) {
	all := imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapMove: {}, imap.CapUIDPlus: {}}
	old := imap.CapSet{imap.CapIMAP4rev1: {}}
	for name, tt := range map[string]struct {
		after       string
		caps        imap.CapSet
		left, moved uint32
	}{
		"move":                 {"move:Handled", all, 2, 1},
		"move without MOVE":    {"move:Handled", imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}}, 2, 1},
		"move without UIDPLUS": {"move:Handled", old, 3, 1},
		"delete":               {platform.MailboxDelete, all, 2, 0},
		"delete with care":     {platform.MailboxDelete, old, 3, 0}, // EXPUNGE would take the neighbour as well
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.caps, b.box.After = tt.caps, tt.after
			if err := b.user.Create("Handled", nil); err != nil {
				t.Fatal(err)
			}
			b.append("INBOX", plainMail, time.Now())
			_, err := b.user.Append("INBOX", literal{strings.NewReader(plainMail)}, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDeleted}})
			if err != nil {
				t.Fatal(err)
			}
			b.serve()
			b.start()
			b.positioned()
			b.append("INBOX", bounceMail(1), time.Now())
			b.eventually("the report gone", func() bool {
				d, err := b.user.Status("INBOX", &imap.StatusOptions{NumMessages: true, NumDeleted: true})
				if err != nil {
					t.Fatal(err)
				}
				moved, _ := b.count("Handled")
				return len(b.entries) == 1 && *d.NumMessages == tt.left && moved == tt.moved && (tt.left == 2 || *d.NumDeleted == 2)
			})
			b.look(func() {
				if len(b.alerts) != 0 {
					t.Errorf("alerts %v", b.alerts)
				}
			})
		})
	}
}

// TestAfterFails: a report that cannot be moved is taken once, and the operator is told until it works.
func TestAfterFails(t *testing.T) {
	b := newBed(t)
	b.box.After = "move:Handled"
	b.serve()
	b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now())
	b.eventually("the alert", func() bool { return strings.Contains(b.alerts[alertAfter], "move:Handled") })
	if err := b.user.Create("Handled", nil); err != nil {
		t.Fatal(err)
	}
	b.append("INBOX", bounceMail(2), time.Now())
	b.eventually("the alert cleared", func() bool { return len(b.entries) == 2 && len(b.alerts) == 0 })
}

// TestCrash kills the poller at every place where it may die, with what was in memory, and starts another: each report
// is kept once, none is marked before, and at the end all are.
func TestCrash(t *testing.T) {
	const reports = 3
	for _, after := range []string{platform.MailboxKeepSeen, "move:Handled", platform.MailboxDelete} {
		for at := 1; ; at++ {
			var n atomic.Int64
			b := newBed(t)
			b.box.After, b.box.From = after, platform.MailboxAll
			if err := b.user.Create("Handled", nil); err != nil {
				t.Fatal(err)
			}
			for i := range reports {
				b.append("INBOX", bounceMail(i), time.Now().Add(-time.Hour))
				b.append("INBOX", plainMail, time.Now())
			}
			b.fail = func(string) error {
				if n.Add(1) >= int64(at) {
					return errors.New("gone")
				}
				return nil
			}
			finished := func() bool {
				mails, seen := b.count("INBOX")
				moved, _ := b.count("Handled")
				switch after {
				case platform.MailboxKeepSeen:
					return seen == reports
				case platform.MailboxDelete:
					return mails == reports
				}
				return mails == reports && moved == reports
			}
			b.serve()
			_, stop := b.start()
			b.eventually("the end, of the work or of the reader", func() bool { return n.Load() >= int64(at) || b.idling > 0 && finished() })
			stop()
			done := n.Load() < int64(at) // there are no more places to die at
			b.mu.Lock()
			b.fail = func(string) error { return nil }
			b.mu.Unlock()
			_, stop = b.start()
			what := fmt.Sprintf("%s, death at step %d", after, at)
			b.eventually(what, finished)
			stop()
			b.look(func() {
				if len(b.entries) != reports {
					t.Errorf("%s: %d reports are kept", what, len(b.entries))
				}
			})
			if done {
				t.Logf("%s: %d places", after, at-1)
				if at < 10 {
					t.Errorf("only %d places to die at were found", at-1)
				}
				break
			}
		}
	}
}

// TestNewValidity: a mailbox made anew has other UIDs. What was taken is not taken again, what came meanwhile is, and mail
// from long before is not looked at.
func TestNewValidity(t *testing.T) {
	b := newBed(t)
	b.serve()
	_, stop := b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now().Add(-time.Minute).Truncate(time.Second))
	b.eventually("a report", func() bool { return len(b.entries) == 1 })
	stop()
	var first spool.InboxEntry
	b.look(func() { first = b.entries[0] })
	raw := string(first.Raw)
	if err := errors.Join(b.user.Delete("INBOX"), b.user.Create("INBOX", nil)); err != nil {
		t.Fatal(err)
	}
	b.append("INBOX", bounceMail(7), time.Now().Add(-20*24*time.Hour))
	d, err := b.user.Append("INBOX", literal{strings.NewReader(raw)}, &imap.AppendOptions{Time: idTime(t, first)})
	if err != nil {
		t.Fatal(err)
	}
	b.look(func() { b.meta[fmt.Sprint("body ", d.UID)] = []byte(raw) })
	b.append("INBOX", bounceMail(2), time.Now())
	b.start()
	b.eventually("the new report", func() bool {
		return bytes.Contains(b.entries[len(b.entries)-1].Raw, []byte("nobody2@"))
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries[1:] {
		if e.Meta[spool.MetaReport] == b.entries[0].Meta[spool.MetaReport] || bytes.Contains(e.Raw, []byte("nobody7@")) {
			t.Errorf("taken: %v\n%s", e.Meta, e.Raw)
		}
	}
}

// TestFirstContact: a mailbox full of old mail is not read; with from = "all" what is at most 30 days old is.
func TestFirstContact(t *testing.T) {
	b := newBed(t)
	for i := range 5000 {
		b.append("INBOX", bounceMail(i), time.Now().Add(-40*24*time.Hour))
	}
	b.append("INBOX", bounceMail(9001), time.Now().Add(-24*time.Hour))
	b.serve()
	_, stop := b.start()
	b.positioned()
	b.append("INBOX", bounceMail(9002), time.Now())
	b.eventually("the new report", func() bool { return len(b.entries) == 1 })
	stop()
	b.look(func() {
		if b.fetches != 1 {
			t.Errorf("%d mails were fetched", b.fetches)
		}
	})
	b.box.From, b.box.Username = platform.MailboxAll, "bounces" // the same mailbox: its position stands
	_, stop = b.start()
	b.append("INBOX", bounceMail(9003), time.Now())
	b.eventually("one more", func() bool { return len(b.entries) == 2 })
	stop()
	b.box.Name = "again"
	b.start()
	b.eventually("what is 30 days old", func() bool { return len(b.entries) == 3 })
	b.look(func() {
		if b.fetches > 10 {
			t.Errorf("%d mails were fetched", b.fetches)
		}
	})
}

// TestLogin: a refused login is an alert and not tried again soon, but at once when the mailbox is declared anew.
func TestLogin(t *testing.T) {
	b := newBed(t)
	b.pace, b.box.Password = 1, "wrong"
	b.serve()
	p, _ := b.start()
	b.eventually("the alert", func() bool { return strings.Contains(b.alerts[alertLogin], "bounces") })
	time.Sleep(300 * time.Millisecond)
	b.look(func() {
		if strings.Contains(b.alerts[alertLogin], "wrong") {
			t.Errorf("the alert tells the password: %s", b.alerts[alertLogin])
		}
		if b.logins != 1 {
			t.Errorf("%d logins", b.logins)
		}
		b.box.Password = password
	})
	p.Changed()
	b.eventually("the alert cleared", func() bool { return len(b.alerts) == 0 && b.logins == 2 && b.meta["imap/shop/isp"] != nil })
	b.mu.Lock()
	b.box.Disabled = true
	b.mu.Unlock()
	p.Changed()
	b.eventually("nobody reads it", func() bool { return p.Stats().Reading == 0 })
	b.append("INBOX", bounceMail(1), time.Now())
	b.look(func() {
		if len(b.entries) != 0 {
			t.Error("a disabled mailbox was read")
		}
	})
}

// TestUnreachable: a server that is away is an alert after a while, cleared when it is back.
func TestUnreachable(t *testing.T) {
	b := newBed(t)
	b.pace = 0.0002
	away := true
	b.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if away {
			return nil, errors.New("connection refused")
		}
		b.pace = 1
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	b.serve()
	_, stop := b.start()
	b.eventually("the alert", func() bool { return strings.Contains(b.alerts[alertMailbox], "connection refused") })
	stop()
	b.mu.Lock()
	away, b.pace = false, 1
	b.mu.Unlock()
	b.start()
	b.eventually("the alert cleared", func() bool { return len(b.alerts) == 0 })
}

// TestPoisonMail: a mail the server cannot give does not keep the others waiting for ever.
func TestPoisonMail(t *testing.T) {
	b := newBed(t)
	b.pace = 0.01
	b.fail = func(op string) error {
		if op == "fetch 1" {
			return &imap.Error{Type: imap.StatusResponseTypeNo, Text: "corrupt"}
		}
		return nil
	}
	b.serve()
	b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now())
	b.append("INBOX", bounceMail(2), time.Now())
	b.eventually("the second report", func() bool { return len(b.entries) == 1 })
	b.look(func() {
		if !strings.Contains(b.alerts[alertMail], "UID 1") {
			t.Errorf("alerts %v", b.alerts)
		}
		if b.fetches != maxTries+1 {
			t.Errorf("%d fetches", b.fetches)
		}
	})
}

// TestFullDisk: while nothing can be kept, nothing is marked, no mail is given up, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	b := newBed(t)
	b.pace = 0.001
	tries := 0
	full := true
	b.fail = func(op string) error {
		if op == "put" && full {
			tries++
			return spool.ErrDiskFull
		}
		return nil
	}
	b.serve()
	b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now())
	b.eventually("more tries than a mail has", func() bool { return tries > 2*maxTries })
	if _, seen := b.count("INBOX"); seen != 0 {
		t.Error("it is marked")
	}
	b.mu.Lock()
	full = false
	b.mu.Unlock()
	b.eventually("the report", func() bool { return len(b.entries) == 1 })
}

// TestChangedWhileStoring: the mailbox is declared anew while a report is on its way to the disk. It is taken once.
func TestChangedWhileStoring(t *testing.T) {
	b := newBed(t)
	b.serve()
	o := b.options()
	put, changed := o.Put, make(chan struct{}, 1)
	var once sync.Once
	o.Put = func(ctx context.Context, e spool.InboxEntry) error {
		err := put(ctx, e) // as the spool has it, whoever still waits for that
		once.Do(func() {
			b.look(func() { b.box.PollSeconds = 3600 })
			changed <- struct{}{}
			if done := ctx.Done(); done != nil {
				<-done // nobody waits any more
			}
		})
		return errors.Join(err, ctx.Err())
	}
	o.Known = func(context.Context, mail.ReportID) (bool, error) { return false, nil } // it has not been read yet
	p, _ := b.startWith(o)
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Now())
	<-changed
	p.Changed()
	b.append("INBOX", bounceMail(2), time.Now())
	b.eventually("the second report", func() bool {
		return len(b.entries) > 0 && bytes.Contains(b.entries[len(b.entries)-1].Raw, []byte("nobody2@dest.example"))
	})
	b.look(func() {
		if len(b.entries) != 2 {
			t.Errorf("%d entries of 2 reports", len(b.entries))
		}
	})
}

// TestLargeMail: of a mail over the bound the beginning and the end are kept, and what is missing is told, so that its
// recipients are found on either side of what it returns.
func TestLargeMail(t *testing.T) {
	b := newBed(t)
	b.pace = 1
	b.serve()
	b.start()
	b.positioned()
	large := "--b\nContent-Type: message/rfc822\n\nSubject: x\n\n" + strings.Repeat(strings.Repeat("x", 76)+"\n", (maxFetch+4096)/77)
	raw := strings.Replace(bounceMail(1), "--b--\n", large+"--b\nContent-Type: text/plain\n\nThe end.\n--b--\n", 1)
	b.append("INBOX", raw, time.Now())
	b.eventually("the report", func() bool { return len(b.entries) == 1 })
	var e spool.InboxEntry
	b.look(func() { e = b.entries[0] })
	whole := strings.ReplaceAll(raw, "\n", "\r\n")
	cut := e.Meta[spool.MetaTruncated]
	head, tail, ok := strings.Cut(string(e.Raw), "["+cut+" octets left out]\r\n")
	if len(e.Raw) > maxFetch || !ok || cut != fmt.Sprint(len(whole)-len(head)-len(tail)) || !strings.HasPrefix(whole, head) || !strings.HasSuffix(whole, tail) || !strings.Contains(tail, "The end.") {
		t.Errorf("%d octets of %d, %v", len(e.Raw), len(whole), e.Meta)
	}
}

// TestNoDate: a server that does not know when its mails came hides no report.
func TestNoDate(t *testing.T) {
	b := newBed(t)
	b.serve()
	b.start()
	b.positioned()
	b.append("INBOX", bounceMail(1), time.Unix(0, 0))
	b.append("INBOX", bounceMail(2), time.Now().AddDate(10, 0, 0))
	b.append("INBOX", bounceMail(3), time.Now().AddDate(0, -3, 0)) // too old to change anything
	b.append("INBOX", bounceMail(4), time.Now())
	b.eventually("the reports", func() bool { return len(b.entries) == 3 })
	b.look(func() {
		for i, want := range []string{"nobody1@", "nobody2@", "nobody4@"} {
			if !bytes.Contains(b.entries[i].Raw, []byte(want)) {
				t.Errorf("entry %d: %s", i, b.entries[i].Raw)
			}
		}
	})
}

// TestUnreadableMail: a mail our own reading fails on, or that it does not end with, is taken, for the reader of reports to set
// aside; the process lives and the others go on.
func TestUnreadableMail(t *testing.T) {
	for name, fault := range map[string]func(stop <-chan struct{}){
		"panic": func(<-chan struct{}) { panic("a fault of ours") },
		"hang":  func(stop <-chan struct{}) { <-stop },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.patience = 0.1
			stop := make(chan struct{})
			t.Cleanup(func() { close(stop) })
			b.parse = func(raw []byte, lim report.Limits) *report.Report {
				if bytes.Contains(raw, []byte("nobody1@")) {
					fault(stop)
				}
				return report.Parse(raw, lim)
			}
			b.serve()
			b.start()
			b.positioned()
			b.append("INBOX", bounceMail(1), time.Now())
			b.append("INBOX", bounceMail(2), time.Now())
			b.eventually("both", func() bool { return len(b.entries) == 2 })
		})
	}
}

// TestOwnNotice: a notice of ours that comes back into the mailbox of the sender it was written to tells nothing new.
func TestOwnNotice(t *testing.T) {
	b := newBed(t)
	b.serve()
	b.start()
	b.positioned()
	own := strings.Replace(bounceMail(1), "<r1@mx.isp.example>", "<notice-1@mail.example>", 1)
	b.append("INBOX", NoticeField+": failure\n"+own, time.Now())
	b.append("INBOX", NoticeField+": failure\n"+bounceMail(2), time.Now()) // somebody else's, or somebody who would like to be us
	b.append("INBOX", own, time.Now())
	b.eventually("two reports", func() bool { return len(b.entries) == 2 })
	b.look(func() {
		if !bytes.Contains(b.entries[0].Raw, []byte("nobody2@")) {
			t.Errorf("taken: %s", b.entries[0].Raw)
		}
	})
}
