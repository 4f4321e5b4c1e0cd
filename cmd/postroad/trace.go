package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/mail"

	"github.com/postroad/postroad/internal/client"
)

func newTraceCmd() *cobra.Command {
	var conn connection
	var transcript bool
	cmd := &cobra.Command{
		Use: "trace ID", Short: "Show what happened to a message or delivery", Args: cobra.ExactArgs(1),
		Long: `Shows the timeline of a message (msg_…) or of one delivery (dlv_…): every attempt with the peer's reply word for
word, and while it is on its way what it waits for.`,
		Example: `  postroad trace msg_01kq5v6v3se2hbmphnkjpe6k0m
  postroad trace dlv_01kq5v6v3se2hbmphnkjpe6k0n --transcript`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(args[0], "@") {
				return usageError{fmt.Errorf("%.60q is an address: postroad search %[1]q lists the deliveries to it", args[0])}
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			t, err := trace(cmd, c, args[0])
			if err == nil {
				err = t.idleReports(cmd.Context(), c)
			}
			if err != nil {
				return fmt.Errorf("trace %s: %w", args[0], err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			t.print(conn.screen(cmd), transcript)
			return nil
		},
	}
	conn.add(cmd)
	cmd.Flags().BoolVar(&transcript, "transcript", false, "show the dialogue of each attempt where it was kept")
	return cmd
}

// timeline is what is known of a message or delivery.
type timeline struct {
	Message    *message   `json:"message,omitempty"`
	Deliveries []delivery `json:"deliveries"`
	Events     []event    `json:"events"`
	AsOf       time.Time  `json:"as_of,omitzero"` // what happened since may be missing: the record is behind
	// Reports that came on a single delivery and changed nothing: "we have a bounce, and you say delivered".
	Reports []cameIn `json:"reports,omitempty"`
}

// maxIdleReports bounds the reports shown that changed nothing.
const maxIdleReports = 20

func trace(cmd *cobra.Command, c *client.Client, id string) (*timeline, error) {
	t := &timeline{}
	if strings.HasPrefix(id, "dlv_") {
		var d delivery
		if err := c.Do(cmd.Context(), http.MethodGet, "/v1/deliveries/"+url.PathEscape(id), nil, nil, &d); err != nil {
			return nil, err
		}
		var all struct {
			Events []event   `json:"events"`
			AsOf   time.Time `json:"as_of"`
		}
		err := c.Do(cmd.Context(), http.MethodGet, "/v1/deliveries/"+url.PathEscape(id)+"/events", nil, nil, &all)
		t.Deliveries, t.Events, t.AsOf = []delivery{d}, all.Events, all.AsOf
		return t, err
	}
	m, err := getMessage(cmd.Context(), c, id)
	if err != nil {
		return nil, err
	}
	t.Message, t.Deliveries, m.Deliveries = m, m.Deliveries, nil
	t.Events, t.AsOf, err = allEvents(cmd.Context(), c, "/v1/messages/"+url.PathEscape(id)+"/events")
	return t, err
}

// idleReports looks for reports on a single delivery that changed nothing.
func (t *timeline) idleReports(ctx context.Context, c *client.Client) error {
	if len(t.Deliveries) != 1 {
		return nil
	}
	d := &t.Deliveries[0]
	q := url.Values{"delivery": {d.ID}, "max": {strconv.Itoa(maxIdleReports)}}
	if !d.Created.IsZero() {
		q.Set("from", d.Created.UTC().Format(time.RFC3339))
	}
	var page cameInPage
	if err := c.Do(ctx, http.MethodGet, "/v1/feedback", q, nil, &page); err != nil {
		return fmt.Errorf("reports on it: %w", err)
	}
	for i := range page.Reports {
		for _, about := range page.Reports[i].Deliveries {
			if about.Delivery == d.ID && about.Event == "" {
				page.Reports[i].Why = about.Why
				t.Reports = append(t.Reports, page.Reports[i])
			}
		}
	}
	return nil
}

// getMessage reads a message with all its deliveries.
func getMessage(ctx context.Context, c *client.Client, id string) (*message, error) {
	var whole *message
	_, err := pages(ctx, c, "/v1/messages/"+url.PathEscape(id), nil, pager{}, func(page *message) (int, string) {
		next := page.Next
		page.Next = ""
		if whole == nil {
			whole = page
		} else {
			whole.Deliveries = append(whole.Deliveries, page.Deliveries...)
		}
		return len(page.Deliveries), next
	})
	return whole, err
}

// allEvents reads a list of events. asOf is not zero where some may be missing.
func allEvents(ctx context.Context, c *client.Client, path string) (all []event, asOf time.Time, err error) {
	type list struct {
		Events []event   `json:"events"`
		Next   string    `json:"next"`
		AsOf   time.Time `json:"as_of"`
	}
	_, err = pages(ctx, c, path, nil, pager{}, func(page *list) (int, string) {
		all, asOf = append(all, page.Events...), page.AsOf
		return len(page.Events), page.Next
	})
	return all, asOf, err
}

func (t *timeline) print(w io.Writer, transcript bool) {
	if m := t.Message; m != nil {
		fmt.Fprintf(w, "%s  %s, account %s, %d octets\n", strong(m.ID), m.Stream, m.Account, m.Size)
		fmt.Fprintf(w, "  from %s, subject %q, accepted %s\n", orNull(m.From), m.Subject, clock(m.AcceptedAt))
		if m.ResentOf != "" {
			fmt.Fprintf(w, "  sends %s again\n", m.ResentOf)
		}
		if len(m.ResentAs) > 0 {
			fmt.Fprintf(w, "  sent again as %s\n", strings.Join(m.ResentAs, ", "))
		}
	}
	byDelivery := map[string][]event{}
	for _, e := range t.Events {
		byDelivery[e.Delivery] = append(byDelivery[e.Delivery], e)
	}
	for i := range t.Deliveries {
		d := &t.Deliveries[i]
		fmt.Fprintf(w, "\n%s  %s  %s\n", strong(d.Recipient), d.standing(), dim(d.ID))
		if t.Message == nil {
			fmt.Fprintf(w, "  of %s, account %s, from %s, subject %q\n", d.Message, d.Account, orNull(d.Sender), d.Subject)
		}
		for _, e := range byDelivery[d.ID] {
			e.print(w, transcript)
		}
		for _, r := range slices.Backward(t.Reports) { // they come newest first
			fmt.Fprintf(w, "  %-8s  a report (%s) changed nothing: %s\n            %s\n", clock(r.Received), r.Kind, r.Why, r.ID)
		}
		if !d.final() {
			fmt.Fprintf(w, "  %s  waits: %s\n", strings.Repeat(" ", 8), strings.TrimPrefix(d.Why, "waiting: "))
			if !d.ExpiresAt.IsZero() {
				fmt.Fprintf(w, "  %s  given up at %s\n", strings.Repeat(" ", 8), clock(d.ExpiresAt))
			}
		}
	}
	if !t.AsOf.IsZero() {
		hint(w, dim("the record is behind: what happened since "+clock(t.AsOf)+" may be missing"))
	}
}

func (e *event) print(w io.Writer, transcript bool) {
	line := fmt.Sprintf("  %s  %s", clock(e.Time), paint(e.Type))
	if e.Late {
		line += " (late)"
	}
	if e.Class != "" {
		line += "  " + e.Class
	}
	if e.Reason != "" {
		line += "  " + e.Reason
	}
	fmt.Fprintln(w, line)
	a := e.Attempt
	if a == nil {
		return
	}
	const indent = "            "
	if e.Report != nil {
		fmt.Fprintf(w, "%s%s\n", indent, e.Report.line())
		if a.Reply != "" {
			fmt.Fprintf(w, "%s%s\n", indent, strings.ReplaceAll(a.Reply, "\n", "\n"+indent+"  "))
		}
		return
	}
	if e.Type == string(mail.EventExpired) {
		return // it has none of its own: the last one's answer stands in its reason
	}
	fmt.Fprintf(w, "%sattempt %d by %s; %s\n", indent, a.N, a.where(), dim(a.times()))
	if a.TLSNote != "" {
		fmt.Fprintf(w, "%sTLS: %s\n", indent, a.TLSNote)
	}
	if a.Reply != "" {
		fmt.Fprintf(w, "%sat %s: %s\n", indent, a.Stage, strings.ReplaceAll(a.Reply, "\n", "\n"+indent+"  "))
	}
	if a.Uncertain {
		fmt.Fprintf(w, "%s%s\n", indent, warn("uncertain: the connection ended between our final dot and the reply; it may arrive twice"))
	}
	if !e.Next.IsZero() {
		fmt.Fprintf(w, "%snext attempt %s\n", indent, clock(e.Next))
	}
	if transcript && a.Transcript != "" {
		for line := range strings.Lines(a.Transcript) {
			fmt.Fprintf(w, "%s| %s", indent, dim(line))
		}
		fmt.Fprintln(w)
	}
}

func orNull(s string) string {
	if s == "" {
		return "<>"
	}
	return s
}
