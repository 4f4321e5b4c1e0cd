package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

// webhookView is a webhook as the API tells it.
type webhookView struct {
	Account     string   `json:"account"`
	Name        string   `json:"name"`
	ID          string   `json:"id"`
	URL         string   `json:"url"`
	Types       []string `json:"types,omitempty"`
	Streams     []string `json:"streams,omitempty"`
	AllAccounts bool     `json:"all_accounts,omitempty"`
	Order       string   `json:"order,omitempty"`
	Concurrency int      `json:"concurrency,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	Status      struct {
		State     string    `json:"state"`
		Since     time.Time `json:"since,omitzero"`
		Reason    string    `json:"reason,omitempty"`
		Event     string    `json:"event,omitempty"`
		EventTime time.Time `json:"event_time,omitzero"`
		Attempts  int       `json:"attempts,omitempty"`
		Next      time.Time `json:"next,omitzero"`
		Success   time.Time `json:"last_success,omitzero"`
		Open      int       `json:"open,omitempty"`
		Failing   int       `json:"failing,omitempty"`
	} `json:"status"`
	Replays []replayView `json:"replays,omitempty"`
	Secret  string       `json:"secret,omitempty"`
}

type replayView struct {
	ID     string    `json:"id"`
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Events []string  `json:"events,omitempty"`
	State  string    `json:"state"`
	Sent   int64     `json:"sent"`
	Error  string    `json:"error,omitempty"`
	Since  time.Time `json:"since"`
	Ended  time.Time `json:"ended,omitzero"`
}

// webhookAttempt is one request as the API tells it.
type webhookAttempt struct {
	ID             string              `json:"id"`
	Kind           string              `json:"kind"`
	Event          string              `json:"event"`
	Type           string              `json:"type"`
	N              int                 `json:"attempt"`
	At             time.Time           `json:"time"`
	Took           time.Duration       `json:"duration_ns"`
	URL            string              `json:"url"`
	Status         int                 `json:"status,omitempty"`
	Error          string              `json:"error,omitempty"`
	Taken          bool                `json:"taken"`
	Next           time.Time           `json:"next,omitzero"`
	RequestHeader  map[string][]string `json:"request_headers,omitempty"`
	RequestBody    string              `json:"request_body,omitempty"`
	ResponseHeader map[string][]string `json:"response_headers,omitempty"`
	ResponseBody   string              `json:"response_body,omitempty"`
	Cut            bool                `json:"response_cut,omitempty"`
}

// result is what came of a request, in few words.
func (a *webhookAttempt) result() string {
	switch {
	case a.Taken:
		return good(fmt.Sprintf("taken (%d)", a.Status))
	case a.Status != 0:
		return bad(a.Error)
	}
	return bad("no answer: " + oneLine(a.Error, 100))
}

func newWebhooksCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhooks", Short: "Webhooks: where they stand, what was sent, test, replay, enable", GroupID: "use", Args: cobra.NoArgs,
		Long: `Webhooks tell customers' systems of events. An account's key (POSTROAD_API_KEY) manages its own; an operator
names the account with --account, and sees all without it.`,
		Example: `  postroad webhooks add crm https://crm.example.com/events --account shop --type delivered,bounced
  postroad webhooks change crm --account shop --order delivery --concurrency 32
  postroad webhooks deliveries crm --account shop --failed --bodies
  postroad webhooks replay crm --account shop --from 3d`,
	}
	list := newWebhooksListCmd()
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newWebhookShowCmd(), newWebhookAddCmd(), newWebhookChangeCmd(), newWebhookRemoveCmd(), newWebhookRotateCmd())
	cmd.AddCommand(newWebhookDeliveriesCmd(), newWebhookTestCmd(), newWebhookReplayCmd(), newWebhookResendCmd(), newWebhookEnableCmd(), newWebhookSkipCmd())
	return cmd
}

func webhookPath(name string, rest ...string) string {
	p := "/v1/webhooks/" + url.PathEscape(name)
	for _, x := range rest {
		p += "/" + url.PathEscape(x)
	}
	return p
}

// webhookCmd is a command on one webhook.
func webhookCmd(use, short string, args int, run func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			return run(cmd, c, &conn, args)
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	return cmd
}

func newWebhooksListCmd() *cobra.Command {
	return webhookCmd("list", "List webhooks and where they stand", 0, func(cmd *cobra.Command, c *client.Client, conn *connection, _ []string) error {
		var list struct {
			Items []webhookView `json:"items"`
		}
		if err := c.Do(cmd.Context(), http.MethodGet, "/v1/webhooks", nil, nil, &list); err != nil {
			return err
		}
		if conn.json {
			return printJSON(cmd.OutOrStdout(), list)
		}
		if len(list.Items) == 0 {
			hint(conn.screen(cmd), "there are no webhooks")
			return nil
		}
		rows := [][]string{{"ACCOUNT", "NAME", "STATE", "LAST TAKEN", "URL", ""}}
		for i := range list.Items {
			w := &list.Items[i]
			rows = append(rows, []string{w.Account, w.Name, w.state(), clock(w.Status.Success), w.URL, w.why()})
		}
		table(conn.screen(cmd), rows)
		return nil
	})
}

// state colours the word for what a webhook does.
func (w *webhookView) state() string {
	switch w.Status.State {
	case "live":
		return good(w.Status.State)
	case "stopped":
		return bad(w.Status.State)
	case "retrying", "disabled":
		return warn(w.Status.State)
	}
	return w.Status.State
}

// why says what a webhook that is not live waits for.
func (w *webhookView) why() string {
	switch w.Status.State {
	case "stopped":
		return "since " + clock(w.Status.Since) + ": " + w.Status.Reason
	case "retrying":
		s := fmt.Sprintf("%s since %s, %d attempts, next %s", w.Status.Event, clock(w.Status.Since), w.Status.Attempts, clock(w.Status.Next))
		if w.Status.Failing > 1 {
			s += fmt.Sprintf(", and %d more", w.Status.Failing-1)
		}
		return s
	case "catching-up":
		if !w.Status.EventTime.IsZero() {
			return "at events of " + clock(w.Status.EventTime)
		}
	}
	return ""
}

func (w *webhookView) print(out io.Writer) {
	listed := func(list []string) string {
		if len(list) == 0 {
			return "all"
		}
		return strings.Join(list, ", ")
	}
	fmt.Fprintf(out, "%s of %s  %s  %s\n", strong(w.Name), w.Account, w.state(), dim(w.ID))
	fmt.Fprintf(out, "  url      %s\n  types    %s\n  streams  %s\n", w.URL, listed(w.Types), listed(w.Streams))
	if w.AllAccounts {
		fmt.Fprintln(out, "  accounts all")
	}
	if w.Order == "delivery" {
		n := "16"
		if w.Concurrency > 0 {
			n = strconv.Itoa(w.Concurrency)
		}
		fmt.Fprintf(out, "  order    of each delivery, up to %s requests at a time\n", n)
	}
	fmt.Fprintf(out, "  taken    %s\n", clock(w.Status.Success))
	if why := w.why(); why != "" {
		label := "waits"
		if w.Status.State == "stopped" {
			label = "stopped"
		}
		fmt.Fprintf(out, "  %-9s%s\n", label, why)
	}
	for _, r := range w.Replays {
		fmt.Fprintf(out, "  replay   %s\n", r.line())
	}
	if w.Secret != "" {
		fmt.Fprintf(out, "\nSigning secret. It is shown only now:\n  %s\n", w.Secret)
	}
}

func (r *replayView) line() string {
	what := fmt.Sprintf("%d named events", len(r.Events))
	if !r.From.IsZero() {
		what = clock(r.From) + " to " + clock(r.To)
	}
	s := fmt.Sprintf("%s  %s, %s, %d sent", dim(r.ID), what, r.State, r.Sent)
	if r.Error != "" {
		s += ": " + bad(r.Error)
	}
	return s
}

// showWebhook prints an answer that is a webhook.
func showWebhook(cmd *cobra.Command, c *client.Client, conn *connection, method, path string, in any) error {
	var w webhookView
	if err := c.Do(cmd.Context(), method, path, nil, in, &w); err != nil {
		return err
	}
	if conn.json {
		return printJSON(cmd.OutOrStdout(), w)
	}
	w.print(conn.screen(cmd))
	return nil
}

func newWebhookShowCmd() *cobra.Command {
	return webhookCmd("show NAME", "Show one webhook, what it waits for, and its replays", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		return showWebhook(cmd, c, conn, http.MethodGet, webhookPath(args[0]), nil)
	})
}

// webhookBody is a webhook as it is declared over the API.
type webhookBody struct {
	Name        string   `json:"name,omitempty"`
	URL         string   `json:"url"`
	Types       []string `json:"types,omitempty"`
	Streams     []string `json:"streams,omitempty"`
	Order       string   `json:"order,omitempty"`
	Concurrency int      `json:"concurrency,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	AllAccounts bool     `json:"all_accounts,omitempty"`
}

// flags declares what add and change have in common.
func (b *webhookBody) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&b.Types, "type", nil, "types of event, or all")
	f.StringSliceVar(&b.Streams, "stream", nil, "transactional or bulk, or all")
	f.StringVar(&b.Order, "order", "", "strict: each event waits for the one before it; delivery: only for those of its delivery")
	f.IntVar(&b.Concurrency, "concurrency", 0, "with --order delivery: requests at a time, 1 to 100; 0 for 16")
	f.BoolVar(&b.AllAccounts, "all-accounts", false, "events of every account; operators only")
}

// orAll reads a list in which the word "all" stands for no choice.
func orAll(list []string) []string {
	if len(list) == 1 && list[0] == "all" {
		return nil
	}
	return list
}

func newWebhookAddCmd() *cobra.Command {
	var in webhookBody
	cmd := webhookCmd("add NAME URL", "Make a webhook; its signing secret is printed once", 2, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		in.Name, in.URL, in.Types, in.Streams = args[0], args[1], orAll(in.Types), orAll(in.Streams)
		return showWebhook(cmd, c, conn, http.MethodPost, "/v1/webhooks", in)
	})
	in.flags(cmd)
	return cmd
}

func newWebhookChangeCmd() *cobra.Command {
	var in webhookBody
	cmd := webhookCmd("change NAME", "Change a webhook; what no flag names stays", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		f := cmd.Flags()
		if !slices.ContainsFunc([]string{"target", "type", "stream", "order", "concurrency", "disabled", "all-accounts"}, f.Changed) {
			return usageError{errors.New("say what to change: --target, --type, --stream, --order, --concurrency, --disabled or --all-accounts")}
		}
		var now webhookView
		if err := c.Do(cmd.Context(), http.MethodGet, webhookPath(args[0]), nil, nil, &now); err != nil {
			return err
		}
		want := webhookBody{
			URL: now.URL, Types: now.Types, Streams: now.Streams, Order: now.Order, Concurrency: now.Concurrency, Disabled: now.Disabled, AllAccounts: now.AllAccounts,
		}
		for name, take := range map[string]func(){
			"target": func() { want.URL = in.URL }, "type": func() { want.Types = orAll(in.Types) }, "stream": func() { want.Streams = orAll(in.Streams) },
			"order": func() { want.Order = in.Order }, "concurrency": func() { want.Concurrency = in.Concurrency },
			"disabled": func() { want.Disabled = in.Disabled }, "all-accounts": func() { want.AllAccounts = in.AllAccounts },
		} {
			if f.Changed(name) {
				take()
			}
		}
		return showWebhook(cmd, c, conn, http.MethodPut, webhookPath(args[0]), want)
	})
	in.flags(cmd)
	cmd.Flags().StringVar(&in.URL, "target", "", "URL events are sent to")
	cmd.Flags().BoolVar(&in.Disabled, "disabled", false, "send nothing until it is enabled; then it goes on from where it stopped")
	return cmd
}

func newWebhookRemoveCmd() *cobra.Command {
	return webhookCmd("remove NAME", "Delete a webhook and its log", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		if _, err := c.Raw(cmd.Context(), http.MethodDelete, webhookPath(args[0]), nil, "", nil, nil); err != nil {
			return err
		}
		if !conn.json {
			fmt.Fprintf(cmd.OutOrStdout(), "webhook %s is deleted\n", args[0])
		}
		return nil
	})
}

func newWebhookRotateCmd() *cobra.Command {
	grace := timeSpan{24 * time.Hour}
	cmd := webhookCmd("rotate NAME", "Give a webhook a new signing secret, printed once; old ones go on for a while", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		in := struct {
			Grace int `json:"grace_seconds"`
		}{int(grace.Duration / time.Second)}
		var out struct {
			Secret string `json:"secret"`
		}
		if err := c.Do(cmd.Context(), http.MethodPost, webhookPath(args[0], "rotate"), nil, in, &out); err != nil {
			return err
		}
		if conn.json {
			return printJSON(cmd.OutOrStdout(), out)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "New signing secret. It is shown only now:\n  %s\n", out.Secret)
		return nil
	})
	cmd.Flags().Var(&grace, "grace", "how long the old secrets go on signing")
	return cmd
}

func newWebhookDeliveriesCmd() *cobra.Command {
	var event string
	var failed, bodies bool
	var p pager
	cmd := webhookCmd("deliveries NAME [--failed]", "What was sent to a webhook, newest first", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		q := url.Values{}
		setAll(q, map[string]string{"event": event})
		for k, v := range map[string]bool{"failed": failed, "bodies": bodies} {
			if v {
				q.Set(k, "true")
			}
		}
		type attempts struct {
			Items []webhookAttempt `json:"items"`
			Next  string           `json:"next,omitempty"`
		}
		list := attempts{Items: []webhookAttempt{}}
		var err error
		list.Next, err = pages(cmd.Context(), c, webhookPath(args[0], "deliveries"), q, p, func(page *attempts) (int, string) {
			list.Items = append(list.Items, page.Items...)
			return len(page.Items), page.Next
		})
		if err != nil {
			return err
		}
		if conn.json {
			return printJSON(cmd.OutOrStdout(), list)
		}
		out := conn.screen(cmd)
		if len(list.Items) == 0 {
			hint(out, "nothing was sent")
			return nil
		}
		rows := [][]string{{"ID", "TIME", "EVENT", "TYPE", "KIND", "TRY", "TOOK", "RESULT"}}
		for i := range list.Items {
			a := &list.Items[i]
			rows = append(rows, []string{a.ID, clock(a.At), a.Event, paint(a.Type), a.Kind, strconv.Itoa(a.N), span(a.Took), a.result()})
		}
		table(out, rows)
		for i := range list.Items {
			if bodies {
				list.Items[i].printBodies(out)
			}
		}
		conn.more(cmd, list.Next)
		return nil
	})
	f := cmd.Flags()
	f.StringVar(&event, "event", "", "id of an event")
	f.BoolVar(&failed, "failed", false, "only those that were not taken")
	f.BoolVar(&bodies, "bodies", false, "with headers and bodies")
	p.add(cmd)
	return cmd
}

func (a *webhookAttempt) printBodies(out io.Writer) {
	fmt.Fprintf(out, "\n%s  POST %s\n%s\n", strong(a.ID), a.URL, a.RequestBody)
	fmt.Fprintf(out, "%s\n%s\n", a.result(), strings.ToValidUTF8(a.ResponseBody, "?"))
	if a.Cut {
		fmt.Fprintln(out, dim("(there was more)"))
	}
}

// shownAttempt prints what came of a request made at once. One that was not taken is not what was hoped for.
func shownAttempt(cmd *cobra.Command, c *client.Client, conn *connection, path string, in any) error {
	var a webhookAttempt
	if err := c.Do(cmd.Context(), http.MethodPost, path, nil, in, &a); err != nil {
		return err
	}
	out := conn.screen(cmd)
	if conn.json {
		if err := printJSON(cmd.OutOrStdout(), a); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s %s to %s: %s in %s\n", a.Type, a.Event, a.URL, a.result(), span(a.Took))
		if a.ResponseBody != "" {
			fmt.Fprintln(out, oneLine(a.ResponseBody, 400))
		}
	}
	if !a.Taken {
		return exitError{exitNotAsWanted}
	}
	return nil
}

func newWebhookTestCmd() *cobra.Command {
	var typ string
	cmd := webhookCmd("test NAME", "Send a signed event that never happened, and show the answer", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		return shownAttempt(cmd, c, conn, webhookPath(args[0], "test"), map[string]string{"type": typ})
	})
	cmd.Flags().StringVar(&typ, "type", "", "type of the event; the first the webhook wants when left out")
	return cmd
}

func newWebhookResendCmd() *cobra.Command {
	return webhookCmd("resend NAME ID", "Send once more what was sent (ID as in deliveries), and show the answer", 2, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		return shownAttempt(cmd, c, conn, webhookPath(args[0], "deliveries", args[1], "resend"), nil)
	})
}

func newWebhookReplayCmd() *cobra.Command {
	var when interval
	var events []string
	var cancel bool
	cmd := webhookCmd("replay NAME --from TIME [--to TIME]", "Send events of the past once more, beside the live ones", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		if cancel {
			if _, err := c.Raw(cmd.Context(), http.MethodDelete, webhookPath(args[0], "replay"), nil, "", nil, nil); err != nil {
				return err
			}
			if !conn.json {
				fmt.Fprintln(cmd.OutOrStdout(), "the replay is ended")
			}
			return nil
		}
		in := map[string]any{}
		from, to, err := when.read(time.Now())
		if err != nil {
			return err
		}
		for k, v := range map[string]string{"from": from, "to": to} {
			if v != "" {
				in[k] = v
			}
		}
		if len(events) > 0 {
			in["events"] = events
		}
		if len(in) == 0 {
			return usageError{errors.New("say what: --from TIME, or --event ID")}
		}
		var r replayView
		if err := c.Do(cmd.Context(), http.MethodPost, webhookPath(args[0], "replay"), nil, in, &r); err != nil {
			return err
		}
		if conn.json {
			return printJSON(cmd.OutOrStdout(), r)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\nwatch it with: postroad webhooks show %s\n", r.line(), args[0])
		return nil
	})
	f := cmd.Flags()
	when.add(cmd, "events that happened")
	f.StringSliceVar(&events, "event", nil, "ids of events, in place of a time")
	f.BoolVar(&cancel, "cancel", false, "end the replay that runs")
	return cmd
}

func newWebhookSkipCmd() *cobra.Command {
	return webhookCmd("skip NAME EVENT", "Pass over the event a webhook cannot get rid of", 2, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		return showWebhook(cmd, c, conn, http.MethodPost, webhookPath(args[0], "skip"), map[string]string{"event": args[1]})
	})
}

func newWebhookEnableCmd() *cobra.Command {
	return webhookCmd("enable NAME", "Go on where a webhook stopped; try now what waits", 1, func(cmd *cobra.Command, c *client.Client, conn *connection, args []string) error {
		return showWebhook(cmd, c, conn, http.MethodPost, webhookPath(args[0], "enable"), nil)
	})
}
