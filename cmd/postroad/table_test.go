package main

import (
	"strings"
	"testing"
)

func TestLayOut(t *testing.T) {
	const id = "dlv_06h2d2h1v9r03f7brbyr2atgyw"
	rows := [][]string{
		{"DELIVERY", "RECIPIENT", "TRIES", "WHY"},
		{id, "ann@example.com", "2", "waiting: the host says that it is too busy to take this today"},
		{id, "bob@example.com", "", "held"},
		{id, "eve@example.com", "1", ""},
	}
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, `
DELIVERY                        RECIPIENT        TRIES  WHY
dlv_06h2d2h1v9r03f7brbyr2atgyw  ann@example.com  2      waiting: the host says that it is too busy to take this today
dlv_06h2d2h1v9r03f7brbyr2atgyw  bob@example.com         held
dlv_06h2d2h1v9r03f7brbyr2atgyw  eve@example.com  1
`},
		{92, `
DELIVERY                        RECIPIENT        TRIES  WHY
dlv_06h2d2h1v9r03f7brbyr2atgyw  ann@example.com  2      waiting: the host says that it is
                                                        too busy to take this today
dlv_06h2d2h1v9r03f7brbyr2atgyw  bob@example.com         held
dlv_06h2d2h1v9r03f7brbyr2atgyw  eve@example.com  1
`},
		{60, `
DELIVERY                        RECIPIENT        TRIES
    WHY
dlv_06h2d2h1v9r03f7brbyr2atgyw  ann@example.com  2
    waiting: the host says that it is too busy to take this
    today
dlv_06h2d2h1v9r03f7brbyr2atgyw  bob@example.com
    held
dlv_06h2d2h1v9r03f7brbyr2atgyw  eve@example.com  1
`},
		{40, `
DELIVERY
    RECIPIENT        TRIES
    WHY
dlv_06h2d2h1v9r03f7brbyr2atgyw
    ann@example.com  2
    waiting: the host says that it is
    too busy to take this today
dlv_06h2d2h1v9r03f7brbyr2atgyw
    bob@example.com
    held
dlv_06h2d2h1v9r03f7brbyr2atgyw
    eve@example.com  1
`},
	} {
		var b strings.Builder
		layOut(&b, rows, test.width)
		if got := "\n" + b.String(); got != test.want {
			t.Errorf("in %d columns:%s", test.width, got)
		}
	}
}

// TestLayOutWide: words that do not fit, colours and wide characters cost no text.
func TestLayOutWide(t *testing.T) {
	long := strings.Repeat("x", 100)
	rows := [][]string{{"A", "B"}, {long, long + " " + long}, {"\u65e5\u672c", "\x1b[31m" + long + " red\x1b[0m"}, {"", "only"}}
	for width := range 120 {
		var b strings.Builder
		layOut(&b, rows, width)
		if got, want := strings.Join(strings.Fields(b.String()), " "), "A B "+long+" "+long+" "+long+" \u65e5\u672c \x1b[31m"+long+" red\x1b[0m only"; got != want {
			t.Fatalf("in %d columns:\n%s", width, b.String())
		}
	}
}
