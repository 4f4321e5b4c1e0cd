package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

const german = "From: a@example.org\r\nSubject: test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrün.\r\n"

func TestEightBit(t *testing.T) {
	signed := "DKIM-Signature: v=1\r\n" + german
	for name, test := range map[string]struct {
		content string
		offers  []string
		to7     func([]byte) ([]byte, error)
		want    string
		arrives string
	}{
		"8BITMIME":                 {german, []string{"8BITMIME"}, compose.To7Bit, "delivered mx1", german},
		"converted":                {german, []string{}, compose.To7Bit, "delivered mx1", strings.NewReplacer("8bit", "quoted-printable", "Grün.", "Gr=C3=BCn.").Replace(german)},
		"signed: not converted":    {signed, []string{}, compose.To7Bit, "bounced content-size/message at mail mx1", ""},
		"no converter":             {german, []string{}, nil, "bounced content-size/message at mail mx1", ""},
		"ASCII needs no converter": {body, []string{}, nil, "delivered mx1", body},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.one().offers, w.opts.To7Bit = [][]string{test.offers}, test.to7
			words, outcomes := w.run(w.build(), direct, job(test.content, "b@example.com"))
			if words[0] != test.want {
				t.Errorf("got %s: %s", words[0], outcomes[0].Attempt.Reply)
			}
			if outcomes[0].Result == mail.Bounced && !strings.HasPrefix(outcomes[0].Attempt.Reply, "5.6.3 ") {
				t.Errorf("reason %q", outcomes[0].Attempt.Reply)
			}
			if got := strings.Join(w.one().contents, ""); got != test.arrives {
				t.Errorf("arrived as %q, want %q", got, test.arrives)
			}
			if test.arrives == german && !strings.HasSuffix(w.one().did("MAIL")[0], " BODY=8BITMIME") {
				t.Errorf("sent %s", w.one().did("MAIL"))
			}
		})
	}
}

// TestSecondHostIsAnother holds that what was made for one host is not sent to the next, which has other extensions.
func TestSecondHostIsAnother(t *testing.T) {
	w := newWorld(t)
	w.opts.To7Bit = compose.To7Bit
	w.one().offers, w.two().offers = [][]string{{"8BITMIME", "PIPELINING"}}, [][]string{{}}
	w.one().set("RCPT", "421 4.3.2 going down")
	words, _ := w.run(w.build(), direct, job(german, "b@example.com"))
	if words[0] != "delivered mx2" || !strings.Contains(w.two().contents[0], "Gr=C3=BCn.") {
		t.Errorf("%v, arrived %q", words, w.two().contents)
	}
}

func TestUTF8(t *testing.T) {
	header := "From: a@example.org\r\nSubject: Grüße\r\n\r\nHello.\r\n"
	for name, test := range map[string]struct {
		content string
		from    string
		to      []string
		offered bool
		want    []string
		did     string
	}{
		"offered":                             {header, "", []string{"grün@example.com"}, true, []string{"delivered mx1"}, "MAIL FROM:<a@example.org> BODY=8BITMIME SMTPUTF8"},
		"not offered: local part":             {body, "", []string{"grün@example.com", "b@example.com"}, false, []string{"bounced protocol/recipient at mail mx1", "delivered mx1"}, "MAIL FROM:<a@example.org>"},
		"not offered: sender":                 {body, "grün@example.org", []string{"b@example.com"}, false, []string{"bounced protocol/sender at mail mx1"}, ""},
		"not offered: header":                 {header, "", []string{"b@example.com"}, false, []string{"bounced protocol/message at mail mx1"}, ""},
		"not offered: the domain has A-label": {body, "a@bücher.example", []string{"b@example.com"}, false, []string{"delivered mx1"}, "MAIL FROM:<a@xn--bcher-kva.example>"},
		"offered and not needed":              {body, "", []string{"b@example.com"}, true, []string{"delivered mx1"}, "MAIL FROM:<a@example.org>"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.one().offers = [][]string{{"8BITMIME"}}
			if test.offered {
				w.one().offers = [][]string{{"8BITMIME", "SMTPUTF8"}}
			}
			w.state.Routes[0].ReturnPath = platform.ReturnPathSender
			j := job(test.content, test.to...)
			j.Message.UTF8 = true
			if test.from != "" {
				j.Message.From = address(test.from)
			}
			words, outcomes := w.run(w.build(), direct, j)
			if diff := cmp.Diff(test.want, words); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if outcomes[0].Result == mail.Bounced && !strings.HasPrefix(outcomes[0].Attempt.Reply, "5.6.7 ") {
				t.Errorf("reason %q", outcomes[0].Attempt.Reply)
			}
			if got := strings.TrimPrefix(strings.Join(w.one().did("MAIL"), ""), "1: "); got != test.did {
				t.Errorf("sent %q, want %q", got, test.did)
			}
		})
	}
}

// TestSign holds what is signed, where the signature goes, and that one of a message with many recipients is made once.
func TestSign(t *testing.T) {
	w := newWorld(t)
	var inputs []SignInput
	w.opts.Sign = func(_ context.Context, in SignInput) ([]byte, error) {
		inputs = append(inputs, in)
		return []byte("DKIM-Signature: v=1;\r\n b=x\r\n"), nil
	}
	w.opts.To7Bit = compose.To7Bit
	d := w.build()
	many := job(body, "b@example.com", "c@example.com")
	many.Message.Content.BodyHash[0] = 1
	w.run(d, direct, many)
	w.run(d, direct, many)
	if len(inputs) != 1 {
		t.Fatalf("signed %d times", len(inputs))
	}
	in := inputs[0]
	if string(in.Header) != "From: a@example.org\r\nSubject: test\r\n" || in.BodyHash != many.Message.Content.BodyHash || in.BodyOffset != int64(strings.Index(body, "Hello")) {
		t.Errorf("signed header %q, hash %x, body from %d", in.Header, in.BodyHash[:2], in.BodyOffset)
	}
	want := "DKIM-Signature: v=1;\r\n b=x\r\n" + body
	for _, c := range w.one().contents {
		if c != want {
			t.Errorf("arrived as %q", c)
		}
	}
	if len(w.one().contents) != 4 {
		t.Errorf("%d arrived", len(w.one().contents))
	}

	// Converted content has another body: another signature, and its hash is not the stored one.
	w.one().offers = [][]string{{}}
	conv := job(german, "b@example.com")
	conv.Message.Content.BodyHash[0] = 1
	w.run(d, direct, conv)
	in = inputs[1]
	rest, err := io.ReadAll(open(t, in.Content))
	if err != nil || in.BodyHash != [32]byte{} || !bytes.Contains(rest[in.BodyOffset:], []byte("Gr=C3=BCn.")) || bytes.Contains(in.Header, []byte("8bit")) {
		t.Errorf("converted: hash %x, content %q", in.BodyHash[:2], rest)
	}

	// New keys make a new platform state, and that new signatures.
	snap := platform.NewSnapshot(w.state, "")
	d.opts.Snapshot = func() *platform.Snapshot { return snap }
	w.run(d, direct, many)
	if len(inputs) != 3 {
		t.Errorf("signed %d times after a change of state", len(inputs))
	}
}

func open(t *testing.T, b mail.Body) io.Reader {
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestSignFails holds that what cannot be signed waits, unsent, and that the failure is not remembered.
func TestSignFails(t *testing.T) {
	w := newWorld(t)
	fails := true
	w.opts.Sign = func(context.Context, SignInput) ([]byte, error) {
		if fails {
			return nil, errors.New("no key")
		}
		return nil, nil
	}
	d := w.build()
	j := job(body, "b@example.com", "c@example.com")
	words, _ := w.run(d, direct, j)
	const want = "deferred transient-system/message at body mx1"
	if words[0] != want || words[1] != want || len(w.one().did("MAIL")) > 0 {
		t.Errorf("%v, sent %v", words, w.one().did("MAIL"))
	}
	fails = false
	if words, _ := w.run(d, direct, j); words[0] != "delivered mx1" {
		t.Errorf("later: %v", words)
	}
}

// fileBody is a content that is not in memory.
type fileBody struct{ mail.BytesBody }

func (fileBody) Bytes() []byte { return nil }

// TestLargeBody sends a content that is streamed, signed.
func TestLargeBody(t *testing.T) {
	w := newWorld(t)
	w.opts.Sign = func(_ context.Context, in SignInput) ([]byte, error) {
		if string(in.Header) != "From: a@example.org\r\n" {
			t.Errorf("signs %.100q", in.Header)
		}
		return []byte("DKIM-Signature: x\r\n"), nil
	}
	content := "From: a@example.org\r\n\r\n" + strings.Repeat("..dots and a line of text\r\n", 40_000)
	j := job(content, "b@example.com")
	j.Body = fileBody{mail.BytesBody(content)}
	words, _ := w.run(w.build(), direct, j)
	if words[0] != "delivered mx1" || w.one().contents[0] != "DKIM-Signature: x\r\n"+content {
		t.Errorf("%s, %d octets arrived", words[0], len(w.one().contents[0]))
	}
}

// TestPrivateCopies holds that each delivery of a private message gets its own To field, signed with it, and nobody
// else's.
func TestPrivateCopies(t *testing.T) {
	w := newWorld(t)
	var signed []string
	w.opts.Sign = func(_ context.Context, in SignInput) ([]byte, error) {
		signed = append(signed, string(in.Header))
		if in.Delivery == nil || !bytes.Contains(in.Header, []byte(in.Delivery.Recipient.String())) {
			t.Errorf("the signature is for %+v", in.Delivery)
		}
		return []byte("DKIM-Signature: v=1;\r\n"), nil
	}
	d := w.build()
	for _, to := range []struct{ address, name string }{{"b@example.com", ""}, {"c@example.com", "Änne"}} {
		j := job(body, to.address)
		j.Message.Content.Kind, j.Message.Recipients = mail.ContentPrivate, 2
		j.Deliveries[0].Data = []byte(to.name)
		w.run(d, direct, j)
	}
	fields := []string{"To: b@example.com\r\n", "To: =?UTF-8?Q?=C3=84nne?= <c@example.com>\r\n"}
	for i, c := range w.one().contents {
		if want := "DKIM-Signature: v=1;\r\n" + fields[i] + body; !strings.EqualFold(c, want) {
			t.Errorf("copy %d arrived as %q, want %q", i, c, want)
		}
		if want := fields[i] + "From: a@example.org\r\nSubject: test\r\n"; !strings.EqualFold(signed[i], want) {
			t.Errorf("copy %d was signed over %q, want %q", i, signed[i], want)
		}
	}
	if len(signed) != 2 || len(w.one().contents) != 2 {
		t.Errorf("%d signed, %d arrived", len(signed), len(w.one().contents))
	}
}
