package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

func newTraceCmd() *cobra.Command {
	var conn connection
	var transcript bool
	cmd := &cobra.Command{
		Use: "trace ID", Short: "Show what happened to a message or delivery", Args: cobra.ExactArgs(1),
		Long: `Shows the timeline of a message (msg_…) or of one delivery (dlv_…): every attempt with the peer's reply word for
word, and while it is on its way what it waits for.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			t, err := trace(cmd, c, args[0])
			if err != nil {
				return fmt.Errorf("trace %s: %w", args[0], err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			t.print(cmd.OutOrStdout(), transcript)
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
}

func trace(cmd *cobra.Command, c *client.Client, id string) (*timeline, error) {
	t := &timeline{}
	if strings.HasPrefix(id, "dlv_") {
		var d delivery
		if err := c.Do(cmd.Context(), http.MethodGet, "/v1/deliveries/"+url.PathEscape(id), nil, nil, &d); err != nil {
			return nil, err
		}
		t.Deliveries = []delivery{d}
		return t, pages(cmd, c, "/v1/deliveries/"+url.PathEscape(id)+"/events", &t.Events)
	}
	m, err := getMessage(cmd.Context(), c, id)
	if err != nil {
		return nil, err
	}
	t.Message, t.Deliveries, m.Deliveries = m, m.Deliveries, nil
	return t, pages(cmd, c, "/v1/messages/"+url.PathEscape(id)+"/events", &t.Events)
}

// getMessage reads a message with all its deliveries.
func getMessage(ctx context.Context, c *client.Client, id string) (*message, error) {
	var whole *message
	q := url.Values{"max": {"1000"}}
	for {
		page := new(message)
		if err := c.Do(ctx, http.MethodGet, "/v1/messages/"+url.PathEscape(id), q, nil, page); err != nil {
			return nil, err
		}
		next := page.Next
		page.Next = ""
		if whole == nil {
			whole = page
		} else {
			whole.Deliveries = append(whole.Deliveries, page.Deliveries...)
		}
		if next == "" {
			return whole, nil
		}
		q.Set("cursor", next)
	}
}

// pages reads all pages of a list of events.
func pages(cmd *cobra.Command, c *client.Client, path string, out *[]event) error {
	q := url.Values{}
	for {
		var page struct {
			Events []event `json:"events"`
			Next   string  `json:"next"`
		}
		if err := c.Do(cmd.Context(), http.MethodGet, path, q, nil, &page); err != nil {
			return err
		}
		*out = append(*out, page.Events...)
		if page.Next == "" {
			return nil
		}
		q.Set("cursor", page.Next)
	}
}

func (t *timeline) print(w io.Writer, transcript bool) {
	if m := t.Message; m != nil {
		fmt.Fprintf(w, "%s  %s, account %s, %d octets\n", strong(m.ID), m.Stream, m.Account, m.Size)
		fmt.Fprintf(w, "  from %s, subject %q, accepted %s\n", orNull(m.From), m.Subject, clock(m.AcceptedAt))
	}
	byDelivery := map[string][]event{}
	for _, e := range t.Events {
		byDelivery[e.Delivery] = append(byDelivery[e.Delivery], e)
	}
	for i := range t.Deliveries {
		d := &t.Deliveries[i]
		fmt.Fprintf(w, "\n%s  %s  %s\n", strong(d.Recipient), paint(d.State), dim(d.ID))
		for _, e := range byDelivery[d.ID] {
			e.print(w, transcript)
		}
		if !d.final() {
			fmt.Fprintf(w, "  %s  waits: %s\n", strings.Repeat(" ", 8), d.Why)
			if !d.ExpiresAt.IsZero() {
				fmt.Fprintf(w, "  %s  given up at %s\n", strings.Repeat(" ", 8), clock(d.ExpiresAt))
			}
		}
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
