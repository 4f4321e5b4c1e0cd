package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

type auditEntry struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	Version int64     `json:"version,omitempty"`
	Before  string    `json:"before,omitempty"`
	After   string    `json:"after,omitempty"`
	Secrets []string  `json:"secrets,omitempty"`
	Note    string    `json:"note,omitempty"`
}

func newAuditCmd() *cobra.Command {
	var conn connection
	var kind, name, actor string
	var long bool
	var when interval
	var p pager
	cmd := &cobra.Command{
		Use: "audit", Short: "Who changed what, and who looked at what was sent; newest first", Args: cobra.NoArgs,
		Example: `  postroad audit --kind account --name shop --long
  postroad audit --actor operator/local --max 0 --json
  postroad audit --since 7d`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			setAll(q, map[string]string{"kind": kind, "name": name, "actor": actor})
			if err := when.set(q, "since", "until"); err != nil {
				return err
			}
			type entries struct {
				Items []auditEntry `json:"items"`
				Next  string       `json:"next,omitempty"`
			}
			list := entries{Items: []auditEntry{}}
			list.Next, err = pages(cmd.Context(), c, "/v1/audit", q, p, func(page *entries) (int, string) {
				list.Items = append(list.Items, page.Items...)
				return len(page.Items), page.Next
			})
			if err != nil {
				return fmt.Errorf("audit: %w", err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			printAudit(conn.screen(cmd), list.Items, long)
			conn.more(cmd, list.Next)
			return nil
		},
	}
	conn.add(cmd)
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "of this kind: account, route, hold, legal_hold, queue, message, archive …")
	f.StringVar(&name, "name", "", "about the entry of this name, or the message of this id")
	f.StringVar(&actor, "actor", "", "done by: operator/local, credential/ACCOUNT/NAME")
	when.add(cmd, "done")
	p.add(cmd)
	f.BoolVar(&long, "long", false, "show each entry before and after")
	return cmd
}

func printAudit(w io.Writer, list []auditEntry, long bool) {
	if len(list) == 0 {
		hint(w, "no entries")
		return
	}
	if !long {
		rows := [][]string{{"ID", "TIME", "ACTOR", "ACTION", "KIND", "NAME", "NOTE"}}
		for _, a := range list {
			rows = append(rows, []string{strconv.FormatInt(a.ID, 10), a.At.UTC().Format(time.RFC3339), a.Actor, a.Action, a.Kind, a.Name, oneLine(a.Note, 60)})
		}
		table(w, rows)
		return
	}
	for _, a := range list {
		fmt.Fprintf(w, "%d  %s  %s  %s %s %s\n", a.ID, a.At.UTC().Format(time.RFC3339), a.Actor, strong(a.Action), a.Kind, a.Name)
		for _, line := range []struct{ what, text string }{{"note", a.Note}, {"before", a.Before}, {"after", a.After}} {
			if line.text != "" {
				fmt.Fprintf(w, "    %s %s\n", dim(line.what), line.text)
			}
		}
		for _, s := range a.Secrets {
			fmt.Fprintf(w, "    %s %s\n", dim("secret"), s)
		}
	}
}
