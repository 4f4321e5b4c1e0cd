package dkim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/message"
)

func hashOf(b []byte) [32]byte { return sha256.Sum256(b) }

func mustHeader(t testing.TB, s string) message.Header {
	t.Helper()
	h, _, err := message.ReadHeader([]byte(s), 0)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := GenerateRSA()
	if err != nil {
		panic(err)
	}
	return key
})

func testKeys() ([]Key, zone) {
	keys := []Key{
		{"example.com", "r1", rsaKey()},
		{"example.com", "e1", testKey},
		{"platform.example.net", "2026-a.mail", rsaKey()},
	}
	z := zone{}
	for _, k := range keys {
		z[k.Selector+"._domainkey."+k.Domain] = PublicRecord(k.Signer.Public())
	}
	return keys, z
}

var signTime = Options{Time: time.Unix(1767225600, 0), Expires: 7 * 24 * time.Hour}

// corpus is of headers and bodies that canonical forms are got wrong with.
var corpus = map[string]struct{ header, body string }{
	"plain":            {"From: a@example.com\nTo: b@example.net\nSubject: x\n", "Hello.\n"},
	"empty body":       {"From: a@example.com\n", ""},
	"line ends only":   {"From: a@example.com\n", "\n\n\n"},
	"spaces only":      {"From: a@example.com\n", "  \t\n \n"},
	"trailing spaces":  {"From: a@example.com\n", "a \t\n\tb  c\n \n"},
	"no last line end": {"From: a@example.com\n", "a\nb"},
	"folded":           {"From: a@example.com\nSubject: one\n  two\n\tthree   four\t\nTo:\n b@example.net\n", "x\n"},
	"odd spacing":      {"FROM:a@example.com\nSubject:\nDate:   x  \n", "x\n"},
	"repeated fields":  {"From: a@example.com\nFeedback-ID: one\nFeedback-ID: two\nTo: a\nTo: b\nReceived: r\n", "x\n"},
	"8-bit":            {"From: a@example.com\nSubject: caf\xc3\xa9 \xff\n", "caf\xc3\xa9 \xff\n"},
	"every field": {"Received: r\nReturn-Path: <x@example.com>\nBcc: hidden@example.com\nFrom: a@example.com\nSender: s@example.com\nReply-To: r@example.com\nTo: b@example.net\nCc: c@example.net\nSubject: x\n" +
		"Date: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-ID: <1@example.com>\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 7bit\nIn-Reply-To: <0@example.com>\nReferences: <0@example.com>\n" +
		"List-Unsubscribe: <https://example.com/u>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nFeedback-ID: a:b:c:d\nCFBL-Address: fbl@example.net; report=arf\nCFBL-Feedback-ID: 1\nX-Other: y\n", "x\n"},
	"large": {"From: a@example.com\nTo: " + strings.Repeat("someone@example.net,\n ", 500) + "last@example.net\n", strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz\n", 3000)},
}

// TestSignVerifies holds signatures against two verifiers: our own, and one by others.
func TestSignVerifies(t *testing.T) {
	keys, z := testKeys()
	now := signTime.Time.Add(time.Hour)
	for name, c := range corpus {
		t.Run(name, func(t *testing.T) {
			header, body := crlf(c.header), crlf(c.body)
			h := NewBodyHasher()
			h.Write([]byte(body))
			fields, err := Sign([]byte(header), h.Sum(), keys, signTime)
			if err != nil {
				t.Fatal(err)
			}
			withEnd, err := Sign([]byte(header+"\r\n"+body), hashOf(relaxedBody([]byte(body))), keys, signTime)
			if err != nil || !bytes.Equal(fields, withEnd) {
				t.Errorf("a second signature of the same differs (%v)", err)
			}
			for _, line := range strings.Split(strings.TrimSuffix(string(fields), "\r\n"), "\r\n") {
				if len(line) > maxLine || strings.TrimSpace(line) == "" || strings.HasSuffix(line, " ") {
					t.Errorf("badly folded: %q", line)
				}
			}
			msg := string(fields) + header + "\r\n" + body

			v := Verifier{LookupTXT: z.lookup, Now: func() time.Time { return now }}
			results, err := v.Verify(t.Context(), strings.NewReader(msg))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"pass", "pass", "pass"}, statuses(results)); diff != "" {
				t.Errorf("ours, -want +got:\n%s", diff)
			}
			theirs, err := dkim.VerifyWithOptions(strings.NewReader(msg), &dkim.VerifyOptions{
				LookupTXT: func(name string) ([]string, error) { return z.lookup(t.Context(), name) },
			})
			if err != nil || len(theirs) != 3 {
				t.Fatalf("theirs: %d results, %v", len(theirs), err)
			}
			for _, r := range theirs {
				// Their clock is the system's, so that x= may have passed.
				if r.Err != nil && !strings.Contains(r.Err.Error(), "expired") {
					t.Errorf("theirs: %s: %v", r.Domain, r.Err)
				}
			}
		})
	}
}

func TestSignField(t *testing.T) {
	header := crlf("Received: r\nReturn-Path: <x@example.com>\nBcc: hidden@example.com\nFeedback-ID: one\nFrom: a@example.com\nSubject: x\nfeedback-id: two\nX-Other: y\n\n")
	got, err := Sign([]byte(header), hashOf(nil), []Key{{"example.com", "e1", testKey}}, signTime)
	if err != nil {
		t.Fatal(err)
	}
	want := crlf(`DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com;
 s=e1; t=1767225600; x=1767830400; h=from:from:reply-to:to:cc:subject:
 subject:date:content-type:feedback-id:feedback-id;
 bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=`)
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("got\n%s\nwant\n%s…", got, want)
	}
}

// TestSignedFields holds the lists against the rules they follow.
func TestSignedFields(t *testing.T) {
	for _, name := range []string{"return-path", "received", "bcc"} {
		for _, f := range SignedFields {
			if f == name {
				t.Errorf("%s must not be signed", name)
			}
		}
	}
	for _, name := range OverSigned {
		if !strings.Contains(" "+strings.Join(SignedFields, " ")+" ", " "+name+" ") {
			t.Errorf("%s is over-signed, but not signed", name)
		}
	}
}

// TestSignedOrder checks that of repeated fields the lower one is signed first: adding one on top is noticed.
func TestSignedOrder(t *testing.T) {
	keys, z := testKeys()
	header, body := crlf("Feedback-ID: one\nFrom: a@example.com\nFeedback-ID: two\n\n"), "x\r\n"
	fields, err := Sign([]byte(header), hashOf([]byte(body)), keys[1:2], Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, header string
		want         Status
	}{
		{"as signed", header, Pass},
		{"swapped", crlf("Feedback-ID: two\nFrom: a@example.com\nFeedback-ID: one\n\n"), Fail},
		{"From added", "From: b@example.com\r\n" + header, Fail},
		{"To added, which was absent", "To: b@example.com\r\n" + header, Fail},
		{"Content-Type added, which was absent", "Content-Type: text/html\r\n" + header, Fail},
		{"unsigned field added", "X-Spam: no\r\n" + header, Pass},
	} {
		results, err := verify(t.Context(), strings.NewReader(string(fields)+tt.header+body), z.lookup)
		if err != nil || results[0].Status != tt.want {
			t.Errorf("%s: %v %v, want %s", tt.name, statuses(results), err, tt.want)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	header := []byte("From: a@example.com\r\n\r\n")
	if _, err := Sign(header, hashOf(nil), []Key{{"example.com", "s", small}}, Options{}); err != nil {
		t.Errorf("1024 bits: %v", err)
	}
	for _, k := range []Key{
		{"example.com", "s", nil},
		{"example.com; b=", "s", testKey},
		{"example.com", "s\r\nX: y", testKey},
		{"", "s", testKey},
	} {
		if _, err := Sign(header, hashOf(nil), []Key{k}, Options{}); !errors.Is(err, ErrKey) {
			t.Errorf("%q %q: %v", k.Domain, k.Selector, err)
		}
	}
	if _, err := Sign([]byte("no header\r\n"), hashOf(nil), nil, Options{}); !errors.Is(err, message.ErrBadHeader) {
		t.Errorf("bad header: %v", err)
	}
	if b, err := Sign(header, hashOf(nil), nil, Options{}); err != nil || len(b) != 0 {
		t.Errorf("without keys: %q, %v", b, err)
	}
}

func FuzzSign(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(crlf(c.header)), []byte(crlf(c.body)))
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		if len(header) > 0 && header[len(header)-1] != '\n' || bytes.Contains(header, []byte("\r\n\r\n")) || bytes.HasPrefix(header, []byte("\r\n")) {
			return
		}
		fields, err := Sign(header, hashOf(relaxedBody(body)), []Key{{"example.com", "e1", testKey}}, Options{})
		if err != nil {
			return
		}
		h := mustHeader(t, string(header))
		if h.Count("From") == 0 || bytes.Contains(bytes.ReplaceAll(body, []byte("\r\n"), nil), []byte("\n")) {
			return // Verify mends bare LF
		}
		z := zone{"e1._domainkey.example.com": PublicRecord(testKey.Public())}
		results, err := verify(t.Context(), bytes.NewReader(append(append(fields, header...), append([]byte("\r\n"), body...)...)), z.lookup)
		if err != nil || len(results) == 0 || results[0].Status != Pass {
			t.Fatalf("our own signature: %v %v", statuses(results), err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	header := []byte(crlf(corpus["every field"].header))
	keys, _ := testKeys()
	for _, bb := range []struct {
		name string
		keys []Key
	}{{"rsa-2048", keys[:1]}, {"ed25519", keys[1:2]}, {"rsa+ed25519+platform", keys}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Sign(header, [32]byte{}, bb.keys, signTime); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
