package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// cameIn is a report, or a mail to the operator, as the API tells of it.
type cameIn struct {
	ID         string    `json:"id"`
	Received   time.Time `json:"received_at"`
	Door       string    `json:"door"`
	Kind       string    `json:"kind"`
	Account    string    `json:"account,omitempty"`
	Outcome    string    `json:"outcome"`
	Why        string    `json:"why,omitempty"`
	Mailbox    string    `json:"mailbox,omitempty"`
	From       string    `json:"from"`
	To         string    `json:"to,omitempty"`
	Client     string    `json:"client,omitempty"`
	Source     string    `json:"source,omitempty"`
	Size       int64     `json:"size"`
	Truncated  int64     `json:"truncated,omitempty"`
	Partial    bool      `json:"partial,omitempty"`
	Omitted    int       `json:"omitted,omitempty"`
	Verified   string    `json:"verified,omitempty"`
	Author     string    `json:"author,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	DKIM       string    `json:"dkim,omitempty"`
	SPF        string    `json:"spf,omitempty"`
	Evidence   string    `json:"evidence,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Dialect    string    `json:"dialect,omitempty"`
	MTA        string    `json:"mta,omitempty"`
	Feedback   string    `json:"feedback,omitempty"`
	MessageID  string    `json:"message_id,omitempty"`
	Recipients []struct {
		Address    string `json:"address"`
		Action     string `json:"action,omitempty"`
		Status     string `json:"status,omitempty"`
		Class      string `json:"class,omitempty"`
		Rule       string `json:"rule,omitempty"`
		Diagnostic string `json:"diagnostic,omitempty"`
	} `json:"recipients,omitempty"`
	Deliveries []struct {
		Delivery  string `json:"delivery"`
		Message   string `json:"message"`
		Recipient string `json:"recipient"`
		Event     string `json:"event,omitempty"`
		Outcome   string `json:"outcome"`
		Why       string `json:"why,omitempty"`
	} `json:"deliveries,omitempty"`
}

type cameInPage struct {
	Reports []cameIn `json:"reports"`
	Next    string   `json:"next,omitempty"`
}

// cameInFlags choose reports.
type cameInFlags struct {
	account, kind, door, outcome, delivery, mailbox, text string
	when                                                  interval
	page                                                  pager
}

func (f *cameInFlags) query() (url.Values, error) {
	q := url.Values{}
	setAll(q, map[string]string{
		"account": f.account, "kind": f.kind, "door": f.door, "outcome": f.outcome, "delivery": f.delivery, "mailbox": f.mailbox, "text": f.text,
	})
	return q, f.when.set(q, "from", "to")
}

func (f *cameInFlags) addCommon(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.text, "text", "", "part of its author, subject or an address it names")
	f.when.add(cmd, "received")
	f.page.add(cmd)
}

func newFeedbackCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "feedback", Short: "What came back: bounces, complaints, automatic answers", Args: cobra.NoArgs, GroupID: "use",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFeedbackListCmd(), newFeedbackShowCmd("/v1/feedback"), newFeedbackAddCmd())
	return cmd
}

func newMailboxCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mailbox", Short: "Mail to the operator: postmaster@, abuse@ and the report addresses", Args: cobra.NoArgs, GroupID: "use",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var conn connection
	var f cameInFlags
	list := &cobra.Command{
		Use: "list", Short: "List mail to the operator, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listCameIn(cmd, &conn, &f, "/v1/mailbox") },
	}
	conn.add(list)
	list.GroupID = ""
	f.addCommon(list)
	list.Flags().StringVar(&f.mailbox, "mailbox", "", "postmaster, abuse, fbl …; all when left out")
	cmd.AddCommand(list, newFeedbackShowCmd("/v1/feedback"))
	return cmd
}

func newFeedbackListCmd() *cobra.Command {
	var conn connection
	var f cameInFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List reports, newest first", Args: cobra.NoArgs,
		Example: `  postroad feedback list --of shop --kind complaint --from 7d
  postroad feedback list --outcome unknown --max 0 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return listCameIn(cmd, &conn, &f, "/v1/feedback") },
	}
	conn.add(cmd)
	cmd.GroupID = "" // of a command below another
	f.addCommon(cmd)
	s := cmd.Flags()
	s.StringVar(&f.account, "of", "", "account whose mail it is about")
	s.StringVar(&f.kind, "kind", "", "bounce, delay, delivered, complaint, auto-reply, challenge, other")
	s.StringVar(&f.door, "door", "", "by what way it came: return-path, imap, api, provider")
	s.StringVar(&f.outcome, "outcome", "", "what followed: acted, recorded, replayed, forged, contradicts, unknown, expired, kept, set-aside")
	s.StringVar(&f.delivery, "delivery", "", "delivery it is about")
	return cmd
}

func listCameIn(cmd *cobra.Command, conn *connection, f *cameInFlags, path string) error {
	q, err := f.query()
	if err != nil {
		return err
	}
	c, err := conn.open(cmd)
	if err != nil {
		return err
	}
	all := cameInPage{Reports: []cameIn{}}
	all.Next, err = pages(cmd.Context(), c, path, q, f.page, func(page *cameInPage) (int, string) {
		all.Reports = append(all.Reports, page.Reports...)
		return len(page.Reports), page.Next
	})
	if err != nil {
		return err
	}
	if conn.json {
		return printJSON(cmd.OutOrStdout(), all)
	}
	all.print(conn.screen(cmd))
	conn.more(cmd, all.Next)
	return nil
}

func (p *cameInPage) print(w io.Writer) {
	if len(p.Reports) == 0 {
		hint(w, "nothing came in that fits")
		return
	}
	rows := [][]string{{"RECEIVED", "KIND", "OUTCOME", "ACCOUNT", "ABOUT", "WHY", "ID"}}
	for i := range p.Reports {
		r := &p.Reports[i]
		about := r.about()
		if r.Mailbox != "" {
			about = r.Mailbox + ": " + r.Author + ": " + r.Subject
		}
		rows = append(rows, []string{clock(r.Received), r.Kind, r.Outcome, r.Account, oneLine(about, 60), oneLine(r.Why, 60), r.ID})
	}
	table(w, rows)
}

// about is whom a report speaks of.
func (r *cameIn) about() string {
	switch {
	case len(r.Deliveries) > 0:
		s := r.Deliveries[0].Recipient
		if n := len(r.Deliveries); n > 1 {
			s += fmt.Sprintf(" and %d more", n-1)
		}
		return s
	case len(r.Recipients) > 0:
		return r.Recipients[0].Address
	}
	return r.Author
}

func newFeedbackShowCmd(path string) *cobra.Command {
	var conn connection
	var raw bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one report or mail, and what followed; --raw writes it as it came", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := path + "/" + url.PathEscape(args[0])
			if !raw {
				return conn.get(cmd, path, nil, &cameIn{}, func(w io.Writer, v any) { v.(*cameIn).print(w) })
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			b, err := c.Raw(cmd.Context(), http.MethodGet, path+"/raw", nil, "", nil, nil)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	conn.add(cmd)
	cmd.GroupID = "" // of a command below another
	cmd.Flags().BoolVar(&raw, "raw", false, "write the mail itself")
	return cmd
}

func (r *cameIn) print(w io.Writer) {
	size := fmt.Sprintf("%d octets", r.Size)
	switch {
	case r.Truncated > 0:
		size += fmt.Sprintf(" and %d more that are not kept", r.Truncated)
	case r.Partial:
		size += ", not all of them read"
	}
	fmt.Fprintf(w, "%s  %s by %s, %s, %s\n", strong(r.ID), r.Kind, r.Door, size, clock(r.Received))
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-11s %s\n", name, value)
		}
	}
	line("outcome", r.Outcome)
	line("why", r.Why)
	line("account", r.Account)
	line("evidence", r.Evidence)
	line("mailbox", r.Mailbox)
	line("from", r.Author)
	line("subject", r.Subject)
	line("envelope", orNull(r.From)+" to "+orNull(r.To))
	line("client", r.Client)
	line("source", r.Source)
	line("signatures", r.DKIM)
	line("verified", r.Verified)
	line("SPF", r.SPF)
	line("reported by", r.MTA)
	line("known by", r.Reason)
	line("feedback", r.Feedback)
	line("message id", r.MessageID)
	for _, rc := range r.Recipients {
		said := strings.Join(strings.Fields(rc.Action+" "+rc.Status+" "+rc.Class), " ")
		whom := "of " + strong(rc.Address)
		if rc.Address == "" {
			whom = "without naming anybody"
		}
		fmt.Fprintf(w, "\n  says %s: %s\n", whom, said)
		line("", oneLine(rc.Diagnostic, 300))
		line("rule", rc.Rule)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(w, "\n  and of %d more recipients, which are not kept\n", r.Omitted)
	}
	for _, d := range r.Deliveries {
		fmt.Fprintf(w, "\n  about %s  %s\n", strong(d.Recipient), dim(d.Delivery))
		line("outcome", d.Outcome)
		line("event", paint(d.Event))
		line("why", d.Why)
	}
}

func newFeedbackAddCmd() *cobra.Command {
	var conn connection
	var recipient string
	cmd := &cobra.Command{
		Use: "add FILE...", Short: "Hand in reports: a mail per file, - for standard input", Args: cobra.MinimumNArgs(1),
		Long: `Hands in bounces, complaints or automatic answers that came another way, one mail per file. Each is on disk when its
id is printed; "postroad feedback show ID" then says what followed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			if recipient != "" {
				q.Set("recipient", recipient)
			}
			var failed []error
			type added struct {
				File string `json:"file"`
				ID   string `json:"id"`
			}
			list := []added{}
			for _, name := range args {
				doc, err := readFile(cmd, name)
				if err == nil {
					var b []byte
					if b, err = c.Raw(cmd.Context(), http.MethodPost, "/v1/feedback", q, "message/rfc822", doc, nil); err == nil {
						x := added{File: name}
						if err = json.Unmarshal(b, &x); err == nil {
							list = append(list, x)
							if !conn.json {
								fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", x.ID, name)
							}
						}
					}
				}
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", name, err))
				}
			}
			if conn.json {
				failed = append(failed, printJSON(cmd.OutOrStdout(), map[string]any{"reports": list}))
			}
			return errors.Join(failed...)
		},
	}
	conn.add(cmd)
	cmd.GroupID = "" // of a command below another
	cmd.Flags().StringVar(&recipient, "recipient", "", "address the mails were for: a return path says whose report it is")
	return cmd
}
