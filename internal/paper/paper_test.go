package paper

import (
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
)

var keep = flag.String("keep", "", "folder to keep the pages of the samples in, to look at them")

var now = time.Date(2026, 3, 31, 14, 5, 0, 0, time.UTC)

// sampleReport is a month of an account with every section filled. hostile is put wherever foreign text can be.
func sampleReport(t testing.TB, period, hostile string) *figures.Report {
	t.Helper()
	p, err := figures.ParsePeriod(period, now)
	if err != nil {
		t.Fatal(err)
	}
	b := figures.New("acme", p, now)
	for i, at := int64(0), p.From; at.Before(p.To) && at.Before(now); i, at = i+1, at.Add(p.Step()) {
		n := 4000 + 900*(i%7) - 37*i
		b.Outcome(at, "delivered", "", n)
		b.Outcome(at, "relayed", "", n/9)
		b.Outcome(at, "bounced", mail.ClassInvalidRecipient, n/40+i)
		b.Outcome(at, "bounced", mail.ClassMailboxFull, n/150)
		b.Outcome(at, "bounced", mail.ClassPolicySpam, n/90)
		b.Outcome(at, "bounced_late", mail.ClassInvalidRecipient, n/200)
		b.Outcome(at, "expired", mail.ClassNetwork, n/300)
		b.Outcome(at, "suppressed", "", n/120)
		b.Sender("shop.example"+hostile, "delivered", n)
		b.Sender("news.shop.example", "bounced", n/40)
		b.Domain("bigmail.example", "delivered", "", n)
		b.Domain("bigmail.example", "bounced", mail.ClassInvalidRecipient, n/60)
		b.Domain("old-company.example"+hostile, "bounced", mail.ClassInvalidDomain, n/70)
	}
	b.Outcome(p.From.Add(p.Step()), "deferred", mail.ClassGreylisted, 321)
	b.Outcome(p.From.Add(p.Step()), "held", "", 12)
	b.Outcome(p.From.Add(p.Step()), "cancelled", "", 57)
	for i, n := range []int64{52000, 31000, 22000, 9000, 4000, 1800, 900, 2500, 1300, 300, 120, 60, 40, 12} {
		d := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}[i]
		b.Took(d, n, time.Duration(n)*d/2)
	}
	for mark, n := range map[string]int64{"deferred": 5120, "complained": 17, "auto_replied": 240, "uncertain": 2, "unsubscribed": 31} {
		b.Mark(mark, n)
	}
	for kind, n := range map[string]int64{"bounced_late": 260, "complained": 21, "auto_replied": 233, "deferred": 8120} {
		b.Arrived(kind, n)
	}
	for i := range 60 {
		f := &figures.Failure{Domain: "bigmail.example", Receiver: "bigmail", Host: "mx.bigmail.example", Class: mail.ClassInvalidRecipient, Code: 550, Enhanced: "5.1.1", Reply: "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking the recipient's email address for typos" + hostile, Fingerprint: "550 5.1.1 no such account"}
		switch {
		case i%9 == 0:
			f.Domain, f.Class, f.Reply, f.Fingerprint = "old-company.example"+hostile, mail.ClassOther, "550 Computer says no"+hostile, "550 computer says no"
		case i%5 == 0:
			f.Waiting, f.Class, f.Reply, f.Fingerprint = true, mail.ClassGreylisted, "451 4.7.1 Greylisted, see http://greylist.example/why?x=1&y=<2>", "451 4.7.1 greylisted"
		case i%4 == 0:
			f.Class, f.Reply, f.Fingerprint = mail.ClassPolicySpam, "554 5.7.1 Message refused by content filter", "554 5.7.1 refused by filter"
		}
		b.Failure(f)
	}
	return b.Report()
}

const hostile = "<script>alert(1)</script>\"'>&=cmd|' /C calc'!A0\x1b[31m\u202e"

func page64(t testing.TB, r *figures.Report) string {
	t.Helper()
	var b strings.Builder
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTML(t *testing.T) {
	for name, r := range map[string]*figures.Report{
		"month": sampleReport(t, "2026-03", ""), "today": sampleReport(t, "today", ""), "hostile": sampleReport(t, "7d", hostile),
		"empty": figures.New("acme", sampleReport(t, "today", "").Period, now).Report(),
	} {
		text := page64(t, r)
		if *keep != "" {
			if err := os.WriteFile(*keep+"/"+name+".html", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, bad := range []string{"<script", "http-equiv=\"refresh", "<img", "<link", "@import", "url(", "\x1b", "\u202e", "ZgotmplZ", "NaN", "+Inf"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		if m := regexp.MustCompile(`(src|href|action)=`).FindString(text); m != "" {
			t.Errorf("%s: the page refers to something outside: %s", name, m)
		}
		checkTags(t, name, text)
		for _, svg := range regexp.MustCompile(`(?s)<svg[^>]*>.*?</svg>`).FindAllString(text, -1) {
			if !strings.Contains(svg, `role="img"`) || !strings.Contains(svg, "<title>") || !strings.Contains(svg, "aria-label=") {
				t.Errorf("%s: a chart says nothing to who cannot see it: %.100s", name, svg)
			}
		}
	}
	text := page64(t, sampleReport(t, "2026-03", ""))
	for _, want := range []string{
		"<h1>Delivery report of acme</h1>", "2026-03-01 to 2026-03-31 (UTC)", "does not mean the inbox", "Bounced late", "greylist.example/why?x=1&amp;y=&lt;2&gt;",
		"Replies no rule understood", "Computer says no", "news.shop.example",
		".scroll{overflow:visible}.cols{min-width:0", // on paper nothing can be scrolled
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// checkTags reads the page as XML in HTML's manner: every tag that opens closes.
func checkTags(t *testing.T, name, text string) {
	t.Helper()
	text = regexp.MustCompile(`<(meta [^>]*|br)>`).ReplaceAllString(text[strings.Index(text, "<html"):], "")
	d := xml.NewDecoder(strings.NewReader(text))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: the page is not well formed: %v", name, err)
			return
		}
	}
}

func TestCSV(t *testing.T) {
	r := sampleReport(t, "7d", hostile)
	r.Domains = append(r.Domains, figures.Domain{Domain: "=HYPERLINK(\"http://bad.example\")", Over: 1, Failed: 1})
	var b strings.Builder
	if err := CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\r\n") {
		t.Error("lines do not end in CRLF")
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]string{}
	for _, row := range rows {
		if len(row) != 4 {
			t.Fatalf("%q has %d columns", row, len(row))
		}
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+@\t\r", rune(cell[0])) || strings.ContainsAny(cell, "\x1b\n\u202e") {
				t.Errorf("a spreadsheet may run %q", cell)
			}
		}
		value[strings.Join(row[:3], "/")] = row[3]
	}
	sum := int64(0)
	for _, key := range []string{"delivered", "relayed", "bounced", "bounced_late", "expired", "suppressed", "cancelled", "waiting"} {
		n := int64(0)
		if _, err := fmt.Sscan(value["total//"+key], &n); err != nil {
			t.Errorf("total %s is %q", key, value["total//"+key])
		}
		sum += n
	}
	if fmt.Sprint(sum) != value["total//accepted"] {
		t.Errorf("the outcomes add up to %d, accepted were %s", sum, value["total//accepted"])
	}
	if value["speed//median_s"] != "2" || value["report//account"] != "acme" || value["total//complained"] != "17" {
		t.Errorf("median %q, account %q, complained %q", value["speed//median_s"], value["report//account"], value["total//complained"])
	}
}

func TestText(t *testing.T) {
	for _, width := range []int{0, 40, 60, 80, 120, 400} {
		for _, r := range []*figures.Report{sampleReport(t, "2026-03", ""), sampleReport(t, "7d", hostile)} {
			var b strings.Builder
			if err := Text(&b, r, TextOptions{Width: width}); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(b.String(), "\x1b\u202e") {
				t.Error("foreign control characters reach the terminal")
			}
			for line := range strings.Lines(b.String()) {
				// Tables of figures may be longer than a narrow window; bars, replies and sentences keep to it.
				figures := strings.Contains(line, "DOMAIN") || strings.Contains(line, ".example") && strings.Contains(line, " %")
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width >= 80 && n > width && !figures {
					t.Errorf("at width %d a line has %d: %s", width, n, line)
				}
			}
			// Who reads it in a narrow window, or in a mail, can read what the peers said.
			text := strings.Join(strings.Fields(b.String()), " ")
			if said := "The email account that you tried to reach does not exist."; !strings.Contains(text, said) {
				t.Errorf("at width %d the text lacks %q:\n%s", width, said, b.String())
			}
		}
	}
	painted := map[string]bool{}
	var b strings.Builder
	if err := Text(&b, sampleReport(t, "2026-03", ""), TextOptions{Paint: func(key, text string) string { painted[key] = true; return "\x1b[1m" + text + "\x1b[0m" }}); err != nil {
		t.Fatal(err)
	}
	if !painted["head"] || !painted["bounced"] {
		t.Errorf("painted were %v", painted)
	}
	for _, want := range []string{"Delivery report of acme", "Accepted", "Bounced late", "put off at least once", "Half of the mail was taken within 2 s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	b.Reset()
	if err := Text(&b, figures.New("", sampleReport(t, "today", "").Period, now).Report(), TextOptions{}); err != nil || !strings.Contains(b.String(), "No mail was accepted") {
		t.Errorf("an empty report says %q (%v)", b.String(), err)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(0), "0"},
		{number(999), "999"},
		{number(1000), "1,000"},
		{number(1234567), "1,234,567"},
		{number(-1234), "-1,234"},
		{percent(0, 0), "-"},
		{percent(0, 10), "0.00 %"},
		{percent(1, 1000000), "<0.01 %"},
		{percent(999999, 1000000), ">99.99 %"},
		{percent(10, 10), "100 %"},
		{percent(1, 3), "33.3 %"},
		{percent(1, 200), "0.50 %"},
		{span(0), "0 ms"},
		{span(1500 * time.Millisecond), "1.5 s"},
		{span(time.Minute), "60 s"},
		{span(5 * time.Minute), "5 min"},
		{span(90 * time.Minute), "90 min"},
		{span(48 * time.Hour), "48 h"},
		{within(figures.Beyond), ">96 h"},
		{word(1, "complaint", "complaints"), "complaint"},
		{word(0, "complaint", "complaints"), "complaints"},
		{blocks(0, 10, 8), ""},
		{blocks(10, 10, 8), "████████"},
		{blocks(1, 1000000, 8), "▏"},
		{harmless("=1+1"), "'=1+1"},
		{harmless("-5"), "-5"},
		{harmless("-x"), "'-x"},
		{harmless("\uff1d1+1"), "'\uff1d1+1"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for n, want := range map[int64]int64{0: 4, 1: 4, 5: 8, 12: 12, 13: 20, 33: 40, 41: 80, 5000: 8000, 12001: 20000} {
		if got := niceTop(n); got != want {
			t.Errorf("niceTop(%d) = %d, want %d", n, got, want)
		}
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add(hostile)
	f.Add("\xff\x00é\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		if s := plain(text); strings.ContainsAny(s, "\x1b\n\r\t\x00\u202e") || !utf8.ValidString(s) {
			t.Errorf("plain(%q) = %q", text, s)
		}
	})
}
