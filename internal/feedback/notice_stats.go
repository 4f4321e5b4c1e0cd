package feedback

import (
	"sync/atomic"

	"github.com/postroad/postroad/internal/report"
)

// NoticeStats counts what a Notifier did since its start. After a crash some may be counted twice.
type NoticeStats struct {
	Failures, Delays, Successes, Replies, Summaries uint64 // mails written
	Over                                            uint64 // recipients left to a summary
	Refused                                         uint64 // mails that could not be accepted
}

type noticeCounters struct {
	failures, delays, successes, replies, summaries, over, refused atomic.Uint64
}

// written counts a mail of that kind.
func (c *noticeCounters) written(kind report.Kind) {
	switch kind {
	case report.Bounce:
		c.failures.Add(1)
	case report.Delay:
		c.delays.Add(1)
	case report.Delivered:
		c.successes.Add(1)
	case report.AutoReply:
		c.replies.Add(1)
	}
}

// Stats returns the counts.
func (n *Notifier) Stats() NoticeStats {
	c := &n.stats
	return NoticeStats{
		Failures: c.failures.Load(), Delays: c.delays.Load(), Successes: c.successes.Load(), Replies: c.replies.Load(),
		Summaries: c.summaries.Load(), Over: c.over.Load(), Refused: c.refused.Load(),
	}
}
