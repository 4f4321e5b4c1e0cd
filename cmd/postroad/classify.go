package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// classified is one line of output, its fields as the contract of the command names them.
type classified struct {
	Input      string                `json:"input"`
	Kind       string                `json:"kind"`
	Recipients []classifiedRecipient `json:"recipients"`
	// Reason is what settled the kind; with --explain only.
	Reason string `json:"reason,omitempty"`
}

type classifiedRecipient struct {
	Address    string `json:"address"`
	Status     string `json:"status"`
	Class      string `json:"class"`
	Action     string `json:"action"`
	Diagnostic string `json:"diagnostic"`
	Original   string `json:"original,omitempty"` // Original-Recipient, where it is another

	// With --explain: what decided.
	Scope   string   `json:"scope,omitempty"`
	Rule    string   `json:"rule,omitempty"`
	Rows    []string `json:"rows,omitempty"`
	Matched []string `json:"matched,omitempty"`
}

// maxClassifyLine bounds one row of a table of replies, in octets.
const maxClassifyLine = 1 << 20

func newClassifyCmd() *cobra.Command {
	var replies, explain, suggest bool
	var rulesDir string
	cmd := &cobra.Command{
		Use: "classify FILE...", Short: "Say what bounces and replies mean", GroupID: "files", Args: cobra.MinimumNArgs(1),
		Long: `Reads mails that came back and prints, one JSON object a line, what each is and what it means for each
recipient. With --replies the files are tables of SMTP replies, columns separated by tabs; a header line names
the columns, of which code, enhanced and text are read. "-" reads standard input. Needs no running platform.

With --suggest it prints instead, for every wording no rule knows, a rule to complete: put it into the folder of
own rules (bounce.rules) once class and provenance are right; --rules tries a folder.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			rules := bounce.Default()
			if rulesDir != "" {
				var err error
				if rules, err = bounce.Load(os.DirFS(rulesDir)); err != nil {
					return err
				}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			c := classifier{rules: rules, explain: explain, out: json.NewEncoder(out)}
			if suggest {
				c.unknown = &unknownReplies{}
			}
			c.out.SetEscapeHTML(false)
			for _, file := range args {
				read := c.mail
				if replies {
					read = c.replies
				}
				if err := openInput(cmd, file, read); err != nil {
					return err
				}
			}
			if suggest {
				c.unknown.print(out)
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&replies, "replies", false, "read tables of SMTP replies")
	cmd.Flags().BoolVar(&explain, "explain", false, "say which rule decided, and which others held")
	cmd.Flags().BoolVar(&suggest, "suggest", false, "print a rule to complete for every wording no rule knows")
	cmd.Flags().StringVar(&rulesDir, "rules", "", "folder of rule files laid over the built-in ones")
	cmd.MarkFlagsMutuallyExclusive("explain", "suggest")
	return cmd
}

// openInput calls read with a file, or with standard input for "-".
func openInput(cmd *cobra.Command, file string, read func(name string, r io.Reader) error) error {
	if file == "-" {
		return read(file, cmd.InOrStdin())
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(file, f)
}

type classifier struct {
	rules   *bounce.Ruleset
	explain bool
	out     *json.Encoder
	unknown *unknownReplies // nil: verdicts are printed
}

// mail classifies one mail.
func (c *classifier) mail(name string, r io.Reader) error {
	// One octet more than is read: Parse then knows that the mail goes on.
	raw, err := io.ReadAll(io.LimitReader(r, int64(report.DefaultLimits.Bytes)+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	rep := report.Parse(raw, report.Limits{})
	line := classified{Input: name, Kind: string(rep.Kind), Recipients: []classifiedRecipient{}}
	if c.explain {
		line.Reason = rep.Reason
	}
	for i, v := range c.rules.Report(rep) {
		rc := &rep.Recipients[i]
		if c.unknown != nil {
			if v.Class == mail.ClassOther {
				c.unknown.add(bounce.Input{Code: rc.Code, Enhanced: rc.Status, Text: rc.Diagnostic})
			}
			continue
		}
		got := classifiedRecipient{
			Address: rc.Address, Status: rc.Status.String(), Class: string(v.Class), Action: string(v.Action), Diagnostic: rc.Diagnostic,
		}
		if !strings.EqualFold(rc.Original, rc.Address) {
			got.Original = rc.Original
		}
		if c.explain {
			got.Rule, got.Scope = v.Rule, string(v.Scope)
		}
		line.Recipients = append(line.Recipients, got)
	}
	if c.unknown != nil {
		return nil
	}
	return c.out.Encode(line)
}

// replies classifies the rows of a table.
func (c *classifier) replies(name string, r io.Reader) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxClassifyLine)
	var column map[string]int
	for n := 1; sc.Scan(); n++ {
		cells := strings.Split(strings.TrimSuffix(sc.Text(), "\r"), "\t")
		if column == nil {
			column = make(map[string]int, len(cells))
			for i, head := range cells {
				column[strings.ToLower(strings.TrimSpace(head))] = i
			}
			if _, ok := column["text"]; !ok {
				return fmt.Errorf("%s: the header line names no column text", name)
			}
			continue
		}
		if len(cells) == 1 && cells[0] == "" {
			continue
		}
		get := func(head string) string {
			if i, ok := column[head]; ok && i < len(cells) {
				return strings.TrimSpace(cells[i])
			}
			return ""
		}
		code := 0
		if s := get("code"); s != "" {
			var err error
			if code, err = strconv.Atoi(s); err != nil || code < 0 || code > 999 {
				return fmt.Errorf("%s:%d: %q is no reply code", name, n, s)
			}
		}
		if err := c.reply(name+":"+strconv.Itoa(n), bounce.ReadReply(code, get("enhanced"), get("text"))); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (c *classifier) reply(input string, in bounce.Input) error {
	x := c.rules.Explain(in)
	if c.unknown != nil {
		if x.Verdict.Class == mail.ClassOther {
			c.unknown.add(in)
		}
		return nil
	}
	got := classifiedRecipient{
		Status: in.Enhanced.String(), Class: string(x.Verdict.Class), Action: string(x.Verdict.Action), Diagnostic: in.Text,
	}
	if c.explain {
		got.Rule, got.Scope, got.Rows = x.Verdict.Rule, string(x.Verdict.Scope), x.Rows
		for _, m := range x.Matched {
			got.Matched = append(got.Matched, m.Rule.ID)
		}
	}
	return c.out.Encode(classified{Input: input, Kind: "reply", Recipients: []classifiedRecipient{got}})
}
