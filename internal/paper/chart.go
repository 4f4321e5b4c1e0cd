package paper

import (
	"fmt"
	"math"
	"time"

	"github.com/postroad/postroad/internal/figures"
)

// Charts are laid out in units of a view box and scaled to the page. They hold no text from outside.

// bar is one rectangle of a chart.
type bar struct {
	X, Y, W, H float64
	Key        string // names its colour
	Tip        string // what it stands for, for readers who cannot see it and for the pointer
}

// label is a text at a place of a chart.
type label struct {
	X, Y float64
	Text string
}

// chart is what the page draws.
type chart struct {
	W, H   float64
	Bars   []bar
	Grid   []label // horizontal lines, with the figure at their left end
	Labels []label // below the columns
	Title  string
	About  string
}

// whole is one bar of all that was accepted, by outcome.
func whole(r *figures.Report) chart {
	c := chart{W: 1000, H: 36, Title: "What became of the mail"}
	x := 0.0
	for _, p := range parts {
		n := p.Of(&r.Totals)
		if n <= 0 {
			continue
		}
		w := c.W * figures.Share(n, r.Totals.Accepted)
		c.Bars = append(c.Bars, bar{x, 0, w, c.H, p.Key, fmt.Sprintf("%s: %s, %s", p.Label, number(n), percent(n, r.Totals.Accepted))})
		if c.About != "" {
			c.About += "; "
		}
		c.About += fmt.Sprintf("%s %s", p.Label, percent(n, r.Totals.Accepted))
		x += w
	}
	return c
}

// Layout of charts with columns.
const (
	chartWidth  = 1000
	chartHeight = 260
	axisLeft    = 64  // room for figures at the left
	axisTop     = 10  // room above the highest line
	axisBottom  = 230 // where the columns stand
	columnGap   = 0.22
	maxColumn   = 80
	maxLabels   = 17
)

// columns lays out n columns whose highest is most; draw gives the parts of one, from below.
func columns(n int, most int64, name func(i int) string, draw func(i int) []segment) chart {
	c := chart{W: chartWidth, H: chartHeight}
	top := niceTop(most)
	scale := (axisBottom - axisTop) / float64(top)
	for i := range 5 {
		v := top * int64(i) / 4
		c.Grid = append(c.Grid, label{axisLeft - 8, axisBottom - float64(v)*scale, number(v)})
	}
	slot := (chartWidth - axisLeft) / float64(n)
	width := math.Min(slot*(1-columnGap), maxColumn)
	every := (n + maxLabels - 1) / maxLabels
	for i := range n {
		x := axisLeft + float64(i)*slot + (slot-width)/2
		y := float64(axisBottom)
		for _, s := range draw(i) {
			if s.n <= 0 {
				continue
			}
			h := float64(s.n) * scale
			y -= h
			c.Bars = append(c.Bars, bar{x, y, width, h, s.key, s.tip})
		}
		if i%every == 0 {
			c.Labels = append(c.Labels, label{x + width/2, axisBottom + 20, name(i)})
		}
	}
	return c
}

type segment struct {
	n        int64
	key, tip string
}

// niceTop is the least of 4, 8, 12, 20, 40, 80 … that is not below n: four equal steps of whole numbers.
func niceTop(n int64) int64 {
	for unit := int64(4); ; unit *= 10 {
		for _, f := range []int64{1, 2, 3, 5, 8} {
			if unit*f >= n || unit > math.MaxInt64/100 {
				return unit * f
			}
		}
	}
}

// overTime draws the outcomes of every hour or day.
func overTime(r *figures.Report) chart {
	var most int64
	for _, s := range r.Steps {
		most = max(most, s.Totals.Accepted)
	}
	layout, unit := "2 Jan", "day"
	if r.Period.Step() == time.Hour {
		layout, unit = "15:04", "hour"
	}
	c := columns(len(r.Steps), most, func(i int) string { return r.Steps[i].Time.Format(layout) }, func(i int) (list []segment) {
		s := &r.Steps[i]
		for _, p := range parts {
			n := p.Of(&s.Totals)
			list = append(list, segment{n, p.Key, fmt.Sprintf("%s, %s: %s of %s", s.Time.Format("2 Jan 15:04"), p.Label, number(n), number(s.Totals.Accepted))})
		}
		return list
	})
	c.Title = "Deliveries by " + unit + " of acceptance"
	c.About = fmt.Sprintf("%d columns, one for each %s; the highest stands for %s deliveries", len(r.Steps), unit, number(most))
	return c
}

// speeds draws how soon mail was taken.
func speeds(s *figures.Speed) chart {
	var most int64
	for _, x := range s.Within {
		most = max(most, x.Count)
	}
	c := columns(len(s.Within), most, func(i int) string { return within(s.Within[i].Max) }, func(i int) []segment {
		x := s.Within[i]
		return []segment{{x.Count, "delivered", fmt.Sprintf("%s: %s deliveries, %s", within(x.Max), number(x.Count), percent(x.Count, s.Count))}}
	})
	c.Title, c.About = "Time from acceptance until the receiver had it", speedLine(s)
	return c
}
