package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/postroad/postroad/internal/mail"
)

// timeForms says how a time is written on a command line.
const timeForms = "2026-01-31T12:00:00Z, 2026-01-31 (UTC), or 6h, 3d or 2w for how long ago"

// moment reads a time, a day, or how long ago.
func moment(s string, now time.Time) (time.Time, error) {
	if d, err := mail.ParseSpan(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: want %s", s, timeForms)
}

// timeSpan is a flag for a span of time.
type timeSpan struct{ time.Duration }

// Set implements pflag.Value.
func (s *timeSpan) Set(text string) (err error) {
	s.Duration, err = mail.ParseSpan(text)
	return err
}

// String implements pflag.Value; "" is none.
func (s *timeSpan) String() string {
	if s.Duration == 0 {
		return ""
	}
	text := s.Duration.String() // "24h0m0s"
	for _, idle := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, idle) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Type implements pflag.Value.
func (s *timeSpan) Type() string { return "span" }

// interval are the flags --from and --to, also written --since and --until.
type interval struct{ from, to string }

func (i *interval) add(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "since":
			name = "from"
		case "until":
			name = "to"
		}
		return pflag.NormalizedName(name)
	})
	f.StringVar(&i.from, "from", "", what+" then or later: "+timeForms)
	f.StringVar(&i.to, "to", "", what+" before then, written likewise")
}

// read returns the times in the form of the API, "" for none.
func (i *interval) read(now time.Time) (from, to string, err error) {
	for _, x := range []struct {
		name, text string
		into       *string
	}{{"from", i.from, &from}, {"to", i.to, &to}} {
		if x.text == "" {
			continue
		}
		at, err := moment(x.text, now)
		if err != nil {
			return "", "", usageError{fmt.Errorf("--%s: %w", x.name, err)}
		}
		*x.into = at.UTC().Format(time.RFC3339)
	}
	return from, to, nil
}

// set puts the times into a query, under those names.
func (i *interval) set(q url.Values, from, to string) error {
	a, b, err := i.read(time.Now())
	if a != "" {
		q.Set(from, a)
	}
	if b != "" {
		q.Set(to, b)
	}
	return err
}

// setAll puts values that are not empty into a query.
func setAll(q url.Values, values map[string]string) {
	for name, v := range values {
		if v != "" {
			q.Set(name, v)
		}
	}
}
