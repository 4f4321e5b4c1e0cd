package main

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"
)

// results is standard output. It remembers what could not be written, so that a full disk does not pass for success.
type results struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (s *results) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// display is where text for people goes: results to standard output, remarks (an empty list, how it goes on) to standard
// error. Whatever strangers wrote into subjects and replies cannot steer the terminal, also where a pager is between.
type display struct {
	out   io.Writer
	hints io.Writer
}

// screen is the display of a command. With --json, and to a file, remarks are told as well.
func (*connection) screen(cmd *cobra.Command) *display { return screenOf(cmd) }

func screenOf(cmd *cobra.Command) *display {
	return &display{out: cmd.OutOrStdout(), hints: cmd.ErrOrStderr()}
}

// Write implements io.Writer.
func (d *display) Write(b []byte) (int, error) {
	if _, err := io.WriteString(d.out, foreign(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// hint writes a remark that is no result.
func hint(w io.Writer, text string) {
	if d, ok := w.(*display); ok {
		w = d.hints
	}
	fmt.Fprintln(w, text)
}

// foreign is text of strangers without what a terminal would obey.
func foreign(s string) string { return string(harmless([]byte(s))) }

// maxColour is more than a sequence for a colour is long, in octets.
const maxColour = 32

// columns is how many columns of a terminal text takes, without its colours.
func columns(s string) int {
	n := 0
	for s != "" {
		if n := colourLen([]byte(s[:min(len(s), maxColour)])); n > 0 {
			s = s[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		n += runeColumns(r)
		s = s[size:]
	}
	return n
}

// runeColumns is how many columns a character takes (UAX #11).
func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1f300 && r <= 0x1faff: // pictographs
		return 2
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
