package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

// suppressionEntry is an entry of the suppression list as the API tells it.
type suppressionEntry struct {
	Account  string    `json:"account,omitempty"`
	Stream   string    `json:"stream,omitempty"`
	Address  string    `json:"address"`
	Class    string    `json:"class"`
	Reason   string    `json:"reason"`
	Actor    string    `json:"actor"`
	Origin   string    `json:"origin,omitempty"`
	Receiver string    `json:"receiver,omitempty"`
	Since    time.Time `json:"since"`
	Expires  time.Time `json:"expires,omitzero"`
	InForce  bool      `json:"in_force"`
}

// row shows an entry in a table headed by suppressionHead.
func (e *suppressionEntry) row() []string {
	account, stream, expires := e.Account, e.Stream, "never"
	if account == "" {
		account = "(platform)"
	}
	if stream == "" {
		stream = "both"
	}
	if !e.Expires.IsZero() {
		if expires = clock(e.Expires); !e.InForce {
			expires = dim("expired " + expires)
		}
	}
	return []string{e.Address, account, stream, e.Class, clock(e.Since), expires, e.Actor, oneLine(e.Reason, 80)}
}

var suppressionHead = []string{"ADDRESS", "ACCOUNT", "STREAM", "CLASS", "SINCE", "EXPIRES", "BY", "REASON"}

// suppressionFilter are the flags that select entries.
type suppressionFilter struct {
	Platform bool   `json:"platform,omitempty"`
	Stream   string `json:"stream,omitempty"`
	Class    string `json:"class,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Contains string `json:"contains,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Receiver string `json:"receiver,omitempty"`
	Actor    string `json:"actor,omitempty"`
	Since    string `json:"since,omitempty"`
	Until    string `json:"until,omitempty"`

	when interval
}

func (f *suppressionFilter) add(cmd *cobra.Command) {
	s := cmd.Flags()
	s.BoolVar(&f.Platform, "platform", false, "entries of the whole platform only")
	s.StringVar(&f.Stream, "stream", "", "transactional or bulk")
	s.StringVar(&f.Class, "class", "", "invalid-recipient, invalid-domain, inactive, mailbox-full, complaint, unsubscribe, manual")
	s.StringVar(&f.Reason, "reason", "", "the whole reason")
	s.StringVar(&f.Contains, "contains", "", "part of the address")
	s.StringVar(&f.Domain, "domain", "", "domain of the address")
	s.StringVar(&f.Receiver, "receiver", "", "who refused: mailbox provider, else site")
	s.StringVar(&f.Actor, "by", "", "who made it; automatic: made of an event")
	f.when.add(cmd, "made")
}

// times puts since and until into the form of the API.
func (f *suppressionFilter) times() (err error) {
	f.Since, f.Until, err = f.when.read(time.Now())
	return err
}

// query is the filter as parameters of a request.
func (f *suppressionFilter) query() url.Values {
	q := url.Values{}
	for name, v := range map[string]string{
		"stream": f.Stream, "class": f.Class, "reason": f.Reason, "contains": f.Contains, "domain": f.Domain, "receiver": f.Receiver,
		"actor": f.Actor, "since": f.Since, "until": f.Until,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.Platform {
		q.Set("platform", "true")
	}
	return q
}

func newSuppressCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "suppress", Short: "The suppression list: who must not be mailed, and why", Args: cobra.NoArgs, GroupID: "use",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSuppressListCmd(), newSuppressCheckCmd(), newSuppressAddCmd(), newSuppressRemoveCmd(),
		newSuppressImportCmd(), newSuppressExportCmd(), newSuppressUndoCmd())
	return cmd
}

// sub makes the connection flags of a sub-command, which has no group.
func (c *connection) sub(cmd *cobra.Command) {
	c.add(cmd)
	cmd.GroupID = ""
}

func newSuppressListCmd() *cobra.Command {
	var conn connection
	var f suppressionFilter
	var p pager
	cmd := &cobra.Command{
		Use: "list", Short: "List entries", Args: cobra.NoArgs,
		Example: `  postroad suppress list --account shop --class complaint --from 7d
  postroad suppress list --platform --max 0 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.times(); err != nil {
				return err
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			type entries struct {
				Suppressions []suppressionEntry `json:"suppressions"`
				Next         string             `json:"next,omitempty"`
			}
			list := entries{Suppressions: []suppressionEntry{}}
			list.Next, err = pages(cmd.Context(), c, "/v1/suppressions", f.query(), p, func(page *entries) (int, string) {
				list.Suppressions = append(list.Suppressions, page.Suppressions...)
				return len(page.Suppressions), page.Next
			})
			if err != nil {
				return fmt.Errorf("suppress list: %w", err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			if len(list.Suppressions) == 0 {
				hint(conn.screen(cmd), "nobody is on the list")
				return nil
			}
			rows := [][]string{suppressionHead}
			for i := range list.Suppressions {
				rows = append(rows, list.Suppressions[i].row())
			}
			table(conn.screen(cmd), rows)
			conn.more(cmd, list.Next)
			return nil
		},
	}
	conn.sub(cmd)
	f.add(cmd)
	p.add(cmd)
	return cmd
}

func newSuppressCheckCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "check ADDRESS", Short: "Is an address suppressed, and why (exit code 3 if it is)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var out struct {
				Address       string             `json:"address"`
				Transactional bool               `json:"transactional"`
				Bulk          bool               `json:"bulk"`
				Entries       []suppressionEntry `json:"entries"`
			}
			if err := c.Do(cmd.Context(), http.MethodGet, "/v1/suppressions/"+url.PathEscape(args[0]), nil, nil, &out); err != nil {
				return fmt.Errorf("suppress check: %w", err)
			}
			w := conn.screen(cmd)
			if conn.json {
				if err := printJSON(cmd.OutOrStdout(), out); err != nil {
					return err
				}
			} else {
				switch {
				case out.Transactional && out.Bulk:
					fmt.Fprintln(w, out.Address, bad("is suppressed"))
				case out.Transactional || out.Bulk:
					stream := "bulk"
					if out.Transactional {
						stream = "transactional"
					}
					fmt.Fprintln(w, out.Address, warn("is suppressed for "+stream+" mail"))
				default:
					fmt.Fprintln(w, out.Address, good("is not suppressed"))
				}
				if len(out.Entries) > 0 {
					rows := [][]string{suppressionHead}
					for i := range out.Entries {
						rows = append(rows, out.Entries[i].row())
					}
					table(w, rows)
				}
			}
			if out.Transactional || out.Bulk {
				return exitError{exitNotAsWanted}
			}
			return nil
		},
	}
	conn.sub(cmd)
	return cmd
}

func newSuppressAddCmd() *cobra.Command {
	var conn connection
	var entry struct{ stream, class, reason, expires, note string }
	var platformWide bool
	cmd := &cobra.Command{
		Use: "add ADDRESS...", Short: "Put addresses on the list", Args: cobra.MinimumNArgs(1),
		Long: `Puts addresses, or hashes of addresses (sha256:…), on an account's list: the key's own, or as operator that of
--account; --platform on the list that holds for every account.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"note": entry.note, "platform": platformWide}
			var list []map[string]any
			for _, a := range args {
				x := map[string]any{"address": a}
				for name, v := range map[string]string{"stream": entry.stream, "class": entry.class, "reason": entry.reason} {
					if v != "" {
						x[name] = v
					}
				}
				if entry.expires != "" {
					t, err := deadline(entry.expires, time.Now())
					if err != nil {
						return usageError{err}
					}
					x["expires"] = t.UTC().Format(time.RFC3339)
				}
				list = append(list, x)
			}
			body["suppressions"] = list
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var out struct {
				Suppressions []suppressionEntry `json:"suppressions"`
			}
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/suppressions", nil, body, &out); err != nil {
				return fmt.Errorf("suppress add: %w", byAddress(err, args))
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			rows := [][]string{suppressionHead}
			for i := range out.Suppressions {
				rows = append(rows, out.Suppressions[i].row())
			}
			table(conn.screen(cmd), rows)
			return nil
		},
	}
	conn.sub(cmd)
	s := cmd.Flags()
	s.BoolVar(&platformWide, "platform", false, "the whole platform's list")
	s.StringVar(&entry.stream, "stream", "", "transactional or bulk; without it both, and bulk for complaint and unsubscribe")
	s.StringVar(&entry.class, "class", "", "what it rests on; without it manual")
	s.StringVar(&entry.reason, "reason", "", "why, in words")
	s.StringVar(&entry.expires, "expires", "", "when it ends: 2026-01-31T12:00:00Z, 2026-01-31, or 720h or 30d from now; without it never")
	s.StringVar(&entry.note, "note", "", "stands in the audit log")
	return cmd
}

// byAddress puts the address into a problem that the API tells by its place in the request.
func byAddress(err error, addresses []string) error {
	var p *client.Problem
	if !errors.As(err, &p) {
		return err
	}
	for i := range p.Errors {
		var n int
		if _, err := fmt.Sscanf(p.Errors[i].Field, "suppressions[%d]", &n); err == nil && n < len(addresses) {
			p.Errors[i].Field = oneLine(addresses[n], 100)
		}
	}
	return err
}

// deadline reads a time to come, or how long from now.
func deadline(s string, now time.Time) (time.Time, error) {
	t, err := moment(s, now)
	if err == nil && t.Before(now) {
		if ahead := now.Add(now.Sub(t)); !strings.Contains(s, "-") {
			return ahead, nil // a duration
		}
	}
	return t, err
}

func newSuppressRemoveCmd() *cobra.Command {
	var conn connection
	var platformWide bool
	var stream, note string
	cmd := &cobra.Command{
		Use: "remove ADDRESS", Short: "Take one entry off the list", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if platformWide {
				q.Set("platform", "true")
			}
			if stream != "" {
				q.Set("stream", stream)
			}
			if note != "" {
				q.Set("note", note)
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			if err := c.Do(cmd.Context(), http.MethodDelete, "/v1/suppressions/"+url.PathEscape(args[0]), q, nil, nil); err != nil {
				return fmt.Errorf("suppress remove: %w", err)
			}
			if !conn.json {
				fmt.Fprintln(cmd.OutOrStdout(), args[0], "is off the list")
			}
			return nil
		},
	}
	conn.sub(cmd)
	s := cmd.Flags()
	s.BoolVar(&platformWide, "platform", false, "the whole platform's entry")
	s.StringVar(&stream, "stream", "", "the entry of that stream; without it the one for both")
	s.StringVar(&note, "note", "", "why; it stands in the audit log")
	return cmd
}

// importReport is what came of an import.
type importReport struct {
	Columns    []string `json:"columns"`
	Lines      int64    `json:"lines"`
	Added      int64    `json:"added"`
	Replaced   int64    `json:"replaced"`
	Unchanged  int64    `json:"unchanged"`
	Refused    int64    `json:"refused"`
	DryRun     bool     `json:"dry_run,omitempty"`
	Incomplete string   `json:"incomplete,omitempty"`
	Problems   []struct {
		Line   int    `json:"line"`
		Detail string `json:"detail"`
	} `json:"problems"`
}

// shownProblems is how many refused lines are printed.
const shownProblems = 20

func (r *importReport) print(w io.Writer) {
	fmt.Fprintf(w, "columns: %s\n", strings.Join(r.Columns, ", "))
	verb := "added"
	if r.DryRun {
		verb = "good"
	}
	fmt.Fprintf(w, "%d lines: %d %s, %d replaced, %d already there, %d refused\n", r.Lines, r.Added, verb, r.Replaced, r.Unchanged, r.Refused)
	for i, p := range r.Problems {
		if i == shownProblems {
			break
		}
		fmt.Fprintf(w, "  line %d: %s\n", p.Line, p.Detail)
	}
	if n := r.Refused - int64(min(len(r.Problems), shownProblems)); n > 0 {
		fmt.Fprintf(w, "  and %d more (--json lists the first 1,000)\n", n)
	}
	if r.DryRun {
		fmt.Fprintln(w, warn("nothing was stored: this was a dry run"))
	}
	if r.Incomplete != "" {
		fmt.Fprintln(w, bad("incomplete: "+r.Incomplete))
	}
}

func newSuppressImportCmd() *cobra.Command {
	var conn connection
	var in struct{ stream, class, reason, note string }
	var platformWide, dryRun bool
	cmd := &cobra.Command{
		Use: "import FILE.csv", Short: "Merge a list in CSV into the list (exit code 3 if lines were refused)", Args: cobra.ExactArgs(1),
		Long: `Reads addresses from a CSV file, "-" from standard input, of any length. With a header, columns are found by their
names: address or email, and class, reason, stream, account, since, expires; also by the names SendGrid, Postmark, Mailgun
and SES give them in their exports. Without one the first column is the address and the second the reason. An entry of the
list that lasts longer than the one of the file stays. Lines that cannot be read are refused one by one and listed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			for name, v := range map[string]string{"stream": in.stream, "class": in.class, "reason": in.reason, "note": in.note} {
				if v != "" {
					q.Set(name, v)
				}
			}
			if platformWide {
				q.Set("platform", "true")
			}
			if dryRun {
				q.Set("dry_run", "true")
			}
			file := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("suppress import: %w", err)
				}
				defer f.Close()
				if info, err := f.Stat(); err == nil && info.IsDir() {
					return usageError{fmt.Errorf("%s is a folder; name a CSV file", args[0])}
				}
				file = f
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			body, err := c.Stream(cmd.Context(), http.MethodPost, "/v1/suppressions/import", q, "text/csv", file)
			if err != nil {
				return fmt.Errorf("suppress import %s: %w", args[0], err)
			}
			defer body.Close()
			var r importReport
			if err := json.NewDecoder(body).Decode(&r); err != nil {
				return fmt.Errorf("suppress import %s: read the answer: %w", args[0], err)
			}
			if conn.json {
				if err := printJSON(cmd.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				r.print(conn.screen(cmd))
			}
			switch {
			case r.Incomplete != "":
				return exitError{exitFailure}
			case r.Refused > 0:
				return exitError{exitNotAsWanted}
			}
			return nil
		},
	}
	conn.sub(cmd)
	s := cmd.Flags()
	s.BoolVar(&platformWide, "platform", false, "lines that name no account go on the whole platform's list")
	s.StringVar(&in.stream, "stream", "", "of lines that name none: transactional or bulk; without it both, and bulk for complaint and unsubscribe")
	s.StringVar(&in.class, "class", "", "of lines that name none; without it manual")
	s.StringVar(&in.reason, "reason", "", "of lines that give none")
	s.StringVar(&in.note, "note", "", "why; it stands in the audit log")
	s.BoolVar(&dryRun, "dry-run", false, "only read the file, and list what would be refused")
	return cmd
}

func newSuppressExportCmd() *cobra.Command {
	var conn connection
	var f suppressionFilter
	var to string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the list as CSV, as import reads it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.times(); err != nil {
				return err
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			if err := exportSuppressions(cmd, c, &f, to); err != nil {
				return fmt.Errorf("suppress export: %w", err)
			}
			return nil
		},
	}
	conn.sub(cmd)
	f.add(cmd)
	cmd.Flags().StringVarP(&to, "output", "o", "", "file to write; it must not exist; without it standard output")
	return cmd
}

// exportSuppressions writes the entries a filter selects to a new file, or to standard output where none is named.
func exportSuppressions(cmd *cobra.Command, c *client.Client, f *suppressionFilter, to string) (err error) {
	body, err := c.Stream(cmd.Context(), http.MethodGet, "/v1/suppressions/export", f.query(), "", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	out := cmd.OutOrStdout()
	if to != "" {
		var file *os.File
		if file, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Sync(), file.Close()) }()
		out = file
	}
	w := bufio.NewWriterSize(out, 64<<10)
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("it broke off: %w", err)
	}
	return w.Flush()
}

func newSuppressUndoCmd() *cobra.Command {
	var conn connection
	var f suppressionFilter
	var dryRun bool
	var note, save string
	cmd := &cobra.Command{
		Use: "undo", Short: "Remove all entries that a filter selects, as after a receiver's mistake", Args: cobra.NoArgs,
		Long: `Removes all entries that the flags select, in one step, and forgets the failures they rested on, so that the next one
begins to count anew. At least one condition is needed. --dry-run only counts. Entries of people who complained or
unsubscribed go only if their class is named. What was removed is not kept, but with --save: "postroad suppress import FILE"
puts what it wrote back on the list.

  postroad suppress undo --receiver google --class invalid-recipient --from 2026-01-31T12:00:00Z --to 2026-01-31T16:00:00Z`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.times(); err != nil {
				return err
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var out struct {
				Count  int64 `json:"count"`
				DryRun bool  `json:"dry_run,omitempty"`
			}
			undo := func(dryRun bool) error {
				return c.Do(cmd.Context(), http.MethodPost, "/v1/suppressions/undo", nil, struct {
					suppressionFilter
					DryRun bool   `json:"dry_run,omitempty"`
					Note   string `json:"note,omitempty"`
				}{f, dryRun, note}, &out)
			}
			if save != "" && !dryRun {
				if err := undo(true); err != nil { // what is refused is refused before a file is made
					return fmt.Errorf("suppress undo: %w", err)
				}
				if f.Until == "" { // what comes on the list after it was saved stays there
					f.Until = time.Now().UTC().Format(time.RFC3339Nano)
				}
				if err := exportSuppressions(cmd, c, &f, save); err != nil {
					return fmt.Errorf("suppress undo: nothing was removed: %w", err)
				}
			}
			if err := undo(dryRun); err != nil {
				return fmt.Errorf("suppress undo: %w", err)
			}
			switch {
			case conn.json:
				return printJSON(cmd.OutOrStdout(), out)
			case dryRun:
				fmt.Fprintf(cmd.OutOrStdout(), "%d entries would be removed\n", out.Count)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%d entries removed\n", out.Count)
			}
			return nil
		},
	}
	conn.sub(cmd)
	f.add(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count them")
	cmd.Flags().StringVar(&save, "save", "", "file to write them to before, as suppress export does; it must not exist")
	cmd.Flags().StringVar(&note, "note", "", "why; it stands in the audit log")
	return cmd
}
