package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

// sendBody is the part of the API's message this command fills in.
type sendBody struct {
	From        string           `json:"from,omitempty"`
	To          []string         `json:"to,omitempty"`
	Cc          []string         `json:"cc,omitempty"`
	Bcc         []string         `json:"bcc,omitempty"`
	Subject     string           `json:"subject,omitempty"`
	Text        string           `json:"text,omitempty"`
	HTML        string           `json:"html,omitempty"`
	Raw         []byte           `json:"raw,omitempty"`
	Attachments []sendAttachment `json:"attachments,omitempty"`
	Tags        []string         `json:"tags,omitempty"`
	Stream      string           `json:"stream,omitempty"`
	RequireTLS  bool             `json:"require_tls,omitempty"`
	SendAt      *time.Time       `json:"send_at,omitempty"`
}

type sendAttachment struct {
	Filename string `json:"filename"`
	Content  []byte `json:"content"`
}

// sent is the API's answer.
type sent struct {
	ID         string `json:"id"`
	Recipients []struct {
		Address  string `json:"address"`
		Delivery string `json:"delivery"`
		Status   string `json:"status"`
		Reason   string `json:"reason"`
	} `json:"recipients"`
}

// pollEvery is how often a waiting command asks again.
const pollEvery = 200 * time.Millisecond

func newSendCmd() *cobra.Command {
	var conn connection
	var body sendBody
	var textFile, htmlFile, rawFile, sendAt string
	var files []string
	var noWait bool
	timeout := timeSpan{time.Minute}
	cmd := &cobra.Command{
		Use: "send --from ADDRESS --to ADDRESS …", Short: "Send one message and show what becomes of it", Args: cobra.NoArgs,
		Long: `Hands in one message, waits, and shows every change until each recipient's fate is known or --timeout is over.
Exits with 0 if every recipient's mail was delivered or relayed, with 3 if not.`,
		Example: `  postroad send --account shop --from info@shop.example --to you@example.com --subject Hello --text "It works."
  postroad send --raw message.eml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillBody(cmd, &body, textFile, htmlFile, rawFile, sendAt, files); err != nil {
				return err
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var s sent
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/messages", nil, body, &s); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			if noWait {
				if conn.json {
					return printJSON(cmd.OutOrStdout(), s)
				}
				fmt.Fprintln(cmd.OutOrStdout(), s.ID)
				return nil
			}
			return follow(cmd, c, s, timeout.Duration, conn.json)
		},
	}
	conn.add(cmd)
	f := cmd.Flags()
	f.StringVar(&body.From, "from", "", "author: a sender of the account")
	f.StringSliceVar(&body.To, "to", nil, "recipient; may be given several times")
	f.StringSliceVar(&body.Cc, "cc", nil, "recipient of a copy")
	f.StringSliceVar(&body.Bcc, "bcc", nil, "recipient nobody sees")
	f.StringVar(&body.Subject, "subject", "", "subject")
	f.StringVar(&body.Text, "text", "", "text of the message")
	f.StringVar(&textFile, "text-file", "", "file with the text; - reads standard input")
	f.StringVar(&htmlFile, "html-file", "", "file with the HTML part")
	f.StringSliceVar(&files, "attach", nil, "file to attach; may be given several times")
	f.StringVar(&rawFile, "raw", "", "file with a whole message (RFC 5322) instead; - reads standard input")
	f.StringSliceVar(&body.Tags, "tag", nil, "tag; may be given several times")
	f.StringVar(&body.Stream, "stream", "", "transactional or bulk")
	f.StringVar(&sendAt, "send-at", "", "not before this time (RFC 3339)")
	f.BoolVar(&body.RequireTLS, "require-tls", false, "deliver over TLS or not at all")
	f.BoolVar(&noWait, "no-wait", false, "only hand it in and print its id")
	f.Var(&timeout, "timeout", "how long to wait for the outcome")
	return cmd
}

func fillBody(cmd *cobra.Command, body *sendBody, textFile, htmlFile, rawFile, sendAt string, files []string) error {
	read := func(name string, to *string) error {
		if name == "" {
			return nil
		}
		b, err := readFile(cmd, name)
		*to = string(b)
		return err
	}
	if err := errors.Join(read(textFile, &body.Text), read(htmlFile, &body.HTML)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if rawFile != "" {
		raw, err := readFile(cmd, rawFile)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		body.Raw = bytes.Clone(raw)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("send: attach: %w", err)
		}
		body.Attachments = append(body.Attachments, sendAttachment{filepath.Base(name), b})
	}
	if sendAt != "" {
		t, err := time.Parse(time.RFC3339, sendAt)
		if err != nil {
			return usageError{fmt.Errorf("--send-at: want a time like 2026-01-02T15:04:05Z, got %q", sendAt)}
		}
		body.SendAt = &t
	}
	if rawFile == "" && body.From == "" {
		return usageError{errors.New("--from is needed (or --raw)")}
	}
	return nil
}

// follow shows what becomes of a message until it is known for every recipient.
func follow(cmd *cobra.Command, c *client.Client, s sent, timeout time.Duration, asJSON bool) error {
	out := cmd.OutOrStdout()
	if !asJSON {
		fmt.Fprintf(out, "%s accepted\n", s.ID)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	shown := map[string]string{}
	m := &message{ID: s.ID}
	for {
		now, err := getMessage(ctx, c, s.ID)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("send: ask for the outcome: %w", err)
		}
		done := err == nil && len(now.Deliveries) > 0
		if err == nil {
			m = now
		}
		for i := range m.Deliveries {
			d := &m.Deliveries[i]
			done = done && d.final()
			if key := d.State + d.Reply + d.Why; !asJSON && shown[d.ID] != key {
				shown[d.ID] = key
				showDelivery(out, d)
			}
		}
		if done || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
	if cmd.Context().Err() != nil {
		return cmd.Context().Err()
	}
	return sentResult(out, m, asJSON, timeout)
}

func sentResult(out io.Writer, m *message, asJSON bool, timeout time.Duration) error {
	if asJSON {
		if err := json.NewEncoder(out).Encode(m); err != nil {
			return err
		}
	}
	// With no answer within the timeout nothing is known, not even whom it waits for.
	all, waiting := len(m.Deliveries) > 0, len(m.Deliveries) == 0
	for i := range m.Deliveries {
		all = all && m.Deliveries[i].arrived()
		waiting = waiting || !m.Deliveries[i].final()
	}
	if waiting && !asJSON {
		fmt.Fprintf(out, "not known yet after %s; it goes on: postroad trace %s\n", timeout, m.ID)
	}
	if !all {
		return exitError{exitNotAsWanted}
	}
	return nil
}

// showDelivery prints where a delivery stands.
func showDelivery(out io.Writer, d *delivery) {
	line := fmt.Sprintf("  %-10s %s", paint(d.State), d.Recipient)
	if d.Class != "" {
		line += "  " + d.Class
	}
	if d.Reply != "" {
		line += "  " + dim(oneLine(d.Reply, 100))
	}
	if d.Reason != "" {
		line += "  " + d.Reason
	}
	if d.Why != "" && !d.final() {
		line += "  (" + d.Why + ")"
	}
	fmt.Fprintln(out, line)
}
