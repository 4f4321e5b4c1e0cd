package paper

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
)

//go:embed page.tmpl
var pageText string

// ContentSecurityPolicy is what a page needs: its own styles and nothing else. The page says so too.
const ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'"

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"num": number, "pct": percent, "plain": plain, "stamp": stamp,
	"px":     func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) },
	"sample": func(x figures.Reply) string { return plain(sample(&x)) },
}).Parse(pageText))

type page struct {
	R        *figures.Report
	Title    string
	Parts    []part
	Tiles    []tile
	Whole    chart
	Outcomes []outcomeRow
	Marks    []count
	Time     chart
	Speed    chart
	Arrived  []count
	Classes  []classRow
	Replies  []replyList
	Notes    []string
}

type tile struct{ Value, Label string }

type outcomeRow struct {
	part
	N     int64
	Share string
}

type count struct {
	N     int64
	Label string
}

type classRow struct {
	Class         mail.Class
	Bounced, Late int64
	Share         string
	Width         int // percent of the most frequent one
}

type replyList struct {
	Head string
	List []figures.Reply
}

// HTML writes the report as one page that needs nothing besides itself: no script, no picture, no font. It follows the
// reader's light or dark setting, and prints.
func HTML(w io.Writer, r *figures.Report) error {
	t := &r.Totals
	p := page{R: r, Title: title(r), Parts: parts, Whole: whole(r), Notes: footnotes(r), Marks: marks(t), Arrived: arrived(&r.Arrived)}
	p.Tiles = []tile{
		{number(t.Accepted), "accepted"},
		{percent(t.Taken(), t.Accepted), "taken by receivers"},
		{percent(t.Failed(), t.Accepted), "failed: " + number(t.Failed())},
		{number(t.LateBounced), "of these bounced late"},
		{number(t.Waiting), "waiting"},
		{number(t.Complained), word(t.Complained, "complaint", "complaints")},
	}
	for _, x := range parts {
		if n := x.Of(t); n != 0 {
			p.Outcomes = append(p.Outcomes, outcomeRow{x, n, percent(n, t.Accepted)})
		}
	}
	if len(r.Steps) > 1 && t.Accepted > 0 {
		p.Time = overTime(r)
	}
	if len(r.Speed.Within) > 0 {
		p.Speed = speeds(&r.Speed)
	}
	var all, most int64
	for _, c := range r.Classes {
		all += c.Bounced + c.Late
		most = max(most, c.Bounced+c.Late)
	}
	for _, c := range r.Classes {
		n := c.Bounced + c.Late
		p.Classes = append(p.Classes, classRow{c.Class, c.Bounced, c.Late, percent(n, all), int(100 * figures.Share(n, most))})
	}
	p.Replies = []replyList{
		{"Replies that ended most deliveries", r.Replies}, {"What those that wait were told", r.Waits}, {"Replies no rule understood", r.Unknown},
	}
	if err := pageTemplate.Execute(w, &p); err != nil {
		return fmt.Errorf("paper: write the page: %w", err)
	}
	return nil
}

func marks(t *figures.Totals) []count {
	return some([]count{
		{t.Deferred, "put off at least once"},
		{t.Held, "held now"},
		{t.Uncertain, "uncertain (may have arrived twice)"},
		{t.Complained, "called spam by the recipient"},
		{t.AutoReplied, "answered by an auto-reply"},
		{t.Unsubscribed, "unsubscribed"},
	})
}

func arrived(a *figures.Arrived) []count {
	return some([]count{
		{a.LateBounces, word(a.LateBounces, "late bounce", "late bounces")},
		{a.Complaints, word(a.Complaints, "complaint", "complaints")},
		{a.AutoReplies, word(a.AutoReplies, "auto-reply", "auto-replies")},
		{a.Unsubscribes, "unsubscribed"},
		{a.Deferrals, word(a.Deferrals, "attempt put off", "attempts put off")},
	})
}

// some leaves out what there is none of.
func some(list []count) (out []count) {
	for _, c := range list {
		if c.N != 0 {
			out = append(out, c)
		}
	}
	return out
}
