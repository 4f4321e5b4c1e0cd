package main

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"
)

const (
	// narrowest is the least width a table is laid out for, in columns.
	narrowest = 40
	// rowIndent is how far what goes on with a row stands in.
	rowIndent = 4
	// leastFlow is what a last column needs to stand beside the others, with its text broken into lines.
	leastFlow = 36
)

// table prints rows in columns as wide as needed; the first row is the head. On a terminal that is narrower a row goes on below,
// and what stands last is broken between words; files and pipes get a line for each row.
func table(w io.Writer, rows [][]string) {
	width := 0
	if f, ok := terminalOf(w); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= narrowest {
			width = n
		}
	}
	layOut(w, rows, width)
}

// layOut is table for a width; 0: no bound.
func layOut(w io.Writer, rows [][]string, width int) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	// The columns break alike in all rows.
	starts, lines := make([]int, len(widths)), make([]int, len(widths))
	at, line := 0, 0
	for i, need := range widths {
		if i == len(widths)-1 {
			need = min(need, leastFlow)
		}
		if width > 0 && i > 0 && at+need > width {
			at, line = rowIndent, line+1
		}
		starts[i], lines[i] = at, line
		at += widths[i] + 2
	}
	for n, r := range rows {
		var b strings.Builder
		col, line := 0, 0
		for i, cell := range r {
			if cell == "" {
				continue
			}
			if lines[i] > line {
				b.WriteByte('\n')
				col, line = 0, lines[i]
			}
			b.WriteString(strings.Repeat(" ", starts[i]-col))
			col = starts[i] + columns(cell)
			if n == 0 {
				cell = strong(cell)
			} else if width > 0 && i == len(r)-1 {
				cell = flow(cell, width-starts[i], starts[i])
			}
			b.WriteString(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// flow breaks text between words so that no line is wider than room; those after the first stand in by indent.
func flow(text string, room, indent int) string {
	if columns(text) <= room || strings.ContainsRune(text, '\x1b') {
		return text
	}
	var b strings.Builder
	col := 0
	for word := range strings.FieldsSeq(text) {
		n := columns(word)
		switch {
		case col == 0:
		case col+1+n > room:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = 0
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	return b.String()
}
