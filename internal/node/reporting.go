package node

import (
	"context"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/reporting"
)

// openReporting joins what reports are made of.
func (n *Node) openReporting(receivers *mx.Table) (err error) {
	n.reporting, err = reporting.New(reporting.Options{
		Record: n.store, Waiting: n.waiting, Fingerprint: bounce.Fingerprint, Receiver: receivers.Host, Replies: n.store, Spool: n.spool.ID(),
		HostsOf: func(name string) []string { return hostsOf(receivers, name) }, Retention: time.Duration(n.cfg.Store.RetentionDays) * 24 * time.Hour,
		Logger: n.log.With("component", "reporting"),
	})
	return err
}

// hostsOf lists the hosts of a mailbox provider.
func hostsOf(receivers *mx.Table, name string) []string {
	r, _ := receivers.Get(name)
	return slices.Concat(r.Suffixes, r.Hosts)
}

// waiting lists what waits in the queue.
func (n *Node) waiting(ctx context.Context, account string, before time.Time, cursor string, max int) (out []reporting.Waiting, next string, err error) {
	list, next, err := n.queue.List(ctx, queue.Filter{Account: account, Before: before}, cursor, max)
	for _, x := range list {
		out = append(out, reporting.Waiting{Delivery: x.Delivery, Why: x.Why})
	}
	return out, next, err
}
