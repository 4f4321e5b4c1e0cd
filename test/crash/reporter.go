package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/practice"
)

// latePrefix begins the local parts of recipients whose host takes the mail and reports later that it could not deliver
// it.
const latePrefix = "late-"

// replayEvery is how many acknowledged reports it takes until one is sent a second time, as forwarders and broken hosts
// do: it must change nothing.
const replayEvery = 4

// lateMail is a delivery that will be reported as failed, and what came of the reports.
type lateMail struct {
	recipient, returnPath string
	sent                  int // reports whose end of data was written: any of them may have arrived
	acknowledged          int // of them, those that were answered with 250
	replay                bool
}

// reporter plays the hosts of the late recipients: it waits for the mail to arrive and reports it as failed to the
// return path, until the platform has acknowledged the report.
type reporter struct {
	addr   string // of the platform's return-path listener
	net    *practice.Internet
	ledger *ledger
	random *rand.Rand

	mu   sync.Mutex
	late map[string]*lateMail // by recipient
	seen int                  // of the ledger
	todo []*lateMail
	n    int
}

func newReporter(addr string, net *practice.Internet, l *ledger, seed uint64) *reporter {
	return &reporter{addr: addr, net: net, ledger: l, random: rand.New(rand.NewPCG(seed, 77)), late: map[string]*lateMail{}}
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	for ctx.Err() == nil {
		if r.step() == 0 {
			rest(ctx)
		}
	}
}

// step sends at most one report for each mail that is due one, over one connection, and returns how many were
// acknowledged.
func (r *reporter) step() (done int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.find()
	if len(r.todo) == 0 {
		return 0
	}
	conn, err := dial(r.addr)
	if err != nil {
		return 0
	}
	defer conn.Close()
	rest := r.todo[:0:0]
	for i, m := range r.todo {
		if m.returnPath == "" && !r.arrived(m) {
			rest = append(rest, m)
			continue
		}
		if err := r.report(conn, m); err != nil {
			rest = append(rest, r.todo[i:]...)
			break
		}
		done++
		m.acknowledged++
		if r.n++; r.n%replayEvery == 0 && !m.replay {
			m.replay = true
			rest = append(rest, m)
		}
	}
	r.todo = rest
	return done
}

// find takes up the late recipients of messages that were sent since the last time.
func (r *reporter) find() {
	all := r.ledger.all()
	for _, s := range all[r.seen:] {
		for _, x := range s.recipients {
			if x.late && r.late[x.address] == nil {
				m := &lateMail{recipient: x.address}
				r.late[x.address] = m
				r.todo = append(r.todo, m)
			}
		}
	}
	r.seen = len(all)
}

// arrived reports whether the mail has arrived by now, and takes its return path down.
func (r *reporter) arrived(m *lateMail) bool {
	list := r.net.Received(m.recipient)
	if len(list) > 0 {
		m.returnPath = list[0].Sender
	}
	return m.returnPath != ""
}

// report sends one report. nil: it was acknowledged.
func (r *reporter) report(c *connection, m *lateMail) error {
	_ = c.SetDeadline(time.Now().Add(clientTimeout)) // a connection that cannot have one fails at once
	for _, line := range []struct {
		want int
		text string
	}{{250, "MAIL FROM:<>"}, {250, "RCPT TO:<" + m.returnPath + ">"}, {354, "DATA"}} {
		if err := c.command(line.want, "%s", line.text); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(c.Conn, lateReport(m)); err != nil {
		return err
	}
	m.sent++
	if _, err := io.WriteString(c.Conn, ".\r\n"); err != nil {
		return err
	}
	_, _, err := c.text.ReadResponse(250)
	return err
}

// lateReport is a report in the standard form (RFC 3464), the same each time.
func lateReport(m *lateMail) string {
	return fmt.Sprintf("From: Mail Delivery System <MAILER-DAEMON@mx.test>\r\nTo: <%s>\r\nSubject: Undelivered Mail Returned to Sender\r\n"+
		"Message-ID: <report-%s@mx.test>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n"+
		"Your message could not be delivered.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n"+
		"Final-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user here\r\n\r\n--b--\r\n",
		m.returnPath, m.recipient, m.recipient)
}

// drain reports what is left, until everything was acknowledged or ctx ends. Mail that never arrives is the audit's
// business.
func (r *reporter) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		r.step()
		r.mu.Lock()
		left := 0
		for _, m := range r.todo {
			if m.returnPath != "" || r.arrived(m) {
				left++
			}
		}
		r.mu.Unlock()
		if left == 0 {
			return nil
		}
		rest(ctx)
	}
	return fmt.Errorf("reports are not acknowledged: %w", ctx.Err())
}
