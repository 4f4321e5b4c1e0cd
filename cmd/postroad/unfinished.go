package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// unfinished is a page of what has no final outcome, as the API tells it.
type unfinished struct {
	Before time.Time `json:"before"`
	Counts []struct {
		State string `json:"state"`
		Class string `json:"class,omitempty"`
		Count int64  `json:"count"`
	} `json:"counts,omitempty"`
	Deliveries []struct {
		ID        string    `json:"id"`
		Message   string    `json:"message"`
		Account   string    `json:"account"`
		Stream    string    `json:"stream"`
		Recipient string    `json:"recipient"`
		State     string    `json:"state"`
		Class     string    `json:"class,omitempty"`
		Why       string    `json:"why"`
		Attempts  int       `json:"attempts"`
		Reply     string    `json:"reply,omitempty"`
		Accepted  time.Time `json:"accepted_at"`
		Next      time.Time `json:"next,omitzero"`
		ExpiresAt time.Time `json:"expires_at,omitzero"`
	} `json:"deliveries"`
	Next string `json:"next,omitempty"`
}

func newUnfinishedCmd() *cobra.Command {
	var conn connection
	var older timeSpan
	var p pager
	cmd := &cobra.Command{
		Use: "unfinished", Short: "Deliveries without a final outcome, and why", Args: cobra.NoArgs,
		Long: `Lists everything that has no final outcome: what waits in the queue, with what it waits for, and what a relay took less
than five days ago and has not reported on. The counts are of everything; the list comes in pages.`,
		Example: `  postroad unfinished --account shop --older 1h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if older.Duration > 0 {
				q.Set("older", older.Duration.String())
			}
			setAll(q, map[string]string{"account": conn.account})
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var all *unfinished
			next, err := pages(cmd.Context(), c, "/v1/unfinished", q, p, func(page *unfinished) (int, string) {
				if n := len(page.Deliveries); all != nil {
					all.Deliveries = append(all.Deliveries, page.Deliveries...)
					return n, page.Next
				}
				all = page
				return len(page.Deliveries), page.Next
			})
			if err != nil {
				return fmt.Errorf("unfinished: %w", err)
			}
			if all.Next = next; conn.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			all.print(conn.screen(cmd), p.cursor == "")
			conn.more(cmd, next)
			return nil
		},
	}
	conn.add(cmd)
	cmd.Flags().Var(&older, "older", "only what was accepted at least so long ago, such as 1h or 2d")
	p.add(cmd)
	return cmd
}

// because says a state and class in words.
func because(state, class string) string {
	switch {
	case state == "relayed":
		return "relayed, no failure reported yet"
	case class != "":
		return state + ", " + class
	}
	return state
}

func (u *unfinished) print(w io.Writer, first bool) {
	if len(u.Deliveries) == 0 && len(u.Counts) == 0 && u.Next == "" {
		hint(w, "everything has a final outcome")
		return
	}
	if first {
		rows := [][]string{{"COUNT", "STATE"}}
		for _, c := range u.Counts {
			rows = append(rows, []string{strconv.FormatInt(c.Count, 10), because(c.State, c.Class)})
		}
		table(w, rows)
		fmt.Fprintln(w)
	}
	rows := [][]string{{"ACCEPTED", "ACCOUNT", "RECIPIENT", "STATE", "TRIED", "NEXT", "WHY"}}
	for _, d := range u.Deliveries {
		rows = append(rows, []string{clock(d.Accepted), d.Account, d.Recipient, paint(d.State), strconv.Itoa(d.Attempts), clock(d.Next), oneLine(d.Why, 240)})
	}
	table(w, rows)
}
