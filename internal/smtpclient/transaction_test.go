package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

const (
	greet     = "S: 220 mx.example.com ESMTP\nC: EHLO client.example.org\n"
	pipelined = greet + "S: 250-mx.example.com\nS: 250-Pipelining\nS: 250 8bitmime\n"
	plain     = greet + "S: 250 mx.example.com\n"
	chunking  = greet + "S: 250-mx.example.com\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
	small     = "Subject: x\r\n\r\nhello\r\n.dot\r\n"
	from      = "C: MAIL FROM:<a@example.org>\n"
	toB       = "C: RCPT TO:<b@example.com>\n"
	toC       = "C: RCPT TO:<c@example.com>\n"
)

// fate is what became of a transaction, in words: one per recipient, then the connection.
func fate(t *Transaction, res *Result, err error, c *Conn) []string {
	var out []string
	var e *Error
	errors.As(err, &e)
	for i := range t.Rcpts {
		switch {
		case res.Refused[i] != nil:
			out = append(out, words(res.Refused[i]))
		case e != nil:
			out = append(out, words(e))
		default:
			out = append(out, fmt.Sprintf("ok %d", res.Reply.Code))
		}
	}
	if !c.Usable() {
		out = append(out, "spent")
	}
	return out
}

func words(e *Error) string {
	s := string(e.Stage)
	switch {
	case e.Reply != nil:
		s += " " + e.Reply.String()
	case errors.Is(e.Err, ErrProtocol):
		s += " nonsense"
	case errors.Is(e.Err, ErrNotDurable):
		s += " not durable"
	case errors.Is(e.Err, ErrContent):
		s += " content"
	case errors.Is(e.Err, ErrNotOffered):
		s += " not offered"
	case errors.Is(e.Err, ErrBadArgument):
		s += " bad argument"
	default:
		s += " lost"
	}
	if e.Uncertain {
		s += " uncertain"
	}
	if e.Stale {
		s += " stale"
	}
	return s
}

func TestSend(t *testing.T) {
	big := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 4000) // 288 kB: streamed
	tests := []struct {
		name   string
		script string
		send   []*Transaction
		want   [][]string
	}{
		{
			name:   "lock-step without PIPELINING",
			script: plain + from + "SYNC\nS: 250 ok\n" + toB + "SYNC\nS: 250 ok\nC: DATA\nSYNC\nS: 354 go\nCONTENT\nS: 250 queued\nC: QUIT\nS: 221 bye",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"ok 250"}},
		},
		{
			name: "pipelined, two messages, no RSET between",
			script: pipelined + from + toB + "C: DATA\nSYNC\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 one\n" +
				from + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 two",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"ok 250"}, {"ok 250"}},
		},
		{
			name:   "one recipient of two refused",
			script: pipelined + from + toB + toC + "C: DATA\nS: 250 ok\nS: 550 5.1.1 no b\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message(small, "b@example.com", "c@example.com")},
			want:   [][]string{{"rcpt 550 5.1.1 no b", "ok 250"}},
		},
		{
			name: "all refused and DATA refused, RSET goes before the next",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 550 no\nS: 503 no recipients\n" +
				"C: RSET\n" + from + toC + "C: DATA\nS: 250 reset\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"rcpt 550 no"}, {"ok 250"}},
		},
		{
			name: "all refused but 354: a lone dot",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 450 later\nS: 354 go\nC: .\nS: 554 no valid recipients\n" +
				"C: RSET\n" + from + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"rcpt 450 later"}, {"ok 250"}},
		},
		{
			name:   "all refused, 354, and the peer takes the empty message: still refused",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 250 queued nothing",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"rcpt 550 no"}},
		},
		{
			name: "MAIL refused, no RSET needed",
			script: pipelined + from + toB + "C: DATA\nS: 451 later\nS: 503 mail first\nS: 503 mail first\n" +
				from + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"mail 451 later"}, {"ok 250"}},
		},
		{
			name:   "MAIL refused but 354",
			script: pipelined + from + toB + "C: DATA\nS: 550 go away\nS: 250 ok\nS: 354 go\nC: .\nS: 503 bad",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail 550 go away"}},
		},
		{
			name:   "DATA refused",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 451 no space",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"data 451 no space"}},
		},
		{
			name:   "250 to DATA is out of step",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nHANG",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"data nonsense", "spent"}},
		},
		{
			name: "content refused, connection goes on without RSET",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 554 5.7.1 spam\n" +
				from + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"dot 554 5.7.1 spam"}, {"ok 250"}},
		},
		{
			name:   "421 at MAIL",
			script: pipelined + from + "S: 421 4.7.0 too much\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail 421 4.7.0 too much", "spent"}},
		},
		{
			name:   "421 at the second recipient is for all that were not refused",
			script: pipelined + from + toB + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 421 closing\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com", "c@example.com")},
			want:   [][]string{{"rcpt 421 closing", "rcpt 421 closing", "spent"}},
		},
		{
			name:   "421 after the dot is an answer",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 421 shutting down\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"dot 421 shutting down", "spent"}},
		},
		{
			name:   "lost at RCPT",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"rcpt lost", "spent"}},
		},
		{
			name:   "lost after 354 when content is out: uncertain",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"dot lost uncertain", "spent"}},
		},
		{
			name:   "nonsense after the dot: uncertain",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: queued as 1\nHANG",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"dot nonsense uncertain", "spent"}},
		},
		{
			name:   "the refusal of one stands although the reply to the dot is lost",
			script: pipelined + from + toB + toC + "C: DATA\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 go\nCONTENT\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com", "c@example.com")},
			want:   [][]string{{"rcpt 550 no", "dot lost uncertain", "spent"}},
		},
		{
			name: "gone between two messages: stale",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok\n" +
				"C: MAIL FROM:<a@example.org>\nCLOSE",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"ok 250"}, {"mail lost stale", "spent"}},
		},
		{
			name: "an unasked reply must not be taken for the next one",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\n" +
				`RAW "250 ok\r\n250 and again\r\n"` + "\nHANG",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"ok 250"}, {"mail nonsense stale", "spent"}},
		},
		{
			name: "421 right behind the last reply",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\n" +
				`RAW "250 ok\r\n421 that was the last one\r\n"` + "\nCLOSE",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"ok 250"}, {"mail 421 that was the last one", "spent"}},
		},
		{
			name:   "large content is streamed",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message(big, "b@example.com")},
			want:   [][]string{{"ok 250"}},
		},
		{
			name:   "refused in the middle of a large content",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nREAD 1000\nS: 552 5.3.4 too big\nHANG",
			send:   []*Transaction{message(big, "b@example.com")},
			want:   [][]string{{"dot 552 5.3.4 too big"}},
		},
		{
			name: "BDAT for one recipient: everything in one write",
			script: chunking + from + toB + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 taken\n" +
				from + toC + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 taken",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"ok 250"}, {"ok 250"}},
		},
		{
			name: "BDAT with the recipient refused",
			script: chunking + from + toB + "CHUNK\nS: 250 ok\nS: 550 5.1.1 no\nS: 503 no recipients\n" +
				"C: RSET\n" + from + toC + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 taken",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"rcpt 550 5.1.1 no"}, {"ok 250"}},
		},
		{
			name:   "BDAT with the recipient refused, and then lost: not uncertain",
			script: chunking + from + toB + "CHUNK\nS: 250 ok\nS: 550 5.1.1 no\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"rcpt 550 5.1.1 no", "spent"}},
		},
		{
			name:   "BDAT with MAIL refused",
			script: chunking + from + toB + "CHUNK\nS: 550 5.7.1 no\nS: 503 x\nS: 503 x",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail 550 5.7.1 no"}},
		},
		{
			name: "BDAT refused: RSET before the next",
			script: chunking + from + toB + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 554 spam\n" +
				"C: RSET\n" + from + toC + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 taken",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"dot 554 spam"}, {"ok 250"}},
		},
		{
			name:   "BDAT lost without a word: uncertain, for the content was out",
			script: chunking + from + toB + "CHUNK\nCLOSE",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"dot lost uncertain", "spent"}},
		},
		{
			name:   "CHUNKING and two recipients: DATA",
			script: chunking + from + toB + toC + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message(small, "b@example.com", "c@example.com")},
			want:   [][]string{{"ok 250", "ok 250"}},
		},
		{
			name:   "CHUNKING and a bare LF: DATA, which makes it whole",
			script: chunking + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message("a\n.\nb\r\n", "b@example.com")},
			want:   [][]string{{"ok 250"}},
		},
		{
			name: "CHUNKING without PIPELINING",
			script: greet + "S: 250-mx\nS: 250 CHUNKING\n" + from + "SYNC\nS: 250 ok\n" + toB + "SYNC\nS: 250 ok\n" + toC + "S: 550 no\n" +
				"CHUNK\nS: 250 taken",
			send: []*Transaction{message(small, "b@example.com", "c@example.com")},
			want: [][]string{{"ok 250", "rcpt 550 no"}},
		},
		{
			name:   "without PIPELINING, nobody accepted: no DATA",
			script: plain + from + "S: 250 ok\n" + toB + "S: 550 no\nC: RSET\nS: 250 ok\n" + from + "S: 550 no",
			send:   []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want:   [][]string{{"rcpt 550 no"}, {"mail 550 no"}},
		},
		{
			name: "RSET refused: the connection is of no use",
			script: pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 550 no\nS: 503 no\n" +
				"C: RSET\nC* MAIL\nC* RCPT\nC: DATA\nS: 500 what?\nHANG",
			send: []*Transaction{message(small, "b@example.com"), message(small, "c@example.com")},
			want: [][]string{{"rcpt 550 no"}, {"mail 500 what?", "spent"}},
		},
		{
			name:   "mixed codes of one class",
			script: pipelined + from + toB + "C: DATA\nS: 250-ok\nS: 251 still ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"ok 250"}},
		},
		{
			name:   "mixed codes of two classes",
			script: pipelined + from + toB + "C: DATA\nS: 250-ok\nS: 550 no\nHANG",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail nonsense", "spent"}},
		},
		{
			name:   "no code",
			script: pipelined + from + toB + "C: DATA\nS: hello\nHANG",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail nonsense", "spent"}},
		},
		{
			name:   "bad continuation",
			script: pipelined + from + toB + "C: DATA\nS: 250_ok\nHANG",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"mail nonsense", "spent"}},
		},
		{
			name:   "control characters in a reply are made harmless",
			script: pipelined + from + toB + `C: DATA` + "\nS: 250 ok\n" + `RAW "550-no\x00\x1b[31m\r\n550 such \xffuser\n"` + "\nS: 503 x",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"rcpt 550-no??[31m\n550 such \uFFFDuser"}},
		},
		{
			name:   "LF alone ends a reply line",
			script: pipelined + from + toB + `C: DATA` + "\n" + `RAW "250 ok\n250 ok\n354 go\n"` + "\nCONTENT\nS: 250 ok",
			send:   []*Transaction{message(small, "b@example.com")},
			want:   [][]string{{"ok 250"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s script
			c, wait, err := dialogue(t, &s, test.script)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			var res Result
			for i, tx := range test.send {
				err := c.Send(tx, &res)
				if diff := cmp.Diff(test.want[i], fate(tx, &res, err, c)); diff != "" {
					t.Errorf("message %d (-want +got):\n%s", i, diff)
				}
			}
			if strings.Contains(test.script, "HANG") {
				c.Close()
			} else {
				c.Quit()
			}
			if err := wait(); err != nil && !strings.Contains(test.script, "HANG") {
				t.Errorf("the peer: %v\n%s", err, c.Transcript())
			}
			for i, got := range s.content {
				want := string(test.send[i].Body.Bytes())
				if strings.Contains(want, "\n.\nb") {
					want = "a\r\n.\r\nb\r\n"
				}
				if got != want {
					t.Errorf("content %d arrived as %.200q (%d octets), want %d", i, got, len(got), len(want))
				}
			}
		})
	}
}

// TestRefusedMidway holds that a peer that refuses and hangs up while content is still going out is heard.
func TestRefusedMidway(t *testing.T) {
	var s script
	c, _, err := dialogue(t, &s, pipelined+from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nREAD 1000\nS: 552 5.3.4 too big\nCLOSE")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	var e *Error
	err = c.Send(message(strings.Repeat("0123456789\r\n", 2<<20), "b@example.com"), new(Result))
	if !errors.As(err, &e) || e.Code() != 552 || e.Uncertain || e.Stage != mail.StageBody {
		t.Errorf("got %v", err)
	}
}

// TestWrites holds the number of round trips down: what can go out together does.
func TestWrites(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   int // reads of the peer after EHLO
	}{
		"DATA": {pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok\nC: QUIT", 3},
		"BDAT": {chunking + from + toB + "CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 ok\nC: QUIT", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var s script
			c, wait, err := dialogue(t, &s, test.script)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			if err := c.Send(message(strings.Repeat("x\r\n", 1000), "b@example.com"), new(Result)); err != nil {
				t.Fatal(err)
			}
			c.Quit()
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			if got := s.reads - 1; got != test.want {
				t.Errorf("the peer read %d times, want %d", got, test.want)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	var s script
	c, wait, err := dialogue(t, &s, greet+`S: 250-mx
		S: 250-SIZE 1000000
		S: 250-8BITMIME
		S: 250-SMTPUTF8
		S: 250-DSN
		S: 250 PIPELINING
		C: MAIL FROM:<a@example.org> SIZE=11 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20+3Dc
		C: RCPT TO:<grün@xn--bcher-kva.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@example.com
		C: RCPT TO:<"a b"@example.com> NOTIFY=NEVER
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		S: 250 ok`)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	tx := message("body\r\n", "grün@bücher.example", `"a b"@example.com`)
	tx.Prefix = []byte("X: \r\n")
	tx.EightBit, tx.UTF8, tx.Ret, tx.EnvID = true, true, "HDRS", "a+b =c"
	tx.Rcpts[0].Notify, tx.Rcpts[0].ORcpt = mail.NotifySuccess|mail.NotifyDelay, "rfc822;x+y@example.com"
	tx.Rcpts[1].Notify = mail.NotifyNever
	if err := c.Send(tx, new(Result)); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
	if want := "X: \r\nbody\r\n"; s.content[0] != want {
		t.Errorf("content %q, want %q", s.content[0], want)
	}
}

// TestNothingSent holds that what could break the dialogue, or what the peer cannot take, is refused before a single
// octet goes out, and that the connection lives on.
func TestNothingSent(t *testing.T) {
	bad := func(f func(*Transaction)) *Transaction {
		tx := message(small, "b@example.com")
		f(tx)
		return tx
	}
	tests := map[string]*Transaction{
		"newline in the sender": bad(func(t *Transaction) {
			t.From = mail.Address{Local: "a\r\nRCPT TO:<x@example.com>", Domain: "example.org"}
		}),
		"newline in a recipient":     bad(func(t *Transaction) { t.Rcpts[0].Addr = mail.Address{Local: "a\n", Domain: "example.org"} }),
		"NUL in a recipient":         bad(func(t *Transaction) { t.Rcpts[0].Addr = mail.Address{Local: "a\x00", Domain: "example.org"} }),
		"bracket in a domain":        bad(func(t *Transaction) { t.Rcpts[0].Addr = mail.Address{Local: "a", Domain: "b> SIZE=1"} }),
		"space in a domain":          bad(func(t *Transaction) { t.Rcpts[0].Addr = mail.Address{Local: "a", Domain: "b c"} }),
		"null recipient":             bad(func(t *Transaction) { t.Rcpts[0].Addr = mail.Address{} }),
		"no recipients":              bad(func(t *Transaction) { t.Rcpts = nil }),
		"RET with a parameter in it": bad(func(t *Transaction) { t.Ret = "FULL BODY=X" }),
		"8BITMIME is not offered":    bad(func(t *Transaction) { t.EightBit = true }),
		"SMTPUTF8 is not offered":    message(small, "grün@example.com"),
		"REQUIRETLS in clear":        bad(func(t *Transaction) { t.RequireTLS = true }),
	}
	for name, tx := range tests {
		t.Run(name, func(t *testing.T) {
			var s script
			c, wait, err := dialogue(t, &s, plain+"C: QUIT")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			var e *Error
			if err := c.Send(tx, new(Result)); !errors.As(err, &e) || e.Reply != nil {
				t.Errorf("got %v", err)
			}
			if !c.Usable() {
				t.Error("the connection is spent")
			}
			c.Quit()
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDurable holds the order of things: the content's end is out only after Durable, and never after it failed.
func TestDurable(t *testing.T) {
	for name, dialog := range map[string]string{
		"DATA":                    pipelined + from + toB + "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n",
		"BDAT":                    chunking,
		"BDAT without PIPELINING": greet + "S: 250-mx\nS: 250 CHUNKING\n" + from + "S: 250 ok\n" + toB + "S: 250 ok\n",
	} {
		t.Run(name, func(t *testing.T) {
			var s script
			c, wait, err := dialogue(t, &s, dialog+"SYNC\nHANG")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			tx := message(small, "b@example.com")
			calls := 0
			tx.Durable = func(context.Context) error { calls++; return errors.New("disk is full") }
			var e *Error
			if err := c.Send(tx, new(Result)); !errors.As(err, &e) || !errors.Is(err, ErrNotDurable) || e.Uncertain || e.Stale {
				t.Errorf("got %v", err)
			}
			c.Close()
			if err := wait(); err != nil {
				t.Errorf("content was sent: %v", err)
			}
			if calls != 1 {
				t.Errorf("Durable was called %d times", calls)
			}
		})
	}
}

// brokenBody is a content that ends before its time.
type brokenBody struct{ mail.BytesBody }

func (brokenBody) Bytes() []byte { return nil }
func (b brokenBody) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(b.BytesBody[:len(b.BytesBody)/2]))), nil
}

func TestBrokenContentHasNoDot(t *testing.T) {
	var s script
	c, wait, err := dialogue(t, &s, pipelined+from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	tx := message("", "b@example.com")
	tx.Body = brokenBody{mail.BytesBody(strings.Repeat("0123456789\r\n", 10000))}
	var e *Error
	if err := c.Send(tx, new(Result)); !errors.As(err, &e) || !errors.Is(err, ErrContent) || e.Uncertain {
		t.Errorf("got %v", err)
	}
	if c.Usable() {
		t.Error("the connection must not be used again")
	}
	if err := wait(); err == nil {
		t.Error("the peer saw a final dot")
	}
}

// TestManyRecipients sends more commands than may go ahead of their replies.
func TestManyRecipients(t *testing.T) {
	const n = 1000
	tx := message(small)
	var b strings.Builder
	b.WriteString(pipelined + from)
	for i := range n {
		a := fmt.Sprintf("user-with-a-rather-long-name-%d@example.com", i)
		tx.Rcpts = append(tx.Rcpts, Recipient{Addr: address(a)})
		fmt.Fprintf(&b, "C: RCPT TO:<%s>\n", a)
		if i == 0 {
			b.WriteString("S: 250 sender ok\n")
		}
		if i%3 == 0 {
			fmt.Fprintf(&b, "S: 550 no %d\n", i)
		} else {
			fmt.Fprintf(&b, "S: 250 ok %d\n", i)
		}
	}
	b.WriteString("C: DATA\nS: 354 go\nCONTENT\nS: 250 ok")
	var s script
	c, wait, err := dialogue(t, &s, b.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	var res Result
	if err := c.Send(tx, &res); err != nil {
		t.Fatal(err)
	}
	for i, e := range res.Refused {
		if (e != nil) != (i%3 == 0) || e != nil && e.Reply.Text() != fmt.Sprintf("no %d", i) {
			t.Fatalf("recipient %d: %v", i, e)
		}
	}
	c.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
}
