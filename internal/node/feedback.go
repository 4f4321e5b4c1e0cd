package node

import (
	"context"
	"net/netip"

	"github.com/postroad/postroad/internal/authcheck"
	"github.com/postroad/postroad/internal/feedback"
)

// openFeedback makes the reader of what comes back.
func (n *Node) openFeedback() (err error) {
	n.feedback, err = feedback.New(feedback.Options{
		Inbox: n.spool, Store: n.store, Key: n.returnKey, Rules: n.ruleFolder.current, LookupTXT: n.lookupTXT, Alert: n.alerts.Tell,
		Forward: n.forwarder(), SPF: n.checkSPF, ClockDoubted: n.clockDoubted,
		Logger: n.log.With("component", "feedback"),
	})
	return err
}

// lookupTXT asks for the records of a name, for the keys of signatures.
func (n *Node) lookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := n.resolver.TXT(ctx, name)
	return a.Records, err
}

// Received tells the reader that a door has put something into the inbox. It never blocks.
func (n *Node) Received() { n.feedback.Wake() }

// clockDoubted reports whether nothing may expire by the clock at the moment.
func (n *Node) clockDoubted() bool { return n.queue != nil && n.queue.ClockDoubted() }

// checkSPF asks whether a host may send for a domain.
func (n *Node) checkSPF(ctx context.Context, ip netip.Addr, local, domain, helo string) string {
	return string((&authcheck.SPF{Resolver: n.resolver}).Check(ctx, ip, local, domain, helo))
}
