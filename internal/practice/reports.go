package practice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	netsmtp "net/smtp"
	"strings"
	"time"
)

// ReportKind is a kind of mail a receiver sends after it took a message.
type ReportKind string

// The kinds of late report.
const (
	// LateBounce is a delivery status notification of a failure (RFC 3464).
	LateBounce ReportKind = "late-bounce"
	// QmailBounce and EximBounce are bounces in dialects older than RFC 3464.
	QmailBounce ReportKind = "qmail-bounce"
	EximBounce  ReportKind = "exim-bounce"
	// Delay is a notification of a delay, followed by one of success.
	Delay ReportKind = "delay"
	// ThreeFailed is a notification about three recipients: one delivered, one expanded, and the message's own failed.
	ThreeFailed ReportKind = "three-failed"
	// ThreeRelayed has two failed, and between them the message's own, relayed.
	ThreeRelayed ReportKind = "three-relayed"
	// Replay is a LateBounce that comes twice, octet for octet.
	Replay ReportKind = "replay"
	// Forged is a LateBounce to a return path nobody has made.
	Forged ReportKind = "forged"
	// Complaint is a feedback report with the whole message: the recipient called it spam (RFC 5965). It goes where the
	// message asks for it (RFC 9477), else to Options.FeedbackAddress, else to the envelope sender.
	Complaint ReportKind = "complaint"
	// RedactedComplaint goes to the envelope sender, with no more than the message's header, the recipient cut out.
	RedactedComplaint ReportKind = "redacted-complaint"
	// AutoReply is an answer by a machine that says so (RFC 3834).
	AutoReply ReportKind = "auto-reply"
	// OutOfOffice is one that does not say so, as most do not: no Auto-Submitted field. It quotes the message's header.
	OutOfOffice ReportKind = "out-of-office"
)

// Letters returns how many mails a report of this kind is.
func (k ReportKind) Letters() int {
	switch k {
	case "":
		return 0
	case Delay, Replay:
		return 2
	}
	return 1
}

// Report is a late report that was sent or given up.
type Report struct {
	Kind      ReportKind
	Recipient string // of the message it is about
	MessageID string // of that message
	To        string // where it went
	At        time.Time
	Err       error // why it was given up; nil: the peer took it
}

// report is a late report that waits.
type report struct {
	kind ReportKind
	of   Received
	due  time.Time
}

var (
	errNoReturnPath = errors.New("practice: no return path is set")
	errTooMany      = errors.New("practice: too many late reports wait")
	errNoMX         = errors.New("practice: no mail host is known for the address")
	errNullSender   = errors.New("practice: the message came from the null sender: nobody to report to")
)

// reportTimeout bounds the dialogue of one report.
const reportTimeout = 30 * time.Second

// Report sends a late report about a message that was received, after Options.ReportDelay.
func (n *Internet) Report(kind ReportKind, of Received) {
	select {
	case n.late <- report{kind: kind, of: of, due: time.Now().Add(n.opts.ReportDelay)}:
	default:
		n.noteReport(kind, of, "", errTooMany)
	}
}

func (n *Internet) noteReport(kind ReportKind, of Received, to string, err error) {
	n.book.reported(Report{Kind: kind, Recipient: of.Recipient, MessageID: of.MessageID, To: to, At: n.opts.Now(), Err: err})
}

// sendReports sends what waits, in order: all have the same delay.
func (n *Internet) sendReports() {
	for {
		select {
		case r := <-n.late:
			t := time.NewTimer(time.Until(r.due))
			select {
			case <-t.C:
			case <-n.ctx.Done():
				t.Stop()
				return
			}
			n.sendReport(r)
		case <-n.ctx.Done():
			return
		}
	}
}

// sendReport sends the letters of one report.
func (n *Internet) sendReport(r report) {
	if r.of.Sender == "" {
		n.noteReport(r.kind, r.of, "", errNullSender) // RFC 5321 §4.5.5: never answer it
		return
	}
	for _, l := range n.letters(r) {
		addr, err := n.mailHost(l.to)
		if err == nil {
			err = n.send(addr, l.from, l.to, l.raw)
		}
		n.noteReport(r.kind, r.of, l.to, err)
	}
}

// mailHost finds where mail for an address goes: the MX of its domain in the practice zone, at the port AddHome was told;
// else the return path that was set for all.
func (n *Internet) mailHost(to string) (string, error) {
	_, domain, _ := strings.Cut(to, "@")
	host, ip := n.zone.mailHost(domain)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch port, ok := n.ports[host]; {
	case ok && ip.IsValid():
		return netip.AddrPortFrom(ip, port).String(), nil
	case n.returnPath != "":
		return n.returnPath, nil
	case len(n.ports) > 0:
		return "", errNoMX
	}
	return "", errNoReturnPath
}

// AddHome tells the name server of a domain whose mail is taken at addr: its MX is mx.domain. Late reports to addresses
// there go to it.
func (n *Internet) AddHome(domain string, addr netip.AddrPort) error {
	domain = strings.ToLower(domain)
	kind := "A"
	if addr.Addr().Is6() {
		kind = "AAAA"
	}
	for _, line := range []string{domain + ". MX 10 mx." + domain + ".", "mx." + domain + ". " + kind + " " + addr.Addr().String()} {
		if err := n.zone.add(line); err != nil {
			return fmt.Errorf("practice: home of %s: %w", domain, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports == nil {
		n.ports = map[string]uint16{}
	}
	n.ports["mx."+domain+"."] = addr.Port()
	return nil
}

// send hands one message to a listener, as a stranger's server would.
func (n *Internet) send(addr, from, to string, msg []byte) (err error) {
	ctx, cancel := context.WithTimeout(n.ctx, reportTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("practice: report to %s: %w", addr, err)
		}
	}()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := netsmtp.NewClient(conn, "mx1.mailbox.test")
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return c.Hello("mx1.mailbox.test") },
		func() error {
			if ok, _ := c.Extension("STARTTLS"); !ok {
				return nil
			}
			return c.StartTLS(&tls.Config{InsecureSkipVerify: true}) // as servers do: the name is not looked at
		},
		func() error { return c.Mail(from) },
		func() error { return c.Rcpt(to) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(msg); err != nil {
				return err
			}
			return w.Close()
		},
		c.Quit,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
