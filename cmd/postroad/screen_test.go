package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fatih/color"
)

// TestDisplay: what strangers wrote cannot steer a terminal behind a pager, and remarks are no results.
func TestDisplay(t *testing.T) {
	var out, hints bytes.Buffer
	d := &display{&out, &hints}
	if n, err := d.Write([]byte("\x1b[2Jx\r\n")); n != 7 || err != nil || out.String() != "?[2Jx\r\n" {
		t.Errorf("%d, %v: %q", n, err, out.String())
	}
	if hint(d, "nothing"); hints.String() != "nothing\n" {
		t.Errorf("remarks have %q", hints.String())
	}
}

// TestColumns: tables stay aligned with wide, combining and coloured text.
func TestColumns(t *testing.T) {
	color.NoColor = false
	defer func() { color.NoColor = true }()
	for text, want := range map[string]int{
		"": 0, "abc": 3, good("abc"): 3, "\u00e4\u00df": 2, "a\u0308": 1, "\u65e5\u672c": 4, "\uff21": 2, "\U0001f600!": 3, bad("\u65e5") + "x" + dim("y"): 4,
		"\x1b": 1, "\xff": 1,
	} {
		if got := columns(text); got != want {
			t.Errorf("columns(%q) = %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"\u65e5\u672c\u8a9e": "\u65e5\u672c\u8a9e", "\u65e5\u672c\u8a9e\u8a9e": "\u65e5\u672c\u2026", "abcdef": "abcdef", "abcdefg": "abcde\u2026"} {
		if got := oneLine(text, 6); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", text, got, want)
		}
	}
	var b bytes.Buffer
	table(&b, [][]string{{"A", "B"}, {"\u65e5\u672c", "x"}, {"ab", "y"}})
	lines := strings.Split(b.String(), "\n")
	if columns(lines[1][:strings.Index(lines[1], "x")]) != columns(lines[2][:strings.Index(lines[2], "y")]) {
		t.Errorf("not aligned:\n%s", b.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestFullDisk: a result that could not be written is no success.
func TestFullDisk(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"config"}, {"--help"}} {
		var err bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), full{}, &err); code != exitFailure || !strings.Contains(err.String(), "no space left") {
			t.Errorf("%v: exit %d, %s", args, code, err.String())
		}
	}
}
