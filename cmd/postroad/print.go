package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fatih/color"
)

// Colours; the library leaves them out where the output is no terminal or NO_COLOR is set.
var (
	good   = color.New(color.FgGreen).SprintFunc()
	bad    = color.New(color.FgRed).SprintFunc()
	warn   = color.New(color.FgYellow).SprintFunc()
	dim    = color.New(color.Faint).SprintFunc()
	strong = color.New(color.Bold).SprintFunc()
)

// paint colours the word for a result or an event type.
func paint(result string) string {
	switch result {
	case "delivered", "relayed":
		return good(result)
	case "bounced", "expired", "rejected", "complained":
		return bad(result)
	case "deferred", "held", "suppressed", "cancelled":
		return warn(result)
	}
	return result
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// oneLine puts a reply on one line of at most max columns.
func oneLine(s string, max int) string {
	s = foreign(strings.Join(strings.Fields(s), " "))
	if columns(s) <= max {
		return s
	}
	n := 1 // for the ellipsis
	for i, r := range s {
		if n += runeColumns(r); n > max {
			return s[:i] + "…"
		}
	}
	return s
}

// clock shows a time of today by its hour, another with its date; both with the zone, for customers and peers have others.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.Local()
	if time.Since(t).Abs() < 20*time.Hour {
		return t.Format("15:04:05Z07:00")
	}
	return t.Format("2006-01-02 15:04Z07:00")
}

// span shows a duration in its two largest units.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
