package paper

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/message"
)

//go:embed letter.tmpl
var letterText string

var letterTemplate = template.Must(template.New("letter").Funcs(template.FuncMap{
	"num": number, "pct": percent, "plain": plain, "stamp": stamp,
	"sample": func(x figures.Reply) string { return short(plain(sample(&x)), 200) },
	"color":  func(key string) template.CSS { return template.CSS(colors[key]) }, // our own words
}).Parse(letterText))

// colors are those of the page in its light form: mail programs know no style sheet.
var colors = map[string]string{
	"delivered": "#1f8a70", "relayed": "#7cc4ad", "bounced": "#d1495b", "late": "#8c2a3c", "expired": "#e0a030",
	"suppressed": "#7d6b99", "cancelled": "#98a1ab", "waiting": "#5b8fd6",
}

// Letter is what a mail says, in both forms.
type Letter struct {
	Subject string
	Text    string
	HTML    string
}

// How long the lists of a digest are, and how wide its text.
const (
	digestDomains = 8
	digestReplies = 5
	letterWidth   = 76
)

type digest struct {
	R     *figures.Report
	Title string
	Rows  []outcomeRow
	Bar   []outcomeRow // those that are at least a percent: the widths of a bar
	Speed string
	Marks []count
	Came  []count
	Notes []string
}

// Digest is a report as a mail. Its HTML is what mail programs can show: tables with their styles inline.
func Digest(r *figures.Report) (Letter, error) {
	t := &r.Totals
	l := Letter{Subject: fmt.Sprintf("%s: %s accepted, %s taken, %s failed (%s)", r.Account, number(t.Accepted), percent(t.Taken(), t.Accepted), number(t.Failed()), days(r.Period))}
	if t.Accepted == 0 {
		l.Subject = fmt.Sprintf("%s: no mail (%s)", r.Account, days(r.Period))
	}
	short := *r
	short.Domains, short.Receivers = r.Domains[:min(len(r.Domains), digestDomains)], nil
	short.Replies, short.Waits = r.Replies[:min(len(r.Replies), digestReplies)], r.Waits[:min(len(r.Waits), digestReplies)]
	short.Unknown, short.Senders = nil, r.Senders[:min(len(r.Senders), digestDomains)]
	d := digest{R: &short, Title: title(r), Speed: speedLine(&r.Speed), Marks: marks(t), Came: arrived(&r.Arrived), Notes: footnotes(r)}
	for _, p := range parts {
		n := p.Of(t)
		if n == 0 {
			continue
		}
		row := outcomeRow{p, n, percent(n, t.Accepted)}
		d.Rows = append(d.Rows, row)
		if width := int(100*figures.Share(n, t.Accepted) + 0.5); width > 0 {
			row.Share = fmt.Sprint(width)
			d.Bar = append(d.Bar, row)
		}
	}
	var text, html strings.Builder
	if err := Text(&text, &short, TextOptions{Width: letterWidth}); err != nil {
		return l, err
	}
	if err := letterTemplate.ExecuteTemplate(&html, "digest", &d); err != nil {
		return l, fmt.Errorf("paper: write the digest: %w", err)
	}
	l.Text, l.HTML = text.String(), html.String()
	return l, nil
}

// days says a period without its zone, for a subject.
func days(p figures.Period) string { return strings.TrimSuffix(p.String(), " (UTC)") }

// Notice is a mail of some sentences.
func Notice(subject string, lines []string) Letter {
	l := Letter{Subject: plain(subject)}
	var html strings.Builder
	for i, line := range lines {
		lines[i] = plain(line)
		l.Text += wrap(lines[i], letterWidth) + "\n"
	}
	data := struct {
		Title string
		Lines []string
	}{l.Subject, lines}
	if err := letterTemplate.ExecuteTemplate(&html, "notice", data); err == nil { // it writes to memory; without HTML the text says all
		l.HTML = html.String()
	}
	return l
}

// wrap breaks a line between words.
func wrap(s string, width int) string {
	var b strings.Builder
	n := 0
	for _, w := range strings.Fields(s) {
		size := len([]rune(w))
		switch {
		case n == 0:
		case n+1+size > width:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(w)
		n += size
	}
	return b.String() + "\n"
}

// Compose makes a letter a message that says of itself that a machine wrote it (RFC 3834 §5), so that nobody's
// auto-reply answers it. key tells letters apart: the same key gives the same Message-ID.
func Compose(l Letter, from, to, hostname, key string, at time.Time) []byte {
	sum := sha256.Sum256([]byte(key))
	id := hex.EncodeToString(sum[:16])
	boundary := "=_" + id
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"From", "Postroad <" + from + ">"},
		{"To", "<" + to + ">"},
		{"Subject", message.EncodeWords(l.Subject, len("Subject: "))},
		{"Date", at.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000")},
		{"Message-ID", "<" + id + "@" + hostname + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"X-Auto-Response-Suppress", "All"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "multipart/alternative;\r\n boundary=\"" + boundary + "\""},
	} {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	for _, part := range [][2]string{{"plain", l.Text}, {"html", l.HTML}} {
		if part[1] == "" {
			continue
		}
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", boundary, part[0])
		q := quotedprintable.NewWriter(&b) // it writes to memory, and cannot fail
		_, _ = q.Write([]byte(strings.ReplaceAll(part[1], "\n", "\r\n")))
		_ = q.Close()
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}
