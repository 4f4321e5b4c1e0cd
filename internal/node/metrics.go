package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collector reads the gauges and counters of rooms that keep plain figures, once per scrape. No label names an account
// or a domain: their number has no bound.
type collector struct {
	n    *Node
	live *prometheus.Desc
	part *prometheus.Desc
	out  *prometheus.Desc
	ops  *prometheus.Desc
	lag  *prometheus.Desc
	age  *prometheus.Desc
	free *prometheus.Desc
	rdy  *prometheus.Desc
	back *prometheus.Desc
}

func newCollector(n *Node) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postroad_"+name, help, labels, nil)
	}
	return &collector{
		n:    n,
		live: desc("spool_entries", "What the spool holds now: deliveries, held, in_flight, messages, outbox, inbox, quarantined.", "kind"),
		part: desc("queue_entries", "What the queue has in memory now: queues, lanes, loaded, in_flight, sessions, resting.", "kind"),
		out:  desc("deliveries_total", "Results of attempts and ends of deliveries since the start: delivered, relayed, deferred, bounced, suppressed, expired, cancelled, held, uncertain.", "result"),
		ops:  desc("queue_operations_total", "What the queue did since the start: added, paged, picked, sessions_opened, lane_rests.", "operation"),
		lag:  desc("record_lag_events", "Events committed and not yet in the record."),
		age:  desc("record_lag_seconds", "Age of the oldest event not yet in the record."),
		free: desc("disk_free_bytes", "Free space on the disk of the spool."),
		rdy:  desc("ready", "1 if mail is taken in."),
		back: desc("reports_total", "Reports read since the start, by kind, evidence and outcome.", "kind", "evidence", "outcome"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.live, c.part, c.out, c.ops, c.lag, c.age, c.free, c.rdy, c.back} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.n.spool.Counts()
	for kind, v := range map[string]int64{
		"deliveries": s.Deliveries, "held": s.Held, "in_flight": s.InFlight, "messages": s.Messages, "outbox": s.Outbox,
		"inbox": s.Inbox, "quarantined": s.Quarantined,
	} {
		gauge(c.live, float64(v), kind)
	}
	q := c.n.queue.Stats()
	for kind, v := range map[string]int{
		"queues": q.Queues, "lanes": q.Lanes, "loaded": q.Loaded, "in_flight": q.InFlight, "sessions": q.Sessions, "resting": q.Resting,
	} {
		gauge(c.part, float64(v), kind)
	}
	for result, v := range map[string]uint64{
		"delivered": q.Delivered, "relayed": q.Relayed, "deferred": q.Deferred, "bounced": q.Bounced, "suppressed": q.Suppressed,
		"expired": q.Expired, "cancelled": q.Cancelled, "held": q.HeldEvents, "uncertain": q.Uncertain,
	} {
		count(c.out, v, result)
	}
	for op, v := range map[string]uint64{"added": q.Added, "paged": q.Paged, "picked": q.Picked, "sessions_opened": q.SessionsOpened, "lane_rests": q.LaneRests} {
		count(c.ops, v, op)
	}
	for _, r := range c.n.feedback.Counts() {
		count(c.back, r.N, r.Kind, string(r.Evidence), string(r.Outcome))
	}
	p := c.n.projector.Status()
	gauge(c.lag, float64(p.Lag))
	gauge(c.age, p.Delay.Seconds())
	gauge(c.free, float64(c.n.spool.Space().Free))
	ready := 0.0
	if len(c.n.NotReady()) == 0 {
		ready = 1
	}
	gauge(c.rdy, ready)
}

func (n *Node) registerMetrics() error {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postroad_build_info", Help: "1, with the version as label.", ConstLabels: prometheus.Labels{"version": BuildVersion()},
	})
	info.Set(1)
	for _, c := range []prometheus.Collector{
		info, newCollector(n), newSuppressCollector(n), newNoticeCollector(n), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := n.registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}
