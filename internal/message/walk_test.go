package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"
)

// show writes a part as "depth type: text".
func show(p Part) string {
	s := fmt.Sprintf("%d %s", p.Depth, p.Media.Type)
	if !p.Children {
		s += ": " + p.Text()
	}
	return s
}

func walk(msg string, o WalkOptions) (list []string, err error) {
	err = Walk([]byte(msg), o, func(p Part) error {
		list = append(list, show(p))
		return nil
	})
	return list, err
}

const nestedMessage = `Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=outer-inner

--outer-inner

plain
--outer-inner
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<b>caf=E9=
</b>

--outer-inner--
--outer  
Content-Type: message/rfc822

Subject: attached
Content-Transfer-Encoding: base64

aGVsbG8=
--outer--
epilogue
`

func TestWalk(t *testing.T) {
	want := []string{
		"0 multipart/mixed", "1 multipart/alternative", "2 text/plain: plain", "2 text/html: <b>café</b>\r\n",
		"1 message/rfc822", "2 text/plain: hello",
	}
	for _, o := range []WalkOptions{{Messages: true}, {Messages: true, Lenient: true}} {
		got, err := walk(crlfs(nestedMessage), o)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v, -want +got:\n%s", o, err, diff)
		}
	}
	got, err := walk(nestedMessage, WalkOptions{Messages: true, Lenient: true})
	want[3] = "2 text/html: <b>café</b>\n"
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("with LF: %v, -want +got:\n%s", err, diff)
	}
	got, err = walk(crlfs(nestedMessage), WalkOptions{})
	if err != nil || len(got) != 5 || got[4] != "1 message/rfc822: Subject: attached\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=" {
		t.Errorf("without Messages: %v %q", err, got)
	}
}

func TestWalkLenient(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"no end boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n", []string{"0 multipart/mixed", "1 text/plain: one", "1 text/plain: two\n"}},
		{
			"inner end boundary missing", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n",
			[]string{"0 multipart/mixed", "1 multipart/mixed", "2 text/plain: one", "1 text/plain: two"},
		},
		{"CR CR LF", "Content-Type: multipart/mixed; boundary=b\r\r\n\r\r\n--b\r\r\n\r\r\none\r\r\n--b--\r\r\n", []string{"0 multipart/mixed", "1 text/plain: one"}},
		{"boundary never comes", "Content-Type: multipart/mixed; boundary=b\n\ntext\n", []string{"0 multipart/mixed: text\n"}},
		{"no boundary named", "Content-Type: multipart/mixed\n\ntext\n", []string{"0 multipart/mixed: text\n"}},
		{"unknown charset", "Content-Type: text/plain; charset=x-odd\n\ncaf\xe9\n", []string{"0 text/plain: café\n"}},
		{"broken base64", "Content-Transfer-Encoding: base64\n\naGVs!bG8\n", []string{"0 text/plain: hello"}},
		{"unknown encoding", "Content-Transfer-Encoding: x-odd\n\ntext\n", []string{"0 text/plain: text\n"}},
		{"no header in a part", "Content-Type: multipart/mixed; boundary=b\n\n--b\njust text\n--b--\n", []string{"0 multipart/mixed", "1 text/plain: just text"}},
		{"longer boundary is another", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb\n--b--x\n--b--\n", []string{"0 multipart/mixed", "1 text/plain: --bb\n--b--x"}},
		{"empty parts", "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b--", []string{"0 multipart/mixed", "1 text/plain: ", "1 text/plain: "}},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\none\n--b--\n", []string{"0 multipart/digest", "1 message/rfc822", "2 text/plain: one"}},
		{"encoded attached message", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKaGk=\n", []string{"0 message/rfc822", "1 text/plain: hi"}},
		{"type text", "Content-Type: text; charset=utf-8\n\nx\n", []string{"0 text/plain: x\n"}},
		{"bad type", "Content-Type: nonsense\n\nx\n", []string{"0 text/plain: x\n"}},
		{"empty", "", []string{"0 text/plain: "}},
	} {
		got, err := walk(tt.in, WalkOptions{Lenient: true, Messages: true})
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, diff)
		}
	}
}

func TestWalkErrors(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 200)
	wide := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 5000) + "--b--\r\n"
	for _, tt := range []struct {
		name, in string
		o        WalkOptions
		want     error
	}{
		{"too deep", deep, WalkOptions{Messages: true}, ErrLimit},
		{"too deep, lenient", deep, WalkOptions{Messages: true, Lenient: true}, ErrLimit},
		{"too many parts", wide, WalkOptions{}, ErrLimit},
		{"too many parts, lenient", wide, WalkOptions{Lenient: true}, ErrLimit},
		{"too large", wide, WalkOptions{MaxBytes: 1000}, ErrLimit},
		{"no boundary", "Content-Type: multipart/mixed\r\n\r\nx", WalkOptions{}, ErrBadMIME},
		{"boundary never comes", "Content-Type: multipart/mixed; boundary=b\r\n\r\nx", WalkOptions{}, ErrBadMIME},
		{"bad header", "nonsense\r\n\r\nx", WalkOptions{}, ErrBadHeader},
		{"large header", "A: " + strings.Repeat("x", 500) + "\r\n\r\nx", WalkOptions{MaxHeader: 100}, ErrHeaderTooLarge},
	} {
		if _, err := walk(tt.in, tt.o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestWalkControl(t *testing.T) {
	var seen []string
	collect := func(at string, ret error) error {
		seen = nil
		return Walk([]byte(crlfs(nestedMessage)), WalkOptions{Messages: true}, func(p Part) error {
			seen = append(seen, p.Media.Type)
			if p.Media.Type == at {
				return ret
			}
			return nil
		})
	}
	if err := collect("multipart/alternative", SkipPart); err != nil || len(seen) != 4 {
		t.Errorf("SkipPart: %v %v", err, seen)
	}
	if err := collect("text/plain", Stop); err != nil || len(seen) != 3 {
		t.Errorf("Stop: %v %v", err, seen)
	}
	other := errors.New("other")
	if err := collect("text/plain", other); err != other {
		t.Errorf("other: %v", err)
	}
	var parents []int
	if err := Walk([]byte(crlfs(nestedMessage)), WalkOptions{}, func(p Part) error { parents = append(parents, p.Parent); return nil }); err != nil || !cmp.Equal(parents, []int{-1, 0, 1, 1, 0}) {
		t.Errorf("parents %v, %v", parents, err)
	}
}

func TestParseMedia(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Media
	}{
		{"text/plain", Media{Type: "text/plain"}},
		{" Text/HTML ; Charset=UTF-8", Media{"text/html", map[string]string{"charset": "UTF-8"}}},
		{`multipart/mixed; boundary="a;b=\"c\""; x=y`, Media{"multipart/mixed", map[string]string{"boundary": `a;b="c"`, "x": "y"}}},
		{"text/plain (a comment; x=y); charset=us-ascii (another)", Media{"text/plain", map[string]string{"charset": "us-ascii"}}},
		{"text/plain; name=not quoted.txt; charset=x", Media{"text/plain", map[string]string{"name": "not quoted.txt", "charset": "x"}}},
		{"text/plain; charset=a; charset=b", Media{"text/plain", map[string]string{"charset": "a"}}},
		{"text/plain;;; charset=a;", Media{"text/plain", map[string]string{"charset": "a"}}},
		{"attachment; filename=\"=?utf-8?q?caf=C3=A9?=\"", Media{"attachment", map[string]string{"filename": "café"}}},
		{"attachment; filename*=iso-8859-1'fr'caf%E9", Media{"attachment", map[string]string{"filename": "café"}}},
		{"attachment; filename=x; filename*=utf-8''caf%C3%A9", Media{"attachment", map[string]string{"filename": "café"}}},
		// RFC 2231 §4.1
		{"application/x-stuff; title*2=\"isn't it!\"; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20", Media{"application/x-stuff", map[string]string{"title": "This is even more ***fun*** isn't it!"}}},
		{"x/y; boundary=\"=?utf-8?q?x?=\"", Media{"x/y", map[string]string{"boundary": "=?utf-8?q?x?="}}},
		{"x/y; a=\"open", Media{"x/y", map[string]string{"a": "open"}}},
		{"x/y; (open", Media{Type: "x/y"}},
		{"x/y; noequals; =z", Media{Type: "x/y"}},
		{"", Media{}},
	} {
		if diff := cmp.Diff(tt.want, ParseMedia(tt.in)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.in, diff)
		}
	}
}

func TestDecodeTransfer(t *testing.T) {
	for _, tt := range []struct {
		encoding, in, want string
		broken             bool
	}{
		{"7bit", "a=b", "a=b", false},
		{"quoted-printable", "a=3Db=\r\nc =20\r\n  \r\nd", "a=bc  \r\n\r\nd", false},
		{"quoted-printable", "a=b=", "a=b", true},
		{"quoted-printable", "a=e9\n", "a\xe9\n", false},
		{"base64", "aGVs\r\nbG8=\r\n", "hello", false},
		{"base64", "aGVs bG8=", "hello", false},
		{"base64", "aGVsbG8", "hello", true},
		{"base64", "aGVs*bG8=", "hello", true},
		{"base64", "aGk=aGk=", "hihi", true},
		{"base64", "", "", false},
		{"x-odd", "a", "a", true},
	} {
		got, err := DecodeTransfer(tt.encoding, []byte(tt.in))
		if string(got) != tt.want || errors.Is(err, ErrEncoding) != tt.broken {
			t.Errorf("%s %q: %q, %v", tt.encoding, tt.in, got, err)
		}
	}
}

func TestFilename(t *testing.T) {
	p, err := ReadPart([]byte("Content-Type: image/png; name=a.png\r\nContent-Disposition: attachment; filename=\"b.png\"\r\n\r\n"), "text/plain", 0, false)
	if err != nil || p.Filename() != "b.png" {
		t.Errorf("%q %v", p.Filename(), err)
	}
	p, err = ReadPart([]byte("Content-Type: image/png; name=a.png\r\n\r\n"), "text/plain", 0, false)
	if err != nil || p.Filename() != "a.png" {
		t.Errorf("%q %v", p.Filename(), err)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte(crlfs(nestedMessage)))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\r\n\n--b\n--b\r\n\r\n--b--"))
	f.Add([]byte("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nContent-Type: multipart/digest; boundary*0=a; boundary*1=\"b\"\n\n--ab\n\nx"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, lenient := range []bool{false, true} {
			seen := 0
			err := Walk(msg, WalkOptions{Lenient: lenient, Messages: true, MaxDepth: 10, MaxParts: 50}, func(p Part) error {
				if seen++; p.Index != seen-1 || p.Parent >= p.Index || p.Depth > 10 || seen > 50 {
					t.Fatalf("part %d, parent %d, depth %d", p.Index, p.Parent, p.Depth)
				}
				p.Text()
				p.Filename()
				return nil
			})
			if lenient && err != nil && !errors.Is(err, ErrLimit) {
				t.Fatalf("lenient reading failed: %v", err)
			}
		}
	})
}

// FuzzDecodeQuoted holds our decoder against the standard library's where that accepts the input.
func FuzzDecodeQuoted(f *testing.F) {
	f.Add([]byte("a=3Db=\r\nc =20\r\n  \r\nd"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := DecodeTransfer("quoted-printable", in)
		want, werr := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(in)))
		if err == nil && werr == nil && !bytes.ContainsRune(in, 0x0d) && !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, the standard library has %q", in, got, want)
		}
	})
}

// TestWalkAgainstOther compares the tree with the one another library reads.
func TestWalkAgainstOther(t *testing.T) {
	// Theirs does not tell a boundary from a longer one that begins alike, and knows no charsets by itself.
	msg := strings.NewReplacer("outer-inner", "inner", "iso-8859-1", "us-ascii").Replace(crlfs(nestedMessage))
	e, err := gomessage.Read(strings.NewReader(msg))
	if err != nil {
		t.Fatal(err)
	}
	var theirs, ours []string
	if err := e.Walk(func(path []int, e *gomessage.Entity, err error) error {
		if err != nil {
			return err
		}
		mediaType, _, err := e.Header.ContentType()
		if err != nil {
			return err
		}
		theirs = append(theirs, fmt.Sprintf("%d %s", len(path), mediaType))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := Walk([]byte(msg), WalkOptions{}, func(p Part) error {
		ours = append(ours, fmt.Sprintf("%d %s", p.Depth, p.Media.Type))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("-theirs +ours:\n%s", diff)
	}
}

func BenchmarkWalk(b *testing.B) {
	msg := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("some text on a line\r\n", 1000) +
		"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("A", 76)+"\r\n", 700) + "--b--\r\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if err := Walk(msg, WalkOptions{Lenient: true}, func(Part) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
