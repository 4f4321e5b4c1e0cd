package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// table is a file of tab separated columns with a header line; there is no quoting.
type table struct {
	column map[string]int
	rows   [][]string
}

func readTable(file string) (*table, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := &table{column: make(map[string]int)}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		cells := strings.Split(sc.Text(), "\t")
		if len(t.column) == 0 {
			for i, name := range cells {
				t.column[name] = i
			}
			continue
		}
		t.rows = append(t.rows, cells)
	}
	return t, sc.Err()
}

func (t *table) get(row []string, name string) string {
	if i, ok := t.column[name]; ok && i < len(row) {
		return row[i]
	}
	return ""
}

// scoreReplies judges every row of the file.
func scoreReplies(dir string, p part, s *scores) error {
	t, err := readTable(path.Join(dir, "smtp-replies.tsv"))
	if err != nil {
		return err
	}
	rules := bounce.Default()
	for _, row := range t.rows {
		text := t.get(row, "text")
		key := replyKey(t.get(row, "source"), text)
		if !p.takes(key) {
			continue
		}
		s.aside = p == all && held.takes(key)
		in := bounce.Input{Text: text}
		if in.Code, err = strconv.Atoi(t.get(row, "code")); err != nil {
			return fmt.Errorf("code %q: %w", t.get(row, "code"), err)
		}
		in.Enhanced, _, _ = smtp.ParseEnhanced(t.get(row, "enhanced"))
		v := rules.Reply(in)
		if s.dropRule {
			less, err := s.without(v.Rule)
			if err != nil {
				return err
			}
			v = less.Reply(in)
		}
		label, got := t.get(row, "label"), corpusClass(v.Class)
		ok := accepted(got, label, t.get(row, "alt"))
		shown := strings.TrimSpace(t.get(row, "code")+" "+t.get(row, "enhanced")) + " " + text
		s.replies.add(ok)
		s.confusion.add(label, got, ok)
		if !ok {
			s.miss("reply", label, t.get(row, "alt"), fmt.Sprintf("%s (%s)", got, v.Rule), shown)
		}
		harm := v.Action == mail.ActionSuppress && !suppressible(label) && !suppressibleAlt(t.get(row, "alt"))
		s.harm.add(harm)
		if harm {
			s.miss("harm", label, t.get(row, "alt"), fmt.Sprintf("%s (%s)", got, v.Rule), shown)
		}
	}
	return nil
}

// replyKey is what a reply is set aside by: the mail it was taken from, else its text, so that a mail and its replies
// fall on the same side.
func replyKey(source, text string) string {
	base := path.Base(source)
	if strings.HasSuffix(base, ".eml") || strings.HasSuffix(base, ".msg") {
		return base
	}
	return text
}

// corpusClass writes a class as the corpus does.
func corpusClass(c mail.Class) string {
	switch c {
	case mail.ClassProtocol:
		return "protocol/config"
	case mail.ClassNetwork, mail.ClassExpired:
		return "transient-system"
	}
	return string(c)
}

// accepted reports whether a fair judge accepts got.
func accepted(got, label, alt string) bool {
	if got == label {
		return true
	}
	for a := range strings.SplitSeq(alt, "|") {
		if a == got || strings.HasPrefix(a, "*") {
			return true
		}
	}
	return false
}

func suppressible(label string) bool {
	return label == string(mail.ClassInvalidRecipient) || label == string(mail.ClassInactive) || label == string(mail.ClassInvalidDomain)
}

func suppressibleAlt(alt string) bool {
	for a := range strings.SplitSeq(alt, "|") {
		if suppressible(a) {
			return true
		}
	}
	return false
}
