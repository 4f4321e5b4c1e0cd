package paper

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/figures"
)

// part is one of the outcomes that add up to what was accepted, in the order they are shown.
type part struct {
	Key   string // names its colour
	Label string
	About string
	Of    func(*figures.Totals) int64
}

var parts = []part{
	{"delivered", "Delivered", "accepted by the recipient's mail server and not bounced since; it does not mean the inbox", func(t *figures.Totals) int64 { return t.Delivered }},
	{"relayed", "Relayed", "taken by a gateway or provider, no failure reported", func(t *figures.Totals) int64 { return t.Relayed }},
	{"bounced", "Bounced", "refused by the recipient's server when it was handed over", func(t *figures.Totals) int64 { return t.Bounced }},
	{"late", "Bounced late", "taken at first, and reported as undeliverable afterwards", func(t *figures.Totals) int64 { return t.LateBounced }},
	{"expired", "Expired", "not taken by anybody before its time was over", func(t *figures.Totals) int64 { return t.Expired }},
	{"suppressed", "Suppressed", "not sent: the address is on the suppression list", func(t *figures.Totals) int64 { return t.Suppressed }},
	{"cancelled", "Cancelled", "taken out of the queue", func(t *figures.Totals) int64 { return t.Cancelled }},
	{"waiting", "Waiting", "no outcome yet: queued, put off or held", func(t *figures.Totals) int64 { return t.Waiting }},
}

// title names the report.
func title(r *figures.Report) string {
	if r.Account == "" {
		return "Delivery report of the platform"
	}
	return "Delivery report of " + r.Account
}

// number groups digits by three.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// word is the form of a word that goes with a number.
func word(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// percent shows a share. What is there, however little, never shows as 0 %, and what is missing never as 100 %.
func percent(n, all int64) string {
	p := 100 * figures.Share(n, all)
	switch {
	case all <= 0:
		return "-"
	case n == all:
		return "100 %"
	case n > 0 && p < 0.01:
		return "<0.01 %"
	case p >= 99.99:
		return ">99.99 %"
	case p < 1 || p > 99:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// span says a time in its largest unit that keeps it a number people read.
func span(d time.Duration) string {
	switch {
	case d >= figures.Beyond:
		return "more than 96 h"
	case d >= 2*time.Hour:
		return trimmed(d.Hours()) + " h"
	case d >= 2*time.Minute:
		return trimmed(d.Minutes()) + " min"
	case d >= time.Second:
		return trimmed(d.Seconds()) + " s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

func trimmed(x float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") }

// within says a bound of speeds.
func within(d time.Duration) string {
	if d >= figures.Beyond {
		return ">96 h"
	}
	switch {
	case d >= time.Hour:
		return "≤" + trimmed(d.Hours()) + " h"
	case d >= time.Minute:
		return "≤" + trimmed(d.Minutes()) + " min"
	}
	return "≤" + span(d)
}

// speedLine says how soon mail was taken, in one sentence.
func speedLine(s *figures.Speed) string {
	if s.Count == 0 {
		return "Nothing was taken yet."
	}
	if s.Median >= figures.Beyond {
		return fmt.Sprintf("Half of the %s deliveries took more than 96 h.", number(s.Count))
	}
	return fmt.Sprintf("Half of the mail was taken within %s, 90 %% within %s, 99 %% within %s; %s on average.",
		span(s.Median), span(s.P90), span(s.P99), span(s.Mean))
}

// plain makes foreign text harmless where control characters mean something: on a terminal, in CSV, in a mail.
func plain(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), r == utf8.RuneError, unicode.Is(unicode.Cf, r): // no escapes, no bidi overrides
			return '\uFFFD'
		}
		return r
	}, s)), " ")
}

// short cuts a text to at most max characters.
func short(s string, max int) string {
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	r := []rune(s)
	return string(r[:max-1]) + "…"
}

// stamp says a time to the minute.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// footnotes say what the words of a report mean.
func footnotes(r *figures.Report) []string {
	notes := []string{
		"Counted are deliveries: one message to one recipient each. All figures but those under “Reported in this period” are about the mail accepted in the period, as it stood at " + stamp(r.Made) + "; a report that comes later changes them.",
		"Delivered means accepted by the recipient's mail server. It does not mean that the mail lies in the inbox.",
	}
	if !r.KeptFrom.IsZero() {
		notes = append(notes, "The record keeps nothing of the days before "+r.KeptFrom.UTC().Format(time.DateOnly)+": mail accepted earlier is not counted, or not all of it.")
	}
	if r.Partial {
		notes = append(notes, fmt.Sprintf("Receivers and replies were taken from the newest %s of the deliveries that failed or were put off.", number(r.Examined)))
	}
	return notes
}
