package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// filterFlags choose live deliveries.
type filterFlags struct {
	Delivery   string `json:"delivery,omitempty"`
	Message    string `json:"message,omitempty"`
	Account    string `json:"account,omitempty"`
	Stream     string `json:"stream,omitempty"`
	Domain     string `json:"domain,omitempty"`
	Recipient  string `json:"recipient,omitempty"`
	Sender     string `json:"sender,omitempty"`
	Credential string `json:"credential,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Held       string `json:"held,omitempty"`
	Everything bool   `json:"everything,omitempty"`
}

func (f *filterFlags) add(cmd *cobra.Command, all bool) {
	s := cmd.Flags()
	s.StringVar(&f.Delivery, "delivery", "", "delivery id")
	s.StringVar(&f.Message, "message", "", "message id")
	s.StringVar(&f.Account, "of", "", "account whose mail it is")
	s.StringVar(&f.Stream, "stream", "", "transactional or bulk")
	s.StringVar(&f.Domain, "domain", "", "recipient domain")
	s.StringVar(&f.Recipient, "recipient", "", "recipient address")
	s.StringVar(&f.Sender, "sender", "", "sender address or domain")
	s.StringVar(&f.Credential, "credential", "", "credential it came in with")
	s.StringVar(&f.Tag, "tag", "", "tag")
	s.StringVar(&f.Held, "held", "", "name of the hold that keeps it; * for any")
	if all {
		s.BoolVar(&f.Everything, "everything", false, "all mail; needed when no other condition is given")
	}
}

func newQueueCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "queue", Short: "What waits, and why; hold, release, retry, cancel", Args: cobra.NoArgs,
		Example: `  postroad queue
  postroad queue list --of shop --domain example.com
  postroad queue retry --domain example.com
  postroad queue hold slow-down --domain example.com --reason "their servers are down" --for 2h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.get(cmd, "/v1/queues", nil, &queues{}, func(w io.Writer, v any) { v.(*queues).print(w) })
		},
	}
	conn.add(cmd)
	cmd.AddCommand(newQueueListCmd(), newHoldCmd(), newReleaseCmd(), newHoldsCmd())
	cmd.AddCommand(newTrustClockCmd(), newQueueActCmd("retry", "Try deliveries now instead of when they are due"), newQueueActCmd("cancel", "Take deliveries out of the queue for good"))
	return cmd
}

type lastAnswer struct {
	Reply string `json:"reply"`
	Class string `json:"class"`
	Host  string `json:"host"`
}

type queues struct {
	Queues []struct {
		Queue struct {
			Account string `json:"account"`
			Stream  string `json:"stream"`
			Domain  string `json:"domain"`
		} `json:"queue"`
		Waiting  int         `json:"waiting"`
		Held     int         `json:"held"`
		InFlight int         `json:"in_flight"`
		Oldest   time.Time   `json:"oldest"`
		NextDue  time.Time   `json:"next_due"`
		Last     *lastAnswer `json:"last,omitempty"`
		Why      string      `json:"why,omitempty"`
	} `json:"queues"`
	Lanes []struct {
		Lane struct {
			Route    string `json:"route"`
			Source   string `json:"source,omitempty"`
			Receiver string `json:"receiver,omitempty"`
			Site     string `json:"site"`
		} `json:"lane"`
		Waiting  int         `json:"waiting"`
		Sessions int         `json:"sessions"`
		Limit    int         `json:"limit"`
		Until    time.Time   `json:"until"`
		Last     *lastAnswer `json:"last,omitempty"`
		Why      string      `json:"why,omitempty"`
	} `json:"lanes"`
}

func (q *queues) print(w io.Writer) {
	if len(q.Queues) == 0 && len(q.Lanes) == 0 {
		hint(w, "nothing waits")
		return
	}
	rows := [][]string{{"ACCOUNT", "STREAM", "DOMAIN", "WAITING", "HELD", "SENDING", "OLDEST", "NEXT", "WHY"}}
	for _, x := range q.Queues {
		why := x.Why
		if why == "" && x.Last != nil {
			why = x.Last.Reply
		}
		rows = append(rows, []string{
			x.Queue.Account, x.Queue.Stream, x.Queue.Domain, strconv.Itoa(x.Waiting), strconv.Itoa(x.Held), strconv.Itoa(x.InFlight),
			span(time.Since(x.Oldest)), clock(x.NextDue), oneLine(why, 80),
		})
	}
	if len(q.Queues) > 0 {
		table(w, rows)
	}
	if len(q.Lanes) == 0 {
		return
	}
	if len(q.Queues) > 0 {
		fmt.Fprintln(w)
	}
	rows = [][]string{{"LANE", "WAITING", "CONNECTIONS", "RESTS UNTIL", "WHY"}}
	for _, x := range q.Lanes {
		lane := x.Lane.Route
		if x.Lane.Source != "" {
			lane += "@" + x.Lane.Source
		}
		lane += " > " + x.Lane.Site
		why := x.Why
		if why == "" && x.Last != nil {
			why = x.Last.Reply
		}
		rows = append(rows, []string{lane, strconv.Itoa(x.Waiting), fmt.Sprintf("%d of %d", x.Sessions, x.Limit), clock(x.Until), oneLine(why, 80)})
	}
	table(w, rows)
}

func newQueueListCmd() *cobra.Command {
	var conn connection
	var f filterFlags
	var p pager
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries that wait, each with the reason", Args: cobra.NoArgs,
		Example: `  postroad queue list --of shop --stream bulk
  postroad queue list --held '*' --max 0 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			setAll(q, map[string]string{
				"account": f.Account, "stream": f.Stream, "domain": f.Domain, "recipient": f.Recipient, "delivery": f.Delivery,
				"message": f.Message, "sender": f.Sender, "credential": f.Credential, "tag": f.Tag, "held": f.Held,
			})
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			all := waitingList{Deliveries: []waiting{}}
			all.Next, err = pages(cmd.Context(), c, "/v1/queues/deliveries", q, p, func(page *waitingList) (int, string) {
				all.Deliveries = append(all.Deliveries, page.Deliveries...)
				return len(page.Deliveries), page.Next
			})
			if err != nil {
				return fmt.Errorf("queue list: %w", err)
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
	f.add(cmd, false)
	p.add(cmd)
	cmd.GroupID = ""
	return cmd
}

type waitingList struct {
	Deliveries []waiting `json:"deliveries"`
	Next       string    `json:"next,omitempty"`
}

type waiting struct {
	ID        string    `json:"id"`
	Recipient string    `json:"recipient"`
	Attempts  int       `json:"attempts"`
	Due       time.Time `json:"due"`
	CreatedAt time.Time `json:"created_at"`
	Why       string    `json:"why"`
}

func (l *waitingList) print(w io.Writer) {
	if len(l.Deliveries) == 0 {
		hint(w, "nothing waits")
		return
	}
	rows := [][]string{{"DELIVERY", "RECIPIENT", "AGE", "TRIES", "DUE", "WHY"}}
	for _, d := range l.Deliveries {
		rows = append(rows, []string{d.ID, d.Recipient, span(time.Since(d.CreatedAt)), strconv.Itoa(d.Attempts), clock(d.Due), oneLine(d.Why, 240)})
	}
	table(w, rows)
}

func newQueueActCmd(act, short string) *cobra.Command {
	var conn connection
	var f filterFlags
	var reason string
	cmd := &cobra.Command{
		Use: act, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var done struct {
				Count int `json:"count"`
			}
			in := map[string]any{"filter": f}
			if reason != "" {
				in["reason"] = reason
			}
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/queues/"+act, nil, in, &done); err != nil {
				return fmt.Errorf("queue %s: %w", act, err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d deliveries\n", act, done.Count)
			return nil
		},
	}
	conn.add(cmd)
	f.add(cmd, true)
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log and, for cancel, in the timeline")
	cmd.GroupID = ""
	return cmd
}

// hold is a standing rule.
type hold struct {
	Name       string     `json:"name"`
	Account    string     `json:"account,omitempty"`
	Stream     string     `json:"stream,omitempty"`
	Domain     string     `json:"domain,omitempty"`
	Sender     string     `json:"sender,omitempty"`
	Credential string     `json:"credential,omitempty"`
	Tag        string     `json:"tag,omitempty"`
	Route      string     `json:"route,omitempty"`
	Source     string     `json:"source,omitempty"`
	Site       string     `json:"site,omitempty"`
	Receiver   string     `json:"receiver,omitempty"`
	Reason     string     `json:"reason"`
	Since      *time.Time `json:"since,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`
}

func newHoldCmd() *cobra.Command {
	var conn connection
	var h hold
	var lasts timeSpan
	cmd := &cobra.Command{
		Use: "hold NAME --reason WHY …", Short: "Hold matching mail, also mail that comes later", Args: cobra.ExactArgs(1),
		Long: `Makes a standing rule: mail that matches every given condition waits until the hold is released or expires.
With --route, --source, --site or --receiver it suspends lanes: nothing goes out there meanwhile.`,
		Example: `  postroad queue hold audit --of shop --stream bulk --reason "asked by their staff"
  postroad queue hold rest --source out1 --reason "listed" --for 24h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			h.Name = args[0]
			if lasts.Duration > 0 {
				at := time.Now().Add(lasts.Duration).UTC().Truncate(time.Second)
				h.Expires = &at
			}
			return conn.change(cmd, http.MethodPut, "/v1/holds/"+url.PathEscape(h.Name), h)
		},
	}
	conn.add(cmd)
	f := cmd.Flags()
	f.StringVar(&h.Account, "of", "", "account whose mail it is")
	f.StringVar(&h.Stream, "stream", "", "transactional or bulk")
	f.StringVar(&h.Domain, "domain", "", "recipient domain")
	f.StringVar(&h.Sender, "sender", "", "sender address or domain")
	f.StringVar(&h.Credential, "credential", "", "credential it came in with")
	f.StringVar(&h.Tag, "tag", "", "tag")
	f.StringVar(&h.Route, "route", "", "route")
	f.StringVar(&h.Source, "source", "", "source")
	f.StringVar(&h.Site, "site", "", "site")
	f.StringVar(&h.Receiver, "receiver", "", "receiver")
	f.StringVar(&h.Reason, "reason", "", "why; customers' staff will read it")
	f.Var(&lasts, "for", "release it by itself after this time, such as 2h or 3d")
	cmd.GroupID = ""
	return cmd
}

func newReleaseCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "release NAME", Short: "Release a hold", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.change(cmd, http.MethodDelete, "/v1/holds/"+url.PathEscape(args[0]), nil)
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	return cmd
}

func newTrustClockCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "trust-clock", Short: "Say that the clock is right: expiry goes on after a jump", Args: cobra.NoArgs,
		Long: `A clock more than an hour ahead of what the platform last saw suspends expiry, with an alert, because a wrong clock
would expire a queue. When it is the right time after all, as after a long stop, this lets expiry go on at once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/queues/trust-clock", nil, nil, nil); err != nil {
				return fmt.Errorf("queue trust-clock: %w", err)
			}
			if !conn.json {
				fmt.Fprintln(cmd.OutOrStdout(), "the clock is trusted; expiry goes on")
			}
			return nil
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	return cmd
}

func newHoldsCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "holds", Short: "List standing holds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type items struct {
				Items []hold `json:"items"`
			}
			return conn.get(cmd, "/v1/holds", nil, &items{}, func(w io.Writer, v any) {
				list := v.(*items).Items
				if len(list) == 0 {
					hint(w, "no holds")
					return
				}
				rows := [][]string{{"NAME", "SINCE", "EXPIRES", "REASON"}}
				for _, h := range list {
					rows = append(rows, []string{h.Name, clockOf(h.Since), clockOf(h.Expires), h.Reason})
				}
				table(w, rows)
			})
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	return cmd
}

func clockOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return clock(*t)
}

func newAlertsCmd() *cobra.Command {
	var conn connection
	var all bool
	cmd := &cobra.Command{
		Use: "alerts", Short: "Troubles the operator should know of", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type items struct {
				Items []struct {
					Kind    string    `json:"kind"`
					Scope   string    `json:"scope"`
					Message string    `json:"message"`
					Since   time.Time `json:"since"`
					Last    time.Time `json:"last"`
					Count   int64     `json:"count"`
					Cleared time.Time `json:"cleared,omitzero"`
				} `json:"items"`
			}
			q := url.Values{}
			if all {
				q.Set("all", "true")
			}
			return conn.get(cmd, "/v1/alerts", q, &items{}, func(w io.Writer, v any) {
				list := v.(*items).Items
				if len(list) == 0 {
					hint(w, "no alerts")
					return
				}
				rows := [][]string{{"SINCE", "LAST", "COUNT", "KIND", "SCOPE", "MESSAGE"}}
				for _, a := range list {
					kind := bad(a.Kind)
					if !a.Cleared.IsZero() {
						kind = dim(a.Kind + " (cleared)")
					}
					rows = append(rows, []string{clock(a.Since), clock(a.Last), strconv.FormatInt(a.Count, 10), kind, a.Scope, a.Message})
				}
				table(w, rows)
			})
		},
	}
	conn.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "cleared ones too")
	return cmd
}
