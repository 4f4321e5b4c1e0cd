package imap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	imap "github.com/emersion/go-imap/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Pauses before a mailbox is tried again, doubled from the first up to the last. After a refused login they are longer:
// servers lock accounts that fail often.
const (
	firstPause      = 5 * time.Second
	lastPause       = 5 * time.Minute
	firstLoginPause = 5 * time.Minute
	lastLoginPause  = 2 * time.Hour
)

// failuresBeforeAlert is how often in a row a mailbox cannot be read before that is an alert: with the pauses above after
// about five minutes.
const failuresBeforeAlert = 7

// steady is how long a session must have lasted for the pauses to begin at the first again: a server that ends every
// session at once is not to be asked every five seconds.
const steady = time.Minute

// showLeft is how long the alert of a mail that was left out stands.
const showLeft = 24 * time.Hour

// idleRecheck is how long a server that tells of new mail (IDLE, RFC 2177) is waited for before the mailbox is looked at
// all the same: a connection that a firewall forgot looks like one on which nothing happens.
const idleRecheck = 5 * time.Minute

// The kinds of alert, each with the scope "mailbox/ACCOUNT/NAME".
const (
	alertLogin   = "imap-login"   // the server refuses name and password
	alertMailbox = "imap-mailbox" // the mailbox cannot be reached or read
	alertAfter   = "imap-after"   // reports are taken, but cannot be marked, moved or deleted
	alertMail    = "imap-mail"    // a mail could not be fetched and is left out
)

var alertKinds = []string{alertLogin, alertMailbox, alertAfter, alertMail}

// reader reads one mailbox.
type reader struct {
	*Poller
	o   *Options
	at  place
	box platform.Mailbox
	log *slog.Logger
	pos position

	clear map[string]bool // alerts known not to stand: an earlier process may have left some
	left  time.Time       // when a mail was last left out
	stuck imap.UID        // a mail that ended the session
	tries int             // how often it did
}

func newReader(p *Poller, at place, b platform.Mailbox) *reader {
	return &reader{
		Poller: p, o: &p.o, at: at, box: b, clear: map[string]bool{},
		log: p.o.Logger.With(mail.LogTenant, at.account, "mailbox", at.mailbox),
	}
}

// run reads the mailbox until ctx ends.
func (r *reader) run(ctx context.Context) {
	pause, loginPause, failures := firstPause, firstLoginPause, 0
	for ctx.Err() == nil {
		began := r.o.Now()
		looked, err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if looked && r.o.Now().Sub(began) >= time.Duration(float64(steady)*r.o.Pace) {
			pause, loginPause, failures = firstPause, firstLoginPause, 0
		}
		failures++
		var refused *loginError
		wait := pause
		if errors.As(err, &refused) {
			r.stats.refused.Add(1)
			wait, loginPause = loginPause, min(2*loginPause, lastLoginPause)
			r.raise(alertLogin, fmt.Sprintf("bounce mailbox %s of account %s cannot be read: %s refuses %s: %v", r.at.mailbox, r.at.account, r.box.Host, r.box.Username, refused))
		} else {
			r.stats.sessions.Add(1)
			pause = min(2*pause, lastPause)
			if failures >= failuresBeforeAlert {
				r.raise(alertMailbox, fmt.Sprintf("bounce mailbox %s of account %s cannot be read from %s: %v", r.at.mailbox, r.at.account, r.box.Host, err))
			}
		}
		r.log.Info("bounce mailbox: session ended", "event", "imap_ended", "again_in", wait, mail.LogErr, err)
		r.sleep(ctx, wait)
	}
}

func (r *reader) raise(kind, message string) {
	r.clear[kind] = false
	r.o.Alert(platform.Alert{Kind: kind, Scope: r.at.scope(), Message: message, Last: r.o.Now().UTC()})
}

// works clears the alerts of what works again.
func (r *reader) works(kinds ...string) {
	for _, kind := range kinds {
		if !r.clear[kind] {
			r.clear[kind] = true
			r.o.Alert(platform.Alert{Kind: kind, Scope: r.at.scope(), Cleared: r.o.Now().UTC()})
		}
	}
}

func (r *reader) sleep(ctx context.Context, d time.Duration) {
	d = time.Duration(float64(d) * r.o.Pace)
	t := time.NewTimer(d + rand.N(d/5+1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// session logs in and reads until something fails; looked reports that the mailbox was read through at least once.
func (r *reader) session(ctx context.Context) (looked bool, err error) {
	c, err := r.connect(ctx)
	if err != nil {
		return false, err
	}
	defer c.close()
	var selected *imap.SelectData
	err = c.step(ctx, "select "+r.box.Folder, answerTimeout, func() (err error) {
		selected, err = c.client.Select(r.box.Folder, nil).Wait()
		return err
	})
	if err != nil {
		return false, err
	}
	next := selected.UIDNext
	if next == 0 { // servers before RFC 3501
		if next, err = c.afterLast(ctx, selected.NumMessages); err != nil {
			return false, err
		}
	}
	if err := r.load(ctx, selected.UIDValidity, next); err != nil {
		return false, err
	}
	for {
		select {
		case <-c.grown:
		default:
		}
		if err := r.look(ctx, c, next); err != nil {
			return looked, err
		}
		if !looked {
			r.stats.reading.Add(1)
			defer r.stats.reading.Add(-1)
		}
		looked = true
		r.works(alertLogin, alertMailbox)
		if r.o.Now().Sub(r.left) > showLeft {
			r.works(alertMail)
		}
		if err := r.wait(ctx, c); err != nil {
			return looked, err
		}
		if ctx.Err() != nil {
			return looked, ctx.Err()
		}
	}
}

// wait waits until the mailbox is to be looked at again.
func (r *reader) wait(ctx context.Context, c *conn) error {
	pause := time.Duration(float64(r.box.Poll()) * r.o.Pace)
	if !c.noIdle && c.client.Caps().Has(imap.CapIdle) {
		err := c.idle(ctx, max(pause, time.Duration(float64(idleRecheck)*r.o.Pace)))
		var no *imap.Error
		c.noIdle = errors.As(err, &no) // offered, and refused: then we ask
		if !c.noIdle {
			return err
		}
	}
	select {
	case <-time.After(pause):
	case <-c.client.Closed():
		return errors.New("the server ended the session")
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.step(ctx, "noop", answerTimeout, func() error { return c.client.Noop().Wait() })
}
