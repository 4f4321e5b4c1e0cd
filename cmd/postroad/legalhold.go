package main

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

type legalHold struct {
	Name      string     `json:"name,omitempty"`
	Account   string     `json:"account,omitempty"`
	Recipient string     `json:"recipient,omitempty"`
	Message   string     `json:"message,omitempty"`
	Reason    string     `json:"reason"`
	Author    string     `json:"author,omitempty"`
	Since     *time.Time `json:"since,omitempty"`
}

func newLegalHoldCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "legal-hold", Short: "Keep what was sent from expiring and from being erased: list, set, release", Args: cobra.NoArgs,
		Long: `While a legal hold stands, nothing that it covers expires or is erased: content in the archive, and the days of the
record that hold it. It covers what matches all of its conditions. Setting and releasing are in the audit log.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return listLegalHolds(cmd, &conn) },
	}
	conn.add(cmd)
	cmd.AddCommand(newLegalHoldListCmd(), newLegalHoldSetCmd(), newLegalHoldReleaseCmd())
	return cmd
}

func newLegalHoldListCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "list", Short: "List the legal holds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listLegalHolds(cmd, &conn) },
	}
	conn.sub(cmd)
	return cmd
}

func listLegalHolds(cmd *cobra.Command, conn *connection) error {
	type items struct {
		Items []legalHold `json:"items"`
	}
	return conn.get(cmd, "/v1/legal-holds", nil, &items{}, func(w io.Writer, v any) {
		list := v.(*items).Items
		if len(list) == 0 {
			hint(w, "no legal holds")
			return
		}
		rows := [][]string{{"NAME", "SINCE", "ACCOUNT", "RECIPIENT", "MESSAGE", "AUTHOR", "REASON"}}
		for _, h := range list {
			rows = append(rows, []string{h.Name, clockOf(h.Since), h.Account, h.Recipient, h.Message, h.Author, oneLine(h.Reason, 60)})
		}
		table(w, rows)
	})
}

func newLegalHoldSetCmd() *cobra.Command {
	var conn connection
	var h legalHold
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set a legal hold", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.change(cmd, http.MethodPut, "/v1/legal-holds/"+url.PathEscape(args[0]), h)
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	f := cmd.Flags()
	f.StringVar(&h.Account, "of", "", "account whose mail it is")
	f.StringVar(&h.Recipient, "recipient", "", "recipient address")
	f.StringVar(&h.Message, "message", "", "message id")
	f.StringVar(&h.Reason, "reason", "", "why; who asks for an erasure will read it")
	f.StringVar(&h.Author, "author", "", "who answers for it; who runs this command when left out")
	return cmd
}

func newLegalHoldReleaseCmd() *cobra.Command {
	var conn connection
	var note string
	cmd := &cobra.Command{
		Use: "release NAME", Short: "Release a legal hold", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.change(cmd, http.MethodDelete, "/v1/legal-holds/"+url.PathEscape(args[0])+"?"+url.Values{"note": {note}}.Encode(), nil)
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	cmd.Flags().StringVar(&note, "note", "", "why; for the audit log")
	return cmd
}
