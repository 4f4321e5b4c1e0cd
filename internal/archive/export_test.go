package archive

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/store"
)

var mboxTime = time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)

func TestMbox(t *testing.T) {
	for name, tt := range map[string]struct{ from, in, want string }{
		"plain":       {"a@b.example", "Subject: x\r\n\r\nHello\r\n", "From a@b.example Wed Jul  1 10:00:00 2026\nSubject: x\n\nHello\n\n"},
		"null sender": {"", "x\r\n", "From MAILER-DAEMON Wed Jul  1 10:00:00 2026\nx\n\n"},
		"From lines":  {"a@b.example", "\r\nFrom here\r\n>From there\r\n>>From\r\n Fromage\r\n", "From a@b.example Wed Jul  1 10:00:00 2026\n\n>From here\n>>From there\n>>From\n Fromage\n\n"},
		"no line end": {"a@b.example", "x", "From a@b.example Wed Jul  1 10:00:00 2026\nx\n\n"},
		"nothing":     {"a@b.example", "", "From a@b.example Wed Jul  1 10:00:00 2026\n\n"},
		"long line": {
			"a@b.example", strings.Repeat("x", 64<<10-1) + "\r\nFrom y\r\n",
			"From a@b.example Wed Jul  1 10:00:00 2026\n" + strings.Repeat("x", 64<<10-1) + "\n>From y\n\n",
		},
		"From in a long line": {
			"a@b.example", strings.Repeat("x", 64<<10) + "From y\r\n",
			"From a@b.example Wed Jul  1 10:00:00 2026\n" + strings.Repeat("x", 64<<10) + "From y\n\n",
		},
	} {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := writeMbox(w, tt.from, mboxTime, strings.NewReader(tt.in)); err != nil {
			t.Fatal(err)
		}
		_ = w.Flush()
		if out.String() != tt.want {
			t.Errorf("%s: %.300q, want %.300q", name, out.String(), tt.want)
		}
	}
}

// FuzzMbox: a message in an mbox reads back as it was, but for the line ends, whatever stands in it.
func FuzzMbox(f *testing.F) {
	for _, s := range []string{"", "x", "From x\r\n", ">From x\n", "a\r\rb\r\n\r\n\r\n", strings.Repeat("y", 1<<16) + "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		for range 2 {
			if err := writeMbox(w, "a@b.example", mboxTime, strings.NewReader(in)); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Flush()
		want := strings.ReplaceAll(in, "\r\n", "\n")
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "From ") {
				got = append(got, "")
				continue
			}
			if strings.HasPrefix(line, ">") && strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
				line = line[1:]
			}
			got[len(got)-1] += line
		}
		if len(got) != 2 {
			t.Fatalf("%d messages", len(got))
		}
		for _, g := range got {
			if g != want+"\n" {
				t.Errorf("%.200q came back as %.200q", want, g)
			}
		}
	})
}

func TestExport(t *testing.T) {
	b := newBed(t)
	b.future()
	a := b.room(nil)
	for i := range 150 {
		b.archivedAt(a, "acme", 0, 1+i%2)
	}
	var out bytes.Buffer
	n, err := a.Export(t.Context(), &out, store.ArchiveQuery{Account: "acme", Recipient: "user1@example.net"})
	if err != nil || n != 75 {
		t.Fatalf("%d messages, %v", n, err)
	}
	if got := strings.Count(out.String(), "From news@shop.example "); got != 75 {
		t.Errorf("%d messages in the mbox", got)
	}
}
