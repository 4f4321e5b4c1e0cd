package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

type erasure struct {
	ID      string `json:"id"`
	Account string `json:"account,omitempty"`
	Hash    string `json:"hash"`
	Marker  string `json:"marker"`
	State   string `json:"state"`
	Waiting string `json:"waiting,omitempty"`
	Counts  struct {
		Deliveries int64 `json:"deliveries"`
		Events     int64 `json:"events"`
		Messages   int64 `json:"messages"`
		Reports    int64 `json:"reports"`
		Archived   int64 `json:"archived"`
		Shared     int64 `json:"shared"`
		Entries    int64 `json:"entries"`
		Lines      int64 `json:"lines"`
	} `json:"counts"`
}

func newEraseCmd() *cobra.Command {
	var conn connection
	var body struct {
		Recipient string `json:"recipient"`
		Account   string `json:"account,omitempty"`
		Suppress  bool   `json:"suppress,omitempty"`
		Note      string `json:"note,omitempty"`
	}
	var noWait bool
	cmd := &cobra.Command{
		Use: "erase --recipient ADDRESS", Short: "Take a person out of record, archive and search", Args: cobra.NoArgs,
		Long: `Takes an address and what is kept about it out of the record, the archive and the logs: recipients, replies that name it,
dialogues, subjects and content of messages that went to nobody else, reports. Rows stay with a marker in place of the
address, so that counts and timelines stay true. What waits for the address is cancelled. If it is suppressed it stays so,
by a hash. A legal hold that covers something of it refuses the erasure.

Event files (JSONL) are rewritten: a log system that follows them by inode reads them again, with the same event ids.

Not touched: backups (a restored one brings the person back: erase again after a restore), exports, logs, what webhooks told
other systems, and content that went to others as well. What the spool wrote of settled mail is overwritten by its own
housekeeping.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if body.Recipient == "" {
				return usageError{fmt.Errorf("name the address with --recipient")}
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			body.Account = conn.account
			var e erasure
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/erasures", nil, body, &e); err != nil {
				return fmt.Errorf("erase: %w", err)
			}
			told := ""
			for !noWait && e.State == "running" {
				if e.Waiting != told {
					told = e.Waiting
					fmt.Fprintln(cmd.ErrOrStderr(), "waiting:", told)
				}
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(pollEvery):
				}
				if err := c.Do(cmd.Context(), http.MethodGet, "/v1/erasures/"+url.PathEscape(e.ID), nil, nil, &e); err != nil {
					return fmt.Errorf("erase: %w", err)
				}
			}
			if conn.json {
				if err := printJSON(cmd.OutOrStdout(), e); err != nil {
					return err
				}
			} else {
				n := e.Counts
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  marker %s\n", strong(e.ID), e.State, e.Marker)
				fmt.Fprintf(cmd.OutOrStdout(), "  deliveries %d, events %d, messages %d, reports %d, archived %d, log entries %d, lines of event files %d\n",
					n.Deliveries, n.Events, n.Messages, n.Reports, n.Archived, n.Entries, n.Lines)
				if n.Deliveries+n.Events+n.Messages+n.Reports+n.Archived+n.Shared+n.Entries+n.Lines == 0 && e.State == "done" {
					fmt.Fprintln(cmd.OutOrStdout(), warn("  nothing was found of this address; is it spelt right?"))
				}
				if n.Shared > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "  %s\n", warn(fmt.Sprintf("%d archived messages went to others too: their content stays, and may name the person", n.Shared)))
				}
				if e.State == "done" {
					fmt.Fprintln(cmd.OutOrStdout(), dim("  not touched: backups and exports made before now (a restored backup brings the person back: erase again), logs, and what\n  webhooks told other systems"))
				}
				if e.Waiting != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "  %s\n", warn(e.Waiting))
				}
			}
			if e.State == "refused" {
				return exitError{exitNotAsWanted}
			}
			return nil
		},
	}
	conn.add(cmd)
	f := cmd.Flags()
	f.StringVar(&body.Recipient, "recipient", "", "address of the person")
	f.BoolVar(&body.Suppress, "suppress", false, "keep mail from the address from now on, by a hash, also if it was not suppressed")
	f.StringVar(&body.Note, "note", "", "why; for the audit log (do not name the person)")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until it is done")
	return cmd
}
