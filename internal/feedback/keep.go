package feedback

import (
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/store"
)

// maxIdle is how much is kept of the mail of a report that changed nothing, in octets: enough to see what it was. Whoever has
// once got a mail of ours can send such reports without end.
const maxIdle = 64 << 10

// shorten leaves of a report that changed nothing what shows what it was. What made an event, what the operator is to read, and
// what could not be read is kept whole.
func (x *reading) shorten() {
	row := x.row
	switch {
	case row.Outcome == store.ReportActed, row.Outcome == store.ReportKept, row.Outcome == store.ReportSetAside, row.Mailbox != "":
		return
	}
	kept, cut := report.Shorten(x.entry.Raw, maxIdle)
	row.Raw, row.Size, row.Truncated = kept, int64(len(kept)), row.Truncated+cut
}
