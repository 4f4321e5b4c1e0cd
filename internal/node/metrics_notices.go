package node

import "github.com/prometheus/client_golang/prometheus"

// noticeCollector shows what bounce mailboxes brought and what submitters were told.
type noticeCollector struct {
	n                              *Node
	written, over, reading, mailed *prometheus.Desc
}

func newNoticeCollector(n *Node) *noticeCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postroad_"+name, help, labels, nil)
	}
	return &noticeCollector{
		n:       n,
		written: desc("notices_total", "Mails to submitters since the start: failure, delay, success, reply, summary, refused.", "kind"),
		over:    desc("notices_over_total", "Recipients of which submitters were told in a summary alone."),
		reading: desc("mailboxes_reading", "Bounce mailboxes that are logged in and read."),
		mailed:  desc("mailboxes_total", "Since the start: reports taken from bounce mailboxes, log-ins refused, sessions lost.", "what"),
	}
}

// Describe implements prometheus.Collector.
func (c *noticeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.written, c.over, c.reading, c.mailed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *noticeCollector) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.n.notices.Stats()
	for kind, v := range map[string]uint64{
		"failure": s.Failures, "delay": s.Delays, "success": s.Successes, "reply": s.Replies, "summary": s.Summaries, "refused": s.Refused,
	} {
		count(c.written, v, kind)
	}
	count(c.over, s.Over)
	m := c.n.mailboxes.Stats()
	ch <- prometheus.MustNewConstMetric(c.reading, prometheus.GaugeValue, float64(m.Reading))
	for what, v := range map[string]uint64{"reports": m.Reports, "logins_refused": m.Refused, "sessions_lost": m.Sessions} {
		count(c.mailed, v, what)
	}
}
