package feedback

import (
	"cmp"
	"slices"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Count is how many reports of one kind, evidence and outcome were read since the start.
type Count struct {
	Kind     string
	Evidence mail.Evidence
	Outcome  store.ReportOutcome
	N        uint64
}

// counters count reports; for any number of goroutines.
type counters struct {
	mu sync.Mutex
	m  map[Count]uint64
}

func (c *counters) count(row *store.StoredReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[Count]uint64{}
	}
	c.m[Count{Kind: row.Kind, Evidence: row.Evidence, Outcome: row.Outcome}]++
}

// Counts returns what was read since the start, in a fixed order. It may be called at any time.
func (r *Reader) Counts() []Count {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	list := make([]Count, 0, len(r.stats.m))
	for c, n := range r.stats.m {
		c.N = n
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Evidence, b.Evidence), cmp.Compare(a.Outcome, b.Outcome))
	})
	return list
}

// Kinds of alerts.
const (
	alertUnreadable = "report-unreadable"
	alertFlood      = "operator-mail-flood"
)

// tell alerts the operator to what needs one, once it is committed.
func (r *Reader) tell(x *reading) {
	if x.aside {
		r.o.Alert(platform.Alert{
			Kind: alertUnreadable, Scope: "reports",
			Message: "report " + x.row.ID.String() + " could not be read and was set aside with its mail: " + x.row.Why,
		})
	}
	if x.row.Outcome == store.ReportForged {
		r.log.Warn("a report is forged", mail.LogEvent, "report_forged", "report", x.row.ID.String(), mail.LogClient, x.row.Client, "why", x.row.Why)
	}
}
