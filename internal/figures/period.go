package figures

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Period is the time a report is about: whole days of UTC, To exclusive.
type Period struct {
	Name string    `json:"name"` // as it was asked for: "yesterday", "2026-03"
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// MaxPeriod is the longest period, in days: two leap years' worth, far beyond what records keep.
const MaxPeriod = 732

const day = 24 * time.Hour

const dateLayout = "2006-01-02"

var daysBack = regexp.MustCompile(`^([1-9][0-9]{0,2})d$`)

// PeriodForms says what ParsePeriod reads.
const PeriodForms = "today, yesterday, 7d (or any number of days, today included), 2026-03 (a month), 2026-03-15 (a day), 2026-03-01..2026-03-15 (both included)"

// ParsePeriod reads a period; days are those of UTC, and now says which is today. Its error says what forms there are.
func ParsePeriod(text string, now time.Time) (Period, error) {
	today := now.UTC().Truncate(day)
	p := Period{Name: text}
	switch {
	case text == "today":
		p.From, p.To = today, today.Add(day)
	case text == "yesterday":
		p.From, p.To = today.Add(-day), today
	case daysBack.MatchString(text):
		n, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
		if err != nil {
			return Period{}, badPeriod(text)
		}
		p.From, p.To = today.Add(day).AddDate(0, 0, -n), today.Add(day)
	case strings.Contains(text, ".."):
		first, last, _ := strings.Cut(text, "..")
		from, err := time.Parse(dateLayout, first)
		if err != nil {
			return Period{}, badPeriod(text)
		}
		to, err := time.Parse(dateLayout, last)
		if err != nil {
			return Period{}, badPeriod(text)
		}
		if to.Before(from) {
			return Period{}, fmt.Errorf("figures: period %.40q ends before it begins", text)
		}
		p.From, p.To = from, to.Add(day)
	case len(text) == len("2006-01"):
		from, err := time.Parse("2006-01", text)
		if err != nil {
			return Period{}, badPeriod(text)
		}
		p.From, p.To = from, from.AddDate(0, 1, 0)
	default:
		from, err := time.Parse(dateLayout, text)
		if err != nil {
			return Period{}, badPeriod(text)
		}
		p.From, p.To = from, from.Add(day)
	}
	if p.Days() > MaxPeriod {
		return Period{}, fmt.Errorf("figures: period %.40q is longer than %d days", text, MaxPeriod)
	}
	return p, nil
}

func badPeriod(text string) error {
	return fmt.Errorf("figures: %.40q is no period; want %s", text, PeriodForms)
}

// Days is how many days the period has.
func (p Period) Days() int { return int(p.To.Sub(p.From) / day) }

// String says the period in words: its days, both included.
func (p Period) String() string {
	first, last := p.From.Format(dateLayout), p.To.Add(-day).Format(dateLayout)
	if first == last {
		return first + " (UTC)"
	}
	return first + " to " + last + " (UTC)"
}

// Step is the width of one column over time: an hour where the period is a day or two, else a day.
func (p Period) Step() time.Duration {
	if p.Days() <= 2 {
		return time.Hour
	}
	return day
}
