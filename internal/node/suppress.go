package node

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/submission"
)

// openSuppressions makes the suppression list, and the actor that keeps it by what becomes of mail.
func (n *Node) openSuppressions() (err error) {
	n.suppress, err = manage.NewSuppressions(manage.SuppressionOptions{
		Store:  n.store,
		Known:  func(account string) bool { return n.manager.Snapshot().Account(account) != nil },
		Logger: n.log.With("component", "suppressions"),
	})
	if err != nil {
		return err
	}
	n.actor, err = feedback.NewActor(feedback.ActorOptions{
		Store: n.store, Spool: n.spool.ID(), Act: n.suppress.Act, Vague: n.vague, Alert: n.alerts.Tell,
		Progress: n.follower(), Logger: n.log.With("component", "suppressions"),
	})
	return err
}

// suppressedMeanwhile says whether the address of a delivery that was accepted has come on the suppression list. What the
// platform writes to an account's contact goes out all the same, as at acceptance; it cannot be told here from the
// account's own transactional mail to its contact, which goes with it.
func (n *Node) suppressedMeanwhile(ctx context.Context, account string, stream mail.Stream, a mail.Address) (why string, is bool, err error) {
	x, is, err := n.suppress.Suppressed(ctx, account, stream, a)
	if is && stream == mail.Transactional && submission.IsContact(n.manager.Snapshot(), account, a) {
		return "", false, nil
	}
	return x.Reason, is, err
}

// vague reports whether a bounce rule, of those in use, may put nobody on the list.
func (n *Node) vague(rule string) bool {
	for _, r := range n.ruleFolder.current().Rules() {
		if r.ID == rule {
			return r.Vague
		}
	}
	return false
}

// suppressCollector reads the counters of the suppression list and of what keeps it.
type suppressCollector struct {
	n                         *Node
	keys, ops, acted, doubted *prometheus.Desc
}

func newSuppressCollector(n *Node) *suppressCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postroad_"+name, help, labels, nil)
	}
	return &suppressCollector{
		n:       n,
		keys:    desc("suppression_keys", "Addresses on the suppression list, once for each account, as they are in memory."),
		ops:     desc("suppression_operations_total", "What the suppression list did since the start: asked, lookups (of them, those the store was asked for), hits (of them, those on the list), added, removed.", "operation"),
		acted:   desc("suppression_events_total", "Events looked at since the start, those counted against their address, and those that put it on the list: seen, counted, suppressed.", "result"),
		doubted: desc("suppression_receivers_doubted", "Receivers that call recipients unknown so unusually often that they are not believed at once."),
	}
}

// Describe implements prometheus.Collector.
func (c *suppressCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.keys, c.ops, c.acted, c.doubted} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *suppressCollector) Collect(ch chan<- prometheus.Metric) {
	count, acted := c.n.suppress.Counts(), c.n.actor.Stats()
	ch <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(c.n.suppress.Len()))
	ch <- prometheus.MustNewConstMetric(c.doubted, prometheus.GaugeValue, float64(acted.Guarded))
	for op, v := range map[string]uint64{
		"asked": count.Asked.Load(), "lookups": count.Lookups.Load(), "hits": count.Hits.Load(), "added": count.Added.Load(), "removed": count.Removed.Load(),
	} {
		ch <- prometheus.MustNewConstMetric(c.ops, prometheus.CounterValue, float64(v), op)
	}
	for result, v := range map[string]uint64{"seen": acted.Seen, "counted": acted.Counted, "suppressed": acted.Suppressed} {
		ch <- prometheus.MustNewConstMetric(c.acted, prometheus.CounterValue, float64(v), result)
	}
}
