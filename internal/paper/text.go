package paper

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/figures"
)

// TextOptions say what the terminal can do.
type TextOptions struct {
	Width int                           // columns; 0: 100
	Paint func(key, text string) string // colours text for an outcome, a "head" or a "dim" remark; nil: no colours
}

// Bounds of the width a report is laid out for.
const (
	minWidth     = 60
	defaultWidth = 100
	maxWidth     = 160
)

// maxReply is how much is shown of a reply, in characters.
const maxReply = 200

// Text writes the report for a terminal. An error is the writer's.
func Text(w io.Writer, r *figures.Report, o TextOptions) error {
	if o.Width == 0 {
		o.Width = defaultWidth
	}
	if o.Paint == nil {
		o.Paint = func(_, text string) string { return text }
	}
	t := &screen{width: min(max(o.Width, minWidth), maxWidth), paint: o.Paint}
	t.report(r)
	_, err := io.WriteString(w, t.b.String())
	return err
}

type screen struct {
	b     strings.Builder
	width int
	paint func(key, text string) string
}

func (t *screen) line(format string, args ...any) {
	t.b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// sentence writes text over as many lines as it needs, each standing in; key paints it, "" does not.
func (t *screen) sentence(indent int, key, text string) {
	for line := range strings.Lines(wrap(text, t.width-indent)) {
		if line = strings.TrimSuffix(line, "\n"); key != "" {
			line = t.paint(key, line)
		}
		t.line("%s%s", strings.Repeat(" ", indent), line)
	}
}

func (t *screen) head(s string) { t.line("\n%s", t.paint("head", s)) }

func (t *screen) report(r *figures.Report) {
	t.line("%s, %s", t.paint("head", title(r)), r.Period)
	t.line("%s", t.paint("dim", "mail accepted in that time, as it stood at "+stamp(r.Made)))
	if r.Totals.Accepted == 0 {
		t.line("\nNo mail was accepted in this period.")
		t.arrived(r)
		return
	}
	t.line("")
	all := r.Totals.Accepted
	t.line("  %-13s %12s", "Accepted", number(all))
	bar := t.width - 2 - 13 - 1 - 12 - 1 - 9 - 2
	for _, p := range parts {
		n := p.Of(&r.Totals)
		if n == 0 && p.Key != "delivered" && p.Key != "bounced" {
			continue
		}
		t.line("  %s %12s %9s  %s", t.paint(p.Key, pad(p.Label, 13)), number(n), percent(n, all), t.paint(p.Key, blocks(n, all, bar)))
	}
	t.line("")
	x := &r.Totals
	for _, m := range some([]count{
		{x.Held, "held now, of those waiting"},
		{x.Deferred, word(x.Deferred, "delivery", "deliveries") + " put off at least once"},
		{x.Uncertain, word(x.Uncertain, "delivery", "deliveries") + " that may have arrived twice (uncertain)"},
		{x.Complained, word(x.Complained, "complaint", "complaints")},
		{x.AutoReplied, word(x.AutoReplied, "auto-reply", "auto-replies")},
		{x.Unsubscribed, "unsubscribed"},
	}) {
		t.line("  %12s  %s", number(m.N), m.Label)
	}
	t.sentence(2, "", speedLine(&r.Speed))
	t.arrived(r)
	t.classes(r)
	t.lists(r)
	t.b.WriteString("\n")
	for _, n := range footnotes(r)[1:] {
		t.sentence(0, "dim", n)
	}
}

func (t *screen) arrived(r *figures.Report) {
	a := r.Arrived
	if a == (figures.Arrived{}) {
		return
	}
	t.head("Reported in this period, about mail of any day")
	for _, m := range arrived(&a) {
		t.line("  %12s  %s", number(m.N), m.Label)
	}
}

func (t *screen) classes(r *figures.Report) {
	if len(r.Classes) == 0 {
		return
	}
	t.head("Bounces by class")
	var all int64
	for _, c := range r.Classes {
		all += c.Bounced + c.Late
	}
	rows := [][]string{{"CLASS", "AT ONCE", "LATE", "SHARE", ""}}
	for _, c := range r.Classes {
		rows = append(rows, []string{string(c.Class), number(c.Bounced), number(c.Late), percent(c.Bounced+c.Late, all), t.paint("bounced", blocks(c.Bounced+c.Late, all, 20))})
	}
	t.table(rows, " rrr ")
}

func (t *screen) lists(r *figures.Report) {
	if len(r.Domains) > 0 {
		t.head("Recipient domains where most failed")
		rows := [][]string{{"DOMAIN", "FAILED", "OF", "SHARE", "MOSTLY", "RECEIVER"}}
		for _, d := range r.Domains {
			rows = append(rows, []string{short(plain(d.Domain), 40), number(d.Failed), number(d.Over), percent(d.Failed, d.Over), string(d.Class), d.Receiver})
		}
		t.table(rows, " rrr  ")
	}
	if len(r.Receivers) > 0 {
		t.head("Mailbox providers where most failed")
		rows := [][]string{{"RECEIVER", "FAILED", "PUT OFF NOW", "MOSTLY"}}
		for _, x := range r.Receivers {
			rows = append(rows, []string{x.Receiver, number(x.Failed), number(x.Waiting), string(x.Class)})
		}
		t.table(rows, " rr ")
	}
	t.replies("Replies that ended most deliveries", r.Replies)
	t.replies("What those that wait were told", r.Waits)
	t.replies("Replies no rule understood", r.Unknown)
	if len(r.Senders) > 0 {
		t.head("Sender domains")
		rows := [][]string{{"DOMAIN", "ACCEPTED", "TAKEN", "FAILED", "LATE", "WAITING", "SHARE TAKEN"}}
		for _, s := range r.Senders {
			x := &s.Totals
			rows = append(rows, []string{short(plain(s.Domain), 40), number(x.Accepted), number(x.Taken()), number(x.Failed()), number(x.LateBounced), number(x.Waiting), percent(x.Taken(), x.Accepted)})
		}
		t.table(rows, " rrrrrr")
	}
}

func (t *screen) replies(head string, list []figures.Reply) {
	if len(list) == 0 {
		return
	}
	t.head(head)
	rows, below := [][]string{{"COUNT", "CLASS", "FROM"}}, []string{""}
	for _, x := range list {
		rows = append(rows, []string{number(x.Count), string(x.Class), short(plain(strings.Join(x.Domains, " ")), 40)})
		below = append(below, short(plain(sample(&x)), maxReply))
	}
	t.table(rows, "r  ", below...)
}

// sample is what is shown of a wording.
func sample(x *figures.Reply) string {
	if x.Sample == "" {
		return "(no words)"
	}
	return x.Sample
}

// table writes rows under the first; align says for each column: r right, else left. What is below a row follows it,
// standing in.
func (t *screen) table(rows [][]string, align string, below ...string) {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], visible(cell))
		}
	}
	for n, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			space := strings.Repeat(" ", max(0, widths[i]-visible(cell)))
			if n == 0 {
				cell = t.paint("dim", cell)
			}
			if align[i] == 'r' {
				cell = space + cell
			} else {
				cell += space
			}
			b.WriteString("  " + cell)
		}
		t.line("%s", b.String())
		if n < len(below) && below[n] != "" {
			t.sentence(2+widths[0]+2, "", below[n])
		}
	}
}

// visible is the width of text without its colours.
func visible(s string) int {
	n := 0
	for s != "" {
		if strings.HasPrefix(s, "\x1b[") {
			if end := strings.IndexByte(s, 'm'); end >= 0 {
				s = s[end+1:]
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(s)
		s, n = s[size:], n+1
	}
	return n
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) }

// blocks draws a bar of at most width columns. What is there shows as an eighth at least.
func blocks(n, all int64, width int) string {
	if n <= 0 || all <= 0 {
		return ""
	}
	eighths := max(1, int(figures.Share(n, all)*float64(8*width)+0.5))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}
