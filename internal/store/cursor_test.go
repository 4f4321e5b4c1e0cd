package store

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCursor(t *testing.T) {
	for name, c := range map[string]Cursor{
		"begin":     nil,
		"one spool": {7: 1},
		"many":      {0: 5, 1: math.MaxInt64, 7: 300, math.MaxUint32: 1 << 40},
	} {
		got, err := ParseCursor(c.String())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := (Cursor{7: 0}).String(); got != "" {
		t.Errorf("a spool at its begin makes %q", got)
	}
	c := Cursor{7: 1}
	if d := c.With(8, 2); len(c) != 1 || d[7] != 1 || d[8] != 2 {
		t.Errorf("With made %v of %v", d, c)
	}
}

func TestBadCursor(t *testing.T) {
	for name, text := range map[string]string{
		"not base64":       "?",
		"padding":          "AQAAAAcB==",
		"only a version":   "AQ",
		"another version":  "AgAAAAcB",
		"half a spool":     "AQAA",
		"no sequence":      "AQAAAAc",
		"sequence zero":    "AQAAAAcA",
		"endless sequence": "AQAAAAf_______________8B",
		"long form":        "AQAAAAeBAA",
		"same spool twice": "AQAAAAcBAAAABwI",
		"loose bits":       "AQAAAAcBB",
	} {
		if c, err := ParseCursor(text); !errors.Is(err, ErrBadCursor) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// FuzzCursor: what is accepted is exactly what String writes.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(Cursor{7: 300}.String())
	f.Add(Cursor{1: 1, 9: math.MaxInt64}.String())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			if !errors.Is(err, ErrBadCursor) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if got := c.String(); got != text {
			t.Errorf("%q was read as %v, which is written %q", text, c, got)
		}
	})
}

func TestPageSize(t *testing.T) {
	for max, want := range map[int]int{-1: DefaultPage, 0: DefaultPage, 1: 1, MaxPage: MaxPage, MaxPage + 1: MaxPage} {
		if got := PageSize(max); got != want {
			t.Errorf("PageSize(%d) = %d, want %d", max, got, want)
		}
	}
}
