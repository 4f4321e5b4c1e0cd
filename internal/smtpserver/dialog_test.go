package smtpserver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/smtp"
)

// A dialogue file holds one dialogue, one oddity each. Lines begin with
//
//	#   a comment
//	!   an option of the server: see dialogOption
//	C:  the client sends this line and CRLF; lines in a row leave in one packet
//	C"  the client sends these octets, a quoted Go string
//	C*  N text: the client sends text N times
//	S:  the server answers this line; a * at the end stands for anything
//	T:  the client begins TLS
//	X:  the server closes the connection
//	E:  a call the session saw; all its calls are listed, in order, at any place in the file
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil || len(files) < 70 {
		t.Fatalf("testdata holds %d dialogues, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".dialog"), func(t *testing.T) {
			t.Parallel()
			runDialogue(t, file)
		})
	}
}

func runDialogue(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	o := Options{Handler: rec.session, TLS: testTLS(), ClearAuth: true, MaxErrors: 50}
	var want []string
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "!"):
			dialogOption(t, &o, rec, strings.Fields(line[1:]))
		case strings.HasPrefix(line, "E: "):
			want = append(want, line[3:])
		case line == "" || strings.HasPrefix(line, "#"):
		case len(line) < 2 || !strings.Contains("C: C\" C* S: T: X: E:", line[:2]):
			t.Fatalf("%s:%d: %q is no line of a dialogue", file, i+1, line)
		}
	}
	addr, stop := start(t, o)
	d := &dialogue{t: t, nc: dial(t, addr)}
	if o.ImplicitTLS {
		d.startTLS()
	}
	d.br = bufio.NewReader(d.nc)
	for i, line := range lines {
		d.at = fmt.Sprintf("%s:%d", file, i+1)
		if len(line) < 2 {
			continue
		}
		rest := strings.TrimPrefix(line[2:], " ")
		switch line[:2] {
		case "C:":
			d.send(rest + "\r\n")
		case `C"`:
			s, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("%s: %v", d.at, err)
			}
			d.send(s)
		case "C*":
			n, s, _ := strings.Cut(rest, " ")
			times, err := strconv.Atoi(n)
			if err != nil {
				t.Fatalf("%s: %v", d.at, err)
			}
			d.send(strings.Repeat(s, times))
		case "S:":
			d.expect(rest)
		case "T:":
			d.flush()
			d.startTLS()
			d.br = bufio.NewReader(d.nc)
		case "X:":
			d.flush()
			if b, err := io.ReadAll(d.br); err != nil || len(b) > 0 {
				t.Fatalf("%s: want the end, got %q, %v", d.at, b, err)
			}
		}
	}
	d.flush()
	if d.sent != nil {
		<-d.sent
	}
	if n := d.br.Buffered(); n > 0 {
		b, _ := d.br.Peek(n)
		t.Errorf("%s: the server said more: %q", file, b)
	}
	_ = d.nc.Close()
	stop()
	if diff := cmp.Diff(want, rec.calls); diff != "" {
		t.Errorf("%s: calls of the session (-want +got):\n%s", file, diff)
	}
	if rec.opened != rec.closed {
		t.Errorf("%s: %d sessions begun, %d closed", file, rec.opened, rec.closed)
	}
}

func dialogOption(t *testing.T, o *Options, rec *recorder, f []string) {
	number := func() int {
		n, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch f[0] {
	case "max_size":
		o.MaxSize = int64(number())
	case "max_recipients":
		o.MaxRecipients = number()
	case "max_errors":
		o.MaxErrors = number()
	case "max_junk":
		o.MaxJunk = number()
	case "no_tls":
		o.TLS = nil
	case "no_clear_auth":
		o.ClearAuth = false
	case "no_auth":
		rec.noAuth = true
	case "implicit_tls":
		o.ImplicitTLS = true
	case "require_tls":
		o.RequireTLS = true
	case "normalise":
		rec.newlines = smtp.NewlinesNormalise
	default:
		t.Fatalf("option %q is not known", f[0])
	}
}

// dialogue is the client's side of a file.
type dialogue struct {
	t    *testing.T
	nc   net.Conn
	br   *bufio.Reader
	out  strings.Builder
	at   string
	sent chan error
}

func (d *dialogue) send(s string) { d.out.WriteString(s) }

// flush sends from a goroutine of its own: the server may answer before it has read everything.
func (d *dialogue) flush() {
	if d.sent != nil {
		<-d.sent // an error shows in what the server answers
		d.sent = nil
	}
	if d.out.Len() == 0 {
		return
	}
	text, nc, sent := d.out.String(), d.nc, make(chan error, 1)
	d.out.Reset()
	d.sent = sent
	go func() {
		_, err := io.WriteString(nc, text)
		sent <- err
	}()
}

func (d *dialogue) expect(want string) {
	if d.out.Len() > 0 {
		d.flush()
	}
	line, err := d.br.ReadString('\n')
	got := strings.TrimSuffix(line, "\r\n")
	if err != nil || got == line {
		d.t.Fatalf("%s: want %q, got %q, %v", d.at, want, line, err)
	}
	if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(got, prefix) {
		return
	}
	if got != want {
		d.t.Fatalf("%s: want %q, got %q", d.at, want, got)
	}
}

func (d *dialogue) startTLS() {
	nc := tls.Client(d.nc, clientTLS())
	if err := nc.Handshake(); err != nil {
		d.t.Fatalf("%s: %v", d.at, err)
	}
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
	d.nc = nc
}
