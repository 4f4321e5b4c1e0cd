package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// labelled is one row of labels.tsv: one recipient of one mail, or one mail without a recipient.
type labelled struct{ recipient, class, alt, kind string }

// scoreReports judges every mail that bounces/labels.tsv names.
func scoreReports(dir string, p part, s *scores) error {
	t, err := readTable(path.Join(dir, "bounces", "labels.tsv"))
	if err != nil {
		return err
	}
	var files []string
	rows := make(map[string][]labelled)
	for _, row := range t.rows {
		file := t.get(row, "file")
		if !p.takes(path.Base(file)) {
			continue
		}
		if rows[file] == nil {
			files = append(files, file)
		}
		rows[file] = append(rows[file], labelled{t.get(row, "recipient"), t.get(row, "class"), t.get(row, "class_alt"), t.get(row, "kind")})
	}
	rules := bounce.Default()
	for _, file := range files {
		raw, err := os.ReadFile(path.Join(dir, "bounces", file))
		if err != nil {
			return err
		}
		if s.change != nil {
			raw = s.change(raw)
		}
		s.aside = p == all && held.takes(path.Base(file))
		rep := report.Parse(raw, report.Limits{})
		vs := rules.Report(rep)
		if s.dropRule {
			for i := range vs {
				less, err := s.without(vs[i].Rule)
				if err != nil {
					return err
				}
				vs[i] = less.Report(rep)[i]
			}
		}
		s.scoreMail(file, rows[file], rep, vs)
	}
	return nil
}

// scoreMail judges one mail.
func (s *scores) scoreMail(file string, want []labelled, rep *report.Report, vs []bounce.Verdict) {
	if want[0].kind == "auto-reply" {
		s.autoBounce.add(rep.Kind == report.Bounce || rep.Kind == report.Delay)
	}
	if kind := wantKind(want); kind != "" {
		ok := kind == rep.Kind
		s.kinds.add(ok)
		s.kindConf.add(string(kind), string(rep.Kind), ok)
		if !ok {
			s.miss("kind", string(kind), "", string(rep.Kind), file)
		}
	}
	got := make(map[string]int)
	for i, rc := range rep.Recipients {
		got[strings.ToLower(rc.Address)] = i
	}
	if want[0].kind == "unknown" || want[0].kind == "not-bounce" || want[0].kind == "auto-reply" {
		if len(rep.Recipients) > 0 && want[0].recipient == "" {
			s.recipients.add(false)
			s.miss("invented", want[0].kind, "", rep.Recipients[0].Address, file)
		}
		return
	}
	for _, w := range want {
		if w.recipient == "" {
			continue
		}
		i, found := got[strings.ToLower(w.recipient)]
		s.recipients.add(found)
		if !found {
			s.miss("recipient", w.recipient, "", fmt.Sprint(addresses(rep)), file)
		}
		if w.class == "" || strings.HasPrefix(w.alt, "*") || w.kind == "delivered" {
			continue
		}
		class, rule, text := "", "", ""
		if found {
			class, rule, text = corpusClass(vs[i].Class), vs[i].Rule, rep.Recipients[i].Diagnostic
			harm := vs[i].Action == mail.ActionSuppress && !suppressible(w.class) && !suppressibleAlt(w.alt)
			s.reportHarm.add(harm)
			if harm {
				s.miss("harm", w.class, w.alt, class+" ("+rule+")", file+": "+text)
			}
		}
		ok := accepted(class, w.class, w.alt)
		s.classes.add(ok)
		s.confusion.add(w.class, class, ok)
		if !ok {
			s.miss("class", w.class, w.alt, class+" ("+rule+")", file+": "+text)
		}
	}
}

func addresses(rep *report.Report) (all []string) {
	for _, rc := range rep.Recipients {
		all = append(all, rc.Address)
	}
	return all
}

// wantKind is the kind the labels of one mail ask for; "" where they ask for none.
func wantKind(rows []labelled) report.Kind {
	kind := report.Kind("")
	for _, r := range rows {
		switch r.kind {
		case "failed":
			return report.Bounce
		case "delayed":
			kind = report.Delay
		case "delivered":
			if kind == "" {
				kind = report.Delivered
			}
		case "auto-reply":
			return report.AutoReply
		case "not-bounce":
			return report.Other
		}
	}
	return kind
}
