package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/postroad/postroad/internal/bounce"
)

// A folder of samples flatters whoever wrote rules while looking at it. What other mail would give is seen better where the
// samples lose what they were understood by: a part, a header, the rule that decided. Some have nothing else (a report whose
// words name nobody cannot be read without its delivery status), so a figure says little by itself; beside that of another
// state of the rules it says which of the two rests on more.

// change spoils a mail before it is read. Without of, it does not.
type change struct {
	name, what string
	of         func(raw []byte) []byte
}

// The changes that have a meaning of their own for ablate.
const (
	changeNone = "none"
	changeRule = "rule"
)

func changes() []change {
	status := func(raw []byte) []byte { return statusField.ReplaceAll(dropParts(raw, statusPart), nil) }
	plain := func(raw []byte) []byte {
		return reportType.ReplaceAll(statusType.ReplaceAll(raw, []byte("${1}text/plain")), []byte("${1}multipart/mixed"))
	}
	failed := inHeader(failedField, "")
	daemon := inHeader(fromField, "${1}From: Network <net@example.net>")
	subject := inHeader(subjectField, "${1}Subject: Mail")
	return []change{
		{changeNone, "nothing is changed", nil},
		{changeRule, "the rule that decided is gone", nil},
		{"status", "the delivery-status parts are gone", status},
		{"plain", "the delivery-status parts are plain text", plain},
		{"words", "the texts are gone", func(raw []byte) []byte { return dropParts(raw, textPart) }},
		{"returned", "the returned message is gone", func(raw []byte) []byte { return dropParts(raw, returnedPart) }},
		{"failed", "X-Failed-Recipients is gone", failed},
		{"daemon", "the sender has a name like any other", daemon},
		{"subject", "the subject says nothing", subject},
		{"boundary", "the header does not name the boundary", inHeader(boundaryParam, "x=")},
		{"all", "status, failed, daemon and subject", func(raw []byte) []byte { return subject(daemon(failed(status(raw)))) }},
	}
}

var (
	statusPart    = regexp.MustCompile(`(?im)^content-type:\s*message/(global-)?delivery-status`)
	returnedPart  = regexp.MustCompile(`(?im)^content-type:\s*(message/(rfc822|global)|(text|message)/rfc822-headers)`)
	textPart      = regexp.MustCompile(`(?im)^content-type:\s*text/(plain|html)`)
	statusType    = regexp.MustCompile(`(?im)^(content-type:\s*)message/(?:global-)?delivery-status`)
	reportType    = regexp.MustCompile(`(?im)^(content-type:\s*)multipart/report`)
	statusField   = regexp.MustCompile(`(?im)^(final-recipient|original-recipient|x-actual-recipient|action|status|diagnostic-code|remote-mta):.*\r?\n([ \t].*\r?\n)*`)
	failedField   = regexp.MustCompile(`(?im)^x-failed-recipients:.*\r?\n([ \t].*\r?\n)*`)
	fromField     = regexp.MustCompile(`(?i)(\A|\n)from:[^\n]*(\n[ \t][^\n]*)*`)
	subjectField  = regexp.MustCompile(`(?i)(\A|\n)subject:[^\n]*(\n[ \t][^\n]*)*`)
	boundaryParam = regexp.MustCompile(`(?i)boundary=`)
)

// inHeader changes the mail's own header: the returned one is another's.
func inHeader(field *regexp.Regexp, to string) func([]byte) []byte {
	return func(raw []byte) []byte {
		head, body := splitHeader(raw)
		return slices.Concat(field.ReplaceAll(head, []byte(to)), body)
	}
}

func splitHeader(raw []byte) (head, body []byte) {
	start := len(raw) - len(bytes.TrimLeft(raw, "\r\n"))
	end := len(raw)
	for _, blank := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(raw[start:], []byte(blank)); i >= 0 {
			end = min(end, start+i+1)
		}
	}
	return raw[:end], raw[end:]
}

// maxPartHeader is how many octets of a part's header are looked at.
const maxPartHeader = 2000

// dropParts takes away the MIME parts whose header fits.
func dropParts(raw []byte, fits *regexp.Regexp) (out []byte) {
	dropping, boundary := false, ""
	for len(raw) > 0 {
		_, rest, _ := bytes.Cut(raw, []byte{'\n'})
		line := raw[:len(raw)-len(rest)]
		mark := strings.TrimRight(string(line), "\r\n \t-")
		if strings.HasPrefix(mark, "--") && len(mark) > 4 && (!dropping || mark == boundary) {
			head, _ := splitHeader(rest)
			last := bytes.HasSuffix(bytes.TrimSpace(line), []byte("--"))
			dropping, boundary = !last && fits.Match(head[:min(len(head), maxPartHeader)]), mark
		}
		if !dropping {
			out = append(out, line...)
		}
		raw = rest
	}
	return out
}

// without returns the built-in rules less one.
func (s *scores) without(id string) (*bounce.Ruleset, error) {
	if id == "" {
		return bounce.Default(), nil
	}
	if r := s.rules[id]; r != nil {
		return r, nil
	}
	r, err := bounce.Load(fstest.MapFS{"without.toml": {Data: fmt.Appendf(nil, "[[rule]]\nid = %q\ndisabled = true\n", id)}})
	if err != nil {
		return nil, err
	}
	if s.rules == nil {
		s.rules = make(map[string]*bounce.Ruleset)
	}
	s.rules[id] = r
	return r, nil
}

// ablate prints the figures of the folder with each change; of one, its misses too.
func ablate(w io.Writer, dir string, p part, only string) error {
	all := changes()
	if only != "each" {
		all = slices.DeleteFunc(all, func(c change) bool { return c.name != only })
	}
	if len(all) == 0 {
		return fmt.Errorf("no change is called %q", only)
	}
	fmt.Fprintf(w, "%-10s %8s %8s %8s %8s %8s\n", "", "replies", "kind", "rcpts", "class", "harm")
	for _, c := range all {
		s := &scores{confusion: matrix{}, kindConf: matrix{}, change: c.of, dropRule: c.name == changeRule}
		replies := "-"
		if c.of == nil {
			if err := scoreReplies(dir, p, s); err != nil {
				return err
			}
			replies = fmt.Sprintf("%.1f", s.replies.percent())
		}
		if err := scoreReports(dir, p, s); err != nil {
			return err
		}
		harm := rate{s.harm.yes + s.reportHarm.yes, s.harm.of + s.reportHarm.of}
		fmt.Fprintf(w, "%-10s %8s %8.1f %8.1f %8.1f %8.1f  %s\n", c.name, replies, s.kinds.percent(), s.recipients.percent(), s.classes.percent(), harm.percent(), c.what)
		if s.autoBounce.yes > 0 {
			fmt.Fprintf(w, "           %d automatic answers taken for bounces\n", s.autoBounce.yes)
		}
		if only == c.name {
			s.list(w)
		}
	}
	return nil
}
