package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

// archiveFilter chooses archived messages of an account.
type archiveFilter struct {
	when              interval
	recipient, sender string
}

func (f *archiveFilter) add(cmd *cobra.Command) {
	s := cmd.Flags()
	f.when.add(cmd, "accepted")
	s.StringVar(&f.recipient, "recipient", "", "recipient address")
	s.StringVar(&f.sender, "sender", "", "sender address or domain")
}

func (f *archiveFilter) query(account string) (url.Values, error) {
	q := url.Values{}
	setAll(q, map[string]string{"account": account, "recipient": f.recipient, "sender": f.sender})
	return q, f.when.set(q, "from", "to")
}

func newArchiveCmd() *cobra.Command {
	var conn connection
	var raw bool
	cmd := &cobra.Command{
		Use: "archive", Short: "What was sent: list, show and export archived mail", Args: cobra.NoArgs,
		Long: `An account keeps what it sends if its archive has days ("archive = {days = 30}" in postroad apply). Looking at it needs
an API key with the scopes read and content, or the admin socket; every look is in the audit log.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.GroupID = "use"
	show := &cobra.Command{
		Use: "show ID", Short: "Show the content of a message (msg_…), or of that of a delivery (dlv_…)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			id := args[0]
			if strings.HasPrefix(id, "dlv_") {
				var d delivery
				if err := c.Do(cmd.Context(), http.MethodGet, "/v1/deliveries/"+url.PathEscape(id), nil, nil, &d); err != nil {
					return fmt.Errorf("archive show %s: %w", id, err)
				}
				id = d.Message
			}
			path := "/v1/messages/" + url.PathEscape(id) + "/content"
			if raw {
				err = c.Fetch(cmd.Context(), path, nil, "message/rfc822", cmd.OutOrStdout())
			} else {
				err = conn.get(cmd, path, nil, &content{}, func(w io.Writer, v any) { v.(*content).print(w) })
			}
			if err != nil {
				return fmt.Errorf("archive show %s: %w", args[0], err)
			}
			return nil
		},
	}
	conn.add(show)
	show.GroupID = ""
	show.Flags().BoolVar(&raw, "raw", false, "print the message as it was stored")
	cmd.AddCommand(newArchiveListCmd(), show, newArchiveExportCmd())
	return cmd
}

// content is what the API tells of a content.
type content struct {
	Message string `json:"message"`
	From    string `json:"from"`
	Size    int64  `json:"size"`
	Headers []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"headers"`
	Text        string `json:"text,omitempty"`
	HTML        string `json:"html,omitempty"`
	Attachments []struct {
		ContentType string `json:"content_type"`
		Filename    string `json:"filename,omitempty"`
		Size        int    `json:"size"`
	} `json:"attachments"`
	Problem string `json:"problem,omitempty"`
}

func (c *content) print(w io.Writer) {
	fmt.Fprintf(w, "%s  %d octets, from the %s\n\n", strong(c.Message), c.Size, c.From)
	for _, h := range c.Headers {
		fmt.Fprintf(w, "%s: %s\n", h.Name, h.Value)
	}
	fmt.Fprintln(w)
	switch {
	case c.Text != "":
		fmt.Fprintln(w, c.Text)
	case c.HTML != "":
		fmt.Fprintln(w, c.HTML)
	}
	for _, a := range c.Attachments {
		fmt.Fprintf(w, "%s %s, %d octets encoded\n", dim("attached:"), oneLine(a.Filename+" "+a.ContentType, 100), a.Size)
	}
	if c.Problem != "" {
		fmt.Fprintln(w, warn(c.Problem))
	}
}

type archivedList struct {
	Messages []archivedMessage `json:"messages"`
	Next     string            `json:"next,omitempty"`
}

type archivedMessage struct {
	ID         string    `json:"id"`
	AcceptedAt time.Time `json:"accepted_at"`
	From       string    `json:"from"`
	HeaderFrom string    `json:"header_from"`
	Subject    string    `json:"subject"`
	Size       int64     `json:"size"`
	Recipients int       `json:"recipients"`
}

func newArchiveListCmd() *cobra.Command {
	var conn connection
	var f archiveFilter
	var p pager
	cmd := &cobra.Command{
		Use: "list", Short: "List archived messages of --account, oldest first", Args: cobra.NoArgs,
		Example: `  postroad archive list --account shop --recipient user@example.com --from 30d`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			q, err := f.query(conn.account)
			if err != nil {
				return err
			}
			all := archivedList{Messages: []archivedMessage{}}
			all.Next, err = pages(cmd.Context(), c, "/v1/archive/messages", q, p, func(page *archivedList) (int, string) {
				all.Messages = append(all.Messages, page.Messages...)
				return len(page.Messages), page.Next
			})
			if err != nil {
				return fmt.Errorf("archive list: %w", err)
			}
			if conn.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if len(all.Messages) == 0 {
				hint(conn.screen(cmd), "nothing that fits is in the archive")
				return nil
			}
			rows := [][]string{{"ACCEPTED", "MESSAGE", "FROM", "RECIPIENTS", "OCTETS", "SUBJECT"}}
			for _, m := range all.Messages {
				rows = append(rows, []string{clock(m.AcceptedAt), m.ID, orNull(m.HeaderFrom), strconv.Itoa(m.Recipients), strconv.FormatInt(m.Size, 10), oneLine(m.Subject, 60)})
			}
			table(conn.screen(cmd), rows)
			conn.more(cmd, all.Next)
			return nil
		},
	}
	conn.add(cmd)
	f.add(cmd)
	cmd.GroupID = ""
	p.add(cmd)
	return cmd
}

func newArchiveExportCmd() *cobra.Command {
	var conn connection
	var f archiveFilter
	format, out := "mbox", "-"
	cmd := &cobra.Command{
		Use: "export", Short: "Write archived messages of --account as mbox, or one .eml file each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			switch format {
			case "mbox":
				err = f.exportMbox(cmd, c, conn.account, out)
			case "eml":
				if out == "-" {
					return usageError{errors.New("--format eml writes a file for each message: name a folder with -o")}
				}
				err = f.exportFiles(cmd, c, conn.account, out)
			default:
				return usageError{fmt.Errorf("--format %q is none of mbox, eml", format)}
			}
			if err != nil {
				return fmt.Errorf("archive export: %w", err)
			}
			return nil
		},
	}
	conn.add(cmd)
	f.add(cmd)
	cmd.GroupID = ""
	cmd.Flags().StringVar(&format, "format", format, "mbox or eml")
	cmd.Flags().StringVarP(&out, "output", "o", out, "file (mbox; - for standard output) or folder (eml)")
	return cmd
}

// exportMbox writes one mbox. A file has its name only when it is complete, and replaces nothing.
func (f *archiveFilter) exportMbox(cmd *cobra.Command, c *client.Client, account, out string) error {
	q, err := f.query(account)
	if err != nil {
		return err
	}
	if out == "-" {
		return c.Fetch(cmd.Context(), "/v1/archive", q, "application/mbox", cmd.OutOrStdout())
	}
	n := &counted{}
	err = writeNew(out, func(w io.Writer) error {
		n.Writer = w
		return c.Fetch(cmd.Context(), "/v1/archive", q, "application/mbox", n)
	})
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d octets written to %s\n", n.octets, out)
		if n.octets == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), warn("nothing is archived that matches"))
		}
	}
	return err
}

// counted counts what is written.
type counted struct {
	io.Writer
	octets int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.octets += int64(n)
	return n, err
}

// exportFiles writes a file per message. Those that are there already, from an export that was stopped, stay.
func (f *archiveFilter) exportFiles(cmd *cobra.Command, c *client.Client, account, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	q, err := f.query(account)
	if err != nil {
		return err
	}
	n, had := 0, 0
	var failed error
	_, err = pages(cmd.Context(), c, "/v1/archive/messages", q, pager{}, func(page *archivedList) (int, string) {
		for _, m := range page.Messages {
			name := filepath.Join(dir, m.ID+".eml")
			if _, err := os.Stat(name); err == nil {
				had++
				continue
			}
			failed = writeNew(name, func(w io.Writer) error {
				return c.Fetch(cmd.Context(), "/v1/messages/"+url.PathEscape(m.ID)+"/content", nil, "message/rfc822", w)
			})
			if failed != nil {
				return 0, ""
			}
			n++
		}
		return len(page.Messages), page.Next
	})
	err = errors.Join(err, failed)
	fmt.Fprintf(cmd.ErrOrStderr(), "%d messages written to %s; %d were there already\n", n, dir, had)
	return err
}

// writeNew writes a file that gets its name when it is complete.
func writeNew(name string, write func(io.Writer) error) (err error) {
	if _, err := os.Stat(name); err == nil {
		return fmt.Errorf("%s is there already", name)
	}
	part := name + ".part"
	w, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(w)
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, name)
}

func newResendCmd() *cobra.Command {
	var conn connection
	var body struct {
		To    []string `json:"to,omitempty"`
		Force bool     `json:"force,omitempty"`
	}
	cmd := &cobra.Command{
		Use: "resend ID", Short: "Send a message again, from the archive", Args: cobra.ExactArgs(1),
		Long: `Sends an archived message (msg_…), or one that is still on its way, again to its recipients; with the id of a delivery
(dlv_…) to that one's recipient alone; with --to to somebody else. It is a new message, linked to the original in both
timelines; its content, Message-ID and Date stay, with Resent fields put before the header. Who is suppressed gets nothing
(exit code 3), unless the operator says --force.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			var out sent
			if err := c.Do(cmd.Context(), http.MethodPost, "/v1/messages/"+url.PathEscape(args[0])+"/resend", nil, body, &out); err != nil {
				return fmt.Errorf("resend %s: %w", args[0], err)
			}
			if conn.json {
				err = printJSON(cmd.OutOrStdout(), out)
			} else {
				var b bytes.Buffer
				fmt.Fprintf(&b, "%s sends %s again\n", strong(out.ID), args[0])
				for _, r := range out.Recipients {
					fmt.Fprintf(&b, "  %s  %s %s\n", r.Address, paint(r.Status), r.Reason)
				}
				_, err = conn.screen(cmd).Write(b.Bytes())
			}
			if err != nil {
				return err
			}
			for _, r := range out.Recipients {
				if r.Status == "suppressed" {
					return exitError{exitNotAsWanted}
				}
			}
			return nil
		},
	}
	conn.add(cmd)
	cmd.Flags().StringArrayVar(&body.To, "to", nil, "send it to this address instead (may be repeated)")
	cmd.Flags().BoolVar(&body.Force, "force", false, "send also to who is suppressed (operators)")
	return cmd
}
