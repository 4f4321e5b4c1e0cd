package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// found is a page of a search, as the API tells it.
type found struct {
	Deliveries []delivery `json:"deliveries"`
	Next       string     `json:"next,omitempty"`
	SearchedTo time.Time  `json:"searched_to,omitzero"`
}

func newSearchCmd() *cobra.Command {
	var conn connection
	var p pager
	var when interval
	filters := map[string]*string{}
	cmd := &cobra.Command{
		Use: "search [ADDRESS]", Short: "Find deliveries, newest first", Args: cobra.MaximumNArgs(1),
		Long: `Finds deliveries by whatever is known of them. Recipient and Message-ID are found at once, however much there is; everything
else goes through the account's mail newest first. ADDRESS is short for --recipient. "postroad trace" shows what became of one
of them, attempt by attempt.`,
		Example: `  postroad search user@example.com
  postroad search --account shop --class policy-spam --receiver google --from 2026-03-01`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				to := filters["recipient"]
				if *to != "" || !strings.Contains(args[0], "@") {
					return usageError{fmt.Errorf("%.60q: want one recipient's whole address; --subject, --domain and others find by parts", args[0])}
				}
				*to = args[0]
			}
			q := url.Values{}
			for name, v := range filters {
				if *v != "" {
					q.Set(name, *v)
				}
			}
			if err := when.set(q, "from", "to"); err != nil {
				return err
			}
			setAll(q, map[string]string{"account": conn.account})
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			all := found{Deliveries: []delivery{}}
			all.Next, err = pages(cmd.Context(), c, "/v1/messages", q, p, func(page *found) (int, string) {
				all.Deliveries, all.SearchedTo = append(all.Deliveries, page.Deliveries...), page.SearchedTo
				return len(page.Deliveries), page.Next
			})
			if err != nil {
				return fmt.Errorf("search: %w", err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			all.print(conn.screen(cmd))
			conn.more(cmd, all.Next)
			return nil
		},
	}
	conn.add(cmd)
	f := cmd.Flags()
	for _, x := range [][3]string{
		{"recipient", "recipient", "recipient address"},
		{"message_id", "message-id", "Message-ID header field"},
		{"sender", "sender", "envelope or header sender: an address or a domain"},
		{"subject", "subject", "part of the subject"},
		{"domain", "domain", "recipient domain"},
		{"tag", "tag", "tag"},
		{"state", "state", "queued, held, deferred, delivered, relayed, bounced, expired, suppressed, cancelled"},
		{"class", "class", "bounce class"},
		{"stream", "stream", "transactional or bulk"},
		{"route", "route", "route of the last attempt"},
		{"source", "source", "source of the last attempt"},
		{"mx", "mx", "MX host of the last attempt; with a leading dot any host below the name"},
		{"receiver", "receiver", "mailbox provider, such as google"},
	} {
		v := new(string)
		filters[x[0]] = v
		f.StringVar(v, x[1], "", x[2])
	}
	when.add(cmd, "accepted")
	p.add(cmd)
	return cmd
}

func (p *found) print(w io.Writer) {
	if len(p.Deliveries) == 0 && p.Next == "" {
		hint(w, "nothing was found")
		return
	}
	rows := [][]string{{"ACCEPTED", "ACCOUNT", "RECIPIENT", "STATE", "CLASS", "SUBJECT", "DELIVERY"}}
	for _, d := range p.Deliveries {
		rows = append(rows, []string{clock(d.Created), d.Account, d.Recipient, d.standing(), d.Class, oneLine(d.Subject, 40), dim(d.ID)})
	}
	table(w, rows)
	if p.Next != "" && !p.SearchedTo.IsZero() {
		hint(w, dim("searched down to "+p.SearchedTo.UTC().Format(time.RFC3339)))
	}
}
