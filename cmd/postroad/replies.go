package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
)

// replyList are the wordings no rule understood, as the API tells them.
type replyList struct {
	Replies []replyWording `json:"replies"`
}

type replyWording struct {
	Fingerprint string    `json:"fingerprint"`
	Count       int64     `json:"count"`
	First       time.Time `json:"first_seen"`
	Last        time.Time `json:"last_seen"`
	Hosts       []string  `json:"hosts"`
	Stages      []string  `json:"stages"`
	Codes       []string  `json:"codes"`
	Sample      string    `json:"sample"`
	Done        time.Time `json:"done_at,omitzero"`
	DoneBy      string    `json:"done_by,omitempty"`
}

// key is how a wording is named on a command line.
func (u *replyWording) key() string {
	sum := sha256.Sum256([]byte(u.Fingerprint))
	return hex.EncodeToString(sum[:4])
}

func newRepliesCmd() *cobra.Command {
	var conn connection
	var done bool
	cmd := &cobra.Command{
		Use: "replies", Short: "Replies no bounce rule understood, by wording", Args: cobra.NoArgs,
		Long: `Lists the replies and reports that no rule understood (class "other"), grouped by wording, the most frequent first. A rule
is made of one with "postroad replies rule KEY --class CLASS"; what was dealt with is listed no more until it comes again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"max": {"1000"}}
			if done {
				q.Set("done", "true")
			}
			return conn.get(cmd, "/v1/replies/unknown", q, &replyList{}, func(w io.Writer, v any) { v.(*replyList).print(w) })
		},
	}
	conn.add(cmd)
	cmd.Flags().BoolVar(&done, "all", false, "also those dealt with")
	cmd.AddCommand(newReplyRuleCmd(), newReplyDoneCmd())
	return cmd
}

func (u *replyList) print(w io.Writer) {
	if len(u.Replies) == 0 {
		hint(w, "every reply was understood")
		return
	}
	rows := [][]string{{"KEY", "COUNT", "LAST SEEN", "STAGE", "FROM", "ONE OF THEM, WORD FOR WORD"}}
	for _, x := range u.Replies {
		from := strings.Join(x.Hosts[:min(len(x.Hosts), 2)], " ")
		if len(x.Hosts) > 2 {
			from += fmt.Sprintf(" +%d", len(x.Hosts)-2)
		}
		state := strings.Join(x.Stages, " ")
		if !x.Done.IsZero() {
			state += " (done)"
		}
		rows = append(rows, []string{x.key(), strconv.FormatInt(x.Count, 10), clock(x.Last), state, oneLine(from, 40), oneLine(x.Sample, 100)})
	}
	table(w, rows)
	fmt.Fprintln(w, dim("\nmake a rule of one: postroad replies rule "+u.Replies[0].key()+" --class CLASS >> RULES/own.toml"))
}

// find returns the wording of a key.
func (c *connection) find(cmd *cobra.Command, key string) (*replyWording, error) {
	var list replyList
	if err := c.do(cmd, http.MethodGet, "/v1/replies/unknown", url.Values{"max": {"1000"}, "done": {"true"}}, nil, &list); err != nil {
		return nil, err
	}
	for i := range list.Replies {
		if list.Replies[i].key() == key {
			return &list.Replies[i], nil
		}
	}
	return nil, fmt.Errorf("there is no unknown reply %s; postroad replies lists them", key)
}

func newReplyDoneCmd() *cobra.Command {
	var conn connection
	var undo bool
	cmd := &cobra.Command{
		Use: "done KEY", Short: "Say that an unknown reply was dealt with", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			x, err := conn.find(cmd, args[0])
			if err != nil {
				return err
			}
			body := map[string]any{"fingerprint": x.Fingerprint, "done": !undo}
			return conn.do(cmd, http.MethodPost, "/v1/replies/unknown", nil, body, nil)
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	cmd.Flags().BoolVar(&undo, "undo", false, "it is to be listed again")
	return cmd
}

func newReplyRuleCmd() *cobra.Command {
	var conn connection
	var class string
	cmd := &cobra.Command{
		Use: "rule KEY", Short: "Make a bounce rule of an unknown reply", Args: cobra.ExactArgs(1),
		Long: `Prints a rule, in TOML, that gives replies of this wording a class; it has been tried on a sample. Read it before you use it; then put it into the folder that "bounce.rules" in
postroad.toml names, and mark the wording with "postroad replies done KEY".`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(mail.Classes, mail.Class(class)) || class == string(mail.ClassOther) {
				return usageError{fmt.Errorf("--class %q: want one of %v", class, mail.Classes[:len(mail.Classes)-1])}
			}
			x, err := conn.find(cmd, args[0])
			if err != nil {
				return err
			}
			rule, err := x.rule(class)
			if err != nil {
				return fmt.Errorf("replies rule: %w", err)
			}
			fmt.Fprint(cmd.OutOrStdout(), rule)
			return nil
		},
	}
	conn.add(cmd)
	cmd.GroupID = ""
	cmd.Flags().StringVar(&class, "class", "", "what it means, such as policy-spam (required)")
	return cmd
}

// rule is the wording as a rule of that class, which decides its sample.
func (u *replyWording) rule(class string) (string, error) {
	text, err := bounce.Suggest(bounce.Input{Text: u.Sample})
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "class = "):
			lines[i] = fmt.Sprintf("class = %q\n", class)
		case strings.HasPrefix(line, "provenance = "):
			lines[i] = fmt.Sprintf("provenance = %q\n", "seen in replies of "+foreign(strings.Join(u.Hosts, ", ")))
		}
	}
	text = fmt.Sprintf("# Seen %d times, from %s to %s.\n", u.Count, u.First.UTC().Format(time.DateOnly), u.Last.UTC().Format(time.DateOnly)) +
		strings.Join(lines, "")
	return text, bounce.CheckFile(text)
}
