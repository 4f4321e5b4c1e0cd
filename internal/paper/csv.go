package paper

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/figures"
)

// CSV writes the report as a table of four columns: section, key (a time, class, domain, reply …), measure and value.
// Every figure is a row of its own, so that a spreadsheet can filter and pivot it. Times are RFC 3339, durations seconds.
func CSV(w io.Writer, r *figures.Report) error {
	t := &sheet{w: csv.NewWriter(w)}
	t.w.UseCRLF = true // RFC 4180 §2
	t.row("section", "key", "measure", "value")
	t.row("report", "", "account", r.Account)
	t.row("report", "", "from", r.Period.From.Format(time.RFC3339))
	t.row("report", "", "to", r.Period.To.Format(time.RFC3339))
	t.row("report", "", "made", r.Made.Format(time.RFC3339))
	if !r.KeptFrom.IsZero() {
		t.row("report", "", "kept_from", r.KeptFrom.Format(time.RFC3339))
	}
	t.totals("total", "", &r.Totals, true)
	for _, m := range []struct {
		name string
		n    int64
	}{
		{"late_bounces", r.Arrived.LateBounces},
		{"complaints", r.Arrived.Complaints},
		{"auto_replies", r.Arrived.AutoReplies},
		{"unsubscribes", r.Arrived.Unsubscribes},
		{"deferrals", r.Arrived.Deferrals},
	} {
		t.count("arrived", "", m.name, m.n)
	}
	for _, c := range r.Classes {
		t.count("class", string(c.Class), "bounced", c.Bounced)
		t.count("class", string(c.Class), "bounced_late", c.Late)
	}
	if r.Speed.Count > 0 {
		t.row("speed", "", "median_s", seconds(r.Speed.Median))
		t.row("speed", "", "p90_s", seconds(r.Speed.P90))
		t.row("speed", "", "p99_s", seconds(r.Speed.P99))
		t.row("speed", "", "mean_s", seconds(r.Speed.Mean))
		for _, x := range r.Speed.Within {
			t.count("speed", seconds(x.Max), "within", x.Count)
		}
	}
	for _, s := range r.Steps {
		t.totals("time", s.Time.Format(time.RFC3339), &s.Totals, false)
	}
	for _, s := range r.Senders {
		t.totals("sender", s.Domain, &s.Totals, false)
	}
	for _, d := range r.Domains {
		t.count("domain", d.Domain, "over", d.Over)
		t.count("domain", d.Domain, "failed", d.Failed)
		t.count("domain", d.Domain, "bounced_late", d.Late)
		t.row("domain", d.Domain, "class", string(d.Class))
		t.row("domain", d.Domain, "receiver", d.Receiver)
	}
	for _, x := range r.Receivers {
		t.count("receiver", x.Receiver, "failed", x.Failed)
		t.count("receiver", x.Receiver, "waiting", x.Waiting)
		t.row("receiver", x.Receiver, "class", string(x.Class))
	}
	t.replies("reply", r.Replies)
	t.replies("waiting_reply", r.Waits)
	t.replies("unknown_reply", r.Unknown)
	t.w.Flush()
	return t.w.Error()
}

type sheet struct{ w *csv.Writer }

// row writes one; the writer keeps the first error.
func (t *sheet) row(cells ...string) {
	for i, c := range cells {
		cells[i] = harmless(plain(c))
	}
	_ = t.w.Write(cells)
}

func (t *sheet) count(section, key, measure string, n int64) {
	t.row(section, key, measure, strconv.FormatInt(n, 10))
}

func (t *sheet) totals(section, key string, x *figures.Totals, marks bool) {
	t.count(section, key, "accepted", x.Accepted)
	for _, p := range parts {
		name := p.Key
		if name == "late" {
			name = "bounced_late"
		}
		t.count(section, key, name, p.Of(x))
	}
	if !marks {
		return
	}
	t.count(section, key, "held", x.Held)
	t.count(section, key, "deferred", x.Deferred)
	t.count(section, key, "uncertain", x.Uncertain)
	t.count(section, key, "complained", x.Complained)
	t.count(section, key, "auto_replied", x.AutoReplied)
	t.count(section, key, "unsubscribed", x.Unsubscribed)
}

func (t *sheet) replies(section string, list []figures.Reply) {
	for _, x := range list {
		t.count(section, x.Fingerprint, "count", x.Count)
		t.row(section, x.Fingerprint, "class", string(x.Class))
		t.row(section, x.Fingerprint, "sample", x.Sample)
		t.row(section, x.Fingerprint, "domains", strings.Join(x.Domains, " "))
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// harmless keeps a spreadsheet from taking foreign text for a formula. Some take the wide forms of the signs as well.
func harmless(cell string) string {
	if first, _ := utf8.DecodeRuneInString(cell); cell != "" && strings.ContainsRune("=+-@\uff1d\uff0b\uff0d\uff20", first) {
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return "'" + cell
		}
	}
	return cell
}
