package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/paper"
)

func newReportCmd() *cobra.Command {
	var conn connection
	var period, format, out string
	cmd := &cobra.Command{
		Use: "report", Short: "What became of an account's mail in a period", Args: cobra.NoArgs,
		Long: `Says what became of the mail an account handed in during a period: delivered, relayed, bounced by class (at once, or
late by a report), expired, suppressed, still waiting; how soon it was taken; where it fails worst, and in which words.
An operator who names no account gets the report of the whole platform.

The period counts days of UTC: ` + figures.PeriodForms + `.`,
		Example: `  postroad report --account shop --period 2026-03
  postroad report --account shop --period 30d --format html --output report.html`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if conn.json {
				format = "json"
			}
			if _, err := figures.ParsePeriod(period, time.Now()); err != nil {
				return usageError{fmt.Errorf("--period %.40q: want %s", period, figures.PeriodForms)}
			}
			q := url.Values{"period": {period}}
			if conn.account != "" {
				q.Set("account", conn.account)
			}
			w, done, err := output(cmd, out)
			if err != nil {
				return err
			}
			switch format {
			case "text":
				err = conn.get(cmd, "/v1/reports", q, &figures.Report{}, func(_ io.Writer, v any) {
					_ = paper.Text(w, v.(*figures.Report), screen(w))
				})
			case "json":
				r := &figures.Report{}
				if err = conn.do(cmd, http.MethodGet, "/v1/reports", q, nil, r); err == nil {
					err = printJSON(w, r)
				}
			case "csv", "html":
				q.Set("format", format)
				err = conn.copy(cmd, "/v1/reports", q, w)
			default:
				err = usageError{fmt.Errorf("--format %q: want text, json, csv or html", format)}
			}
			if err != nil {
				return fmt.Errorf("report: %w", done(err))
			}
			return done(nil)
		},
	}
	conn.add(cmd)
	cmd.Flags().StringVar(&period, "period", "7d", "days of UTC")
	cmd.Flags().StringVar(&format, "format", "text", "text, json, csv or html")
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write instead of standard output")
	return cmd
}

// output is where a command writes a document: standard output, or the file of that name. done ends it: a file that was
// not written in full is removed.
func output(cmd *cobra.Command, name string) (w io.Writer, done func(error) error, err error) {
	if name == "" || name == "-" {
		return cmd.OutOrStdout(), func(err error) error { return err }, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it may name customers
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = os.Remove(name)
		}
		return err
	}, nil
}

// screen tells what the terminal behind w can do. COLUMNS says how wide it is where the system does not.
func screen(w io.Writer) paper.TextOptions {
	var o paper.TextOptions
	if f, ok := terminalOf(w); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width = width
		}
	} else if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		o.Width = n
	}
	if color.NoColor {
		return o
	}
	o.Paint = func(key, text string) string {
		switch key {
		case "head":
			return strong(text)
		case "dim":
			return dim(text)
		case "delivered", "relayed":
			return good(text)
		case "bounced", "late", "expired":
			return bad(text)
		}
		return warn(text)
	}
	return o
}
