package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The next command after the content: whatever is read too far or not far enough shows in it.
const after = "NEXT\r\n"

var long = strings.Repeat("x", MaxBodyLine)

var dataTests = []struct {
	name      string
	in        string // up to and with the true end
	want      string // clean content
	fault     *ReplyError
	normalise string // clean content with NewlinesNormalise where it differs; "-": as want
}{
	{"empty", ".\r\n", "", nil, "-"},
	{"one line", "a\r\n.\r\n", "a\r\n", nil, "-"},
	{"empty line", "\r\n.\r\n", "\r\n", nil, "-"},
	{"stuffed dot", "..\r\n.\r\n", ".\r\n", nil, "-"},
	{"stuffed text", "..a\r\n..b\r\n.\r\n", ".a\r\n.b\r\n", nil, "-"},
	{"dot not stuffed", ".a\r\n.\r\n", "a\r\n", nil, "-"},
	{"dot within", "a.b\r\na.\r\n.\r\n", "a.b\r\na.\r\n", nil, "-"},
	{"three dots", "...\r\n.\r\n", "..\r\n", nil, "-"},
	{"8 bit", "\xff\x80\r\n.\r\n", "\xff\x80\r\n", nil, "-"},
	{"tab and controls", "\t\x01\x7f\r\n.\r\n", "\t\x01\x7f\r\n", nil, "-"},

	// Smuggling: none of these is an end (CVE-2023-51764, CVE-2023-51765, CVE-2023-51766).
	{"LF . LF", "a\n.\nb\r\n.\r\n", "", ErrBareLF, "a\r\n.\r\nb\r\n"},
	{"LF . CRLF", "a\n.\r\nb\r\n.\r\n", "", ErrBareLF, "a\r\n.\r\nb\r\n"},
	{"CRLF . LF", "a\r\n.\nb\r\n.\r\n", "", ErrBareLF, "a\r\n\r\nb\r\n"},
	{"CR . CR", "a\r.\rb\r\n.\r\n", "", ErrBareCR, "a\r\n.\r\nb\r\n"},
	{"CR . CRLF", "a\r.\r\nb\r\n.\r\n", "", ErrBareCR, "a\r\n.\r\nb\r\n"},
	{"CRLF . CR", "a\r\n.\rb\r\n.\r\n", "", ErrBareCR, "a\r\n\r\nb\r\n"},
	{"CRLF . CR CRLF", "a\r\n.\r\r\nb\r\n.\r\n", "", ErrBareCR, "a\r\n\r\n\r\nb\r\n"},
	{"LF . CR LF CR", "a\n.\r\n\rb\r\n.\r\n", "", ErrBareLF, "a\r\n.\r\n\r\nb\r\n"},
	{"CRLF NUL . CRLF", "a\r\n\x00.\r\nb\r\n.\r\n", "", ErrNUL, ""},
	{"CRLF . NUL CRLF", "a\r\n.\x00\r\nb\r\n.\r\n", "", ErrNUL, ""},
	{"CRLF space . CRLF", "a\r\n .\r\n.\r\n", "a\r\n .\r\n", nil, "-"},
	// The octets CRLF.CRLF are there, so this is the end, whatever stands before.
	{"CR CRLF . CRLF", "a\r\r\n.\r\n", "", ErrBareCR, "a\r\n\r\n"},

	{"bare LF first", "\n.\r\n\r\n.\r\n", "", ErrBareLF, "\r\n.\r\n\r\n"},
	{"bare CR first", "\ra\r\n.\r\n", "", ErrBareCR, "\r\na\r\n"},
	{"LF CR", "a\n\rb\r\n.\r\n", "", ErrBareLF, "a\r\n\r\nb\r\n"},
	{"NUL", "a\x00b\r\n.\r\n", "", ErrNUL, ""},
	{"NUL first", "\x00\r\n.\r\n", "", ErrNUL, ""},
	{"dot then X", "a\r\n.\rX\r\n.\r\n", "", ErrBareCR, "a\r\n\r\nX\r\n"},

	{"longest line", long[2:] + "\r\n.\r\n", long[2:] + "\r\n", nil, "-"},
	{"line too long", "a\r\n" + long + "x\r\n.\r\n", "", ErrLongLine, ""},
	{"line far too long", long + long + "\r\n..\r\n.\r\n", "", ErrLongLine, ""},
}

// repairs are what NewlinesRepair makes of contents the other modes refuse; all else it treats as NewlinesNormalise.
var repairs = map[string]string{
	"CRLF NUL . CRLF":   "a\r\n.\r\nb\r\n",
	"CRLF . NUL CRLF":   "a\r\n\r\nb\r\n",
	"NUL":               "ab\r\n",
	"NUL first":         "\r\n",
	"line too long":     "a\r\n" + long[2:] + "\r\nxxx\r\n",
	"line far too long": long[2:] + "\r\n" + long[2:] + "\r\nxxxx\r\n.\r\n",
}

// readers are ways the same octets can come in and be asked for.
var readers = []struct {
	name string
	in   func(io.Reader) io.Reader
	ask  int
}{
	{"whole", func(r io.Reader) io.Reader { return r }, 4096},
	{"octet by octet", iotest.OneByteReader, 4096},
	{"in halves", iotest.HalfReader, 7},
	{"ask for one", func(r io.Reader) io.Reader { return r }, 1},
}

func readAll(d *DataReader, ask int) (string, error) {
	var b bytes.Buffer
	p := make([]byte, ask)
	for {
		n, err := d.Read(p)
		b.Write(p[:n])
		if err != nil {
			return b.String(), err
		}
	}
}

func TestDataReader(t *testing.T) {
	for _, tt := range dataTests {
		for _, newlines := range []Newlines{NewlinesReject, NewlinesNormalise, NewlinesRepair} {
			want, fault := tt.want, tt.fault
			if newlines != NewlinesReject && tt.normalise != "-" {
				want = tt.normalise
				if fault == ErrBareCR || fault == ErrBareLF {
					fault = nil
				}
			}
			if newlines == NewlinesRepair && fault != nil {
				want, fault = repairs[tt.name], nil
			}
			for _, how := range readers {
				br := bufio.NewReaderSize(how.in(strings.NewReader(tt.in+after)), 16<<10)
				d := NewDataReader(br, DataOptions{Newlines: newlines})
				got, err := readAll(d, how.ask)
				if fault == nil {
					if err != io.EOF || got != want {
						t.Errorf("%s, %s, %d: got %q, %v; want %q, EOF", tt.name, how.name, newlines, abbreviate(got), err, abbreviate(want))
					}
					if d.Size() != int64(len(want)) {
						t.Errorf("%s: Size = %d, want %d", tt.name, d.Size(), len(want))
					}
				} else if !errors.Is(err, fault) {
					t.Errorf("%s, %s, %d: error %v, want %v", tt.name, how.name, newlines, err, fault)
				}
				if err := d.Drain(); err != nil {
					t.Errorf("%s, %s: Drain: %v", tt.name, how.name, err)
				}
				if rest, _ := io.ReadAll(br); string(rest) != after {
					t.Errorf("%s, %s: after the end comes %q, want %q", tt.name, how.name, abbreviate(string(rest)), after)
				}
				if d.Fault() != fault {
					t.Errorf("%s, %s: Fault = %v, want %v", tt.name, how.name, d.Fault(), fault)
				}
			}
		}
	}
}

func abbreviate(s string) string {
	if len(s) > 200 {
		return s[:100] + "..." + s[len(s)-100:]
	}
	return s
}

func TestDataReaderCutOff(t *testing.T) {
	for _, in := range []string{"", ".", ".\r", "a", "a\r\n", "a\r\n.", "a\r\n.\r", "a\n.\n"} {
		d := NewDataReader(bufio.NewReader(strings.NewReader(in)), DataOptions{Newlines: NewlinesNormalise})
		if _, err := readAll(d, 10); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: error %v, want unexpected EOF", in, err)
		}
	}
	broken := errors.New("broken")
	d := NewDataReader(bufio.NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken))), DataOptions{})
	if _, err := readAll(d, 10); !errors.Is(err, ErrBareLF) {
		t.Errorf("error %v, want the fault", err)
	}
	if err := d.Drain(); err != broken {
		t.Errorf("Drain: %v, want the connection's error", err)
	}
}

func TestDataReaderMaxSize(t *testing.T) {
	for _, tt := range []struct {
		in    string
		max   int64
		fault *ReplyError
	}{
		{"12345678\r\n.\r\n", 10, nil},
		{"123456789\r\n.\r\n", 10, ErrTooLarge},
		{"..34567890\r\n.\r\n", 11, nil}, // the stuffed dot does not count
	} {
		br := bufio.NewReader(strings.NewReader(tt.in + after))
		d := NewDataReader(br, DataOptions{MaxSize: tt.max})
		_, err := readAll(d, 100)
		if tt.fault == nil && err != io.EOF || tt.fault != nil && !errors.Is(err, tt.fault) {
			t.Errorf("%q: error %v, want %v", tt.in, err, tt.fault)
		}
		if err := d.Drain(); err != nil {
			t.Errorf("%q: Drain: %v", tt.in, err)
		}
		if rest, _ := io.ReadAll(br); string(rest) != after {
			t.Errorf("%q: rest %q", tt.in, rest)
		}
	}
	// Nobody need read for ever.
	endless := NewDataReader(bufio.NewReader(neverEnding{}), DataOptions{MaxSize: 100 << 10})
	if err := endless.Drain(); !errors.Is(err, ErrDrainBounds) {
		t.Errorf("Drain of an endless content: %v", err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "0123456789\r\n"[i%12]
	}
	return len(p) / 12 * 12, nil
}

func TestDataReaderWriteTo(t *testing.T) {
	in := strings.Repeat("line\r\n..dot\r\n", 5000)
	var b bytes.Buffer
	n, err := io.Copy(&b, NewDataReader(bufio.NewReader(strings.NewReader(in+".\r\n")), DataOptions{}))
	want := strings.Repeat("line\r\n.dot\r\n", 5000)
	if err != nil || n != int64(len(want)) || b.String() != want {
		t.Errorf("copied %d octets, %v; want %d", n, err, len(want))
	}
	if _, err := io.Copy(io.Discard, NewDataReader(bufio.NewReader(strings.NewReader("a\nb\r\n.\r\n")), DataOptions{})); !errors.Is(err, ErrBareLF) {
		t.Errorf("error %v, want the fault", err)
	}
}

// chunks gives the parts of a content as BDAT would.
func chunks(parts []string, o DataOptions) *DataReader {
	br := bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(strings.Join(parts, ""))), 64)
	i := 0
	next := func() (int64, bool, error) {
		i++
		return int64(len(parts[i])), i == len(parts)-1, nil
	}
	return NewChunkReader(br, o, int64(len(parts[0])), len(parts) == 1, next)
}

func TestChunkReader(t *testing.T) {
	for _, tt := range []struct {
		parts []string
		want  string
		fault *ReplyError
	}{
		{[]string{"a\r\n"}, "a\r\n", nil},
		{[]string{""}, "", nil},
		{[]string{"", "", ""}, "", nil},
		{[]string{"a\r", "\nb\r\n"}, "a\r\nb\r\n", nil},
		{[]string{"a\r", "", "\nb\r\n", ""}, "a\r\nb\r\n", nil},
		{[]string{".\r\n", "..\r\n"}, ".\r\n..\r\n", nil}, // dots mean nothing here
		{[]string{"no line end"}, "no line end\r\n", nil},
		{[]string{"a\r\nno line", " end"}, "a\r\nno line end\r\n", nil},
		{[]string{"a\r", "b\r\n"}, "", ErrBareCR},
		{[]string{"a\r"}, "", ErrBareCR},
		{[]string{"a\n", "b\r\n"}, "", ErrBareLF},
		{[]string{"a\r\n", "\x00"}, "", ErrNUL},
		{[]string{long, "x\r\n"}, "", ErrLongLine},
	} {
		d := chunks(tt.parts, DataOptions{})
		got, err := readAll(d, 5)
		if tt.fault != nil {
			if !errors.Is(err, tt.fault) {
				t.Errorf("%.40q: error %v, want %v", tt.parts, err, tt.fault)
			}
		} else if err != io.EOF || got != tt.want {
			t.Errorf("%.40q: got %q, %v; want %q", tt.parts, got, err, tt.want)
		}
		if err := d.Drain(); err != nil {
			t.Errorf("%.40q: Drain: %v", tt.parts, err)
		}
	}
}

func TestDrainChunkStopsAtItsEnd(t *testing.T) {
	br := bufio.NewReader(strings.NewReader("0123456789" + after))
	asked := false
	d := NewChunkReader(br, DataOptions{}, 10, false, func() (int64, bool, error) { asked = true; return 0, true, nil })
	if _, err := io.ReadFull(d, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := d.DrainChunk(); err != nil || asked {
		t.Errorf("DrainChunk: %v, asked for more: %v", err, asked)
	}
	if rest, _ := io.ReadAll(br); string(rest) != after {
		t.Errorf("rest %q, want %q", rest, after)
	}
}

func TestDetach(t *testing.T) {
	br := bufio.NewReader(strings.NewReader("a\r\nb\r\n.\r\n" + after))
	d := NewDataReader(br, DataOptions{})
	if _, err := d.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d.Detach()
	if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.ErrClosedPipe {
		t.Errorf("Read after Detach: %d, %v", n, err)
	}
}

// slowData is the same reading, octet by octet, from the text of the RFCs alone.
func slowData(in string, newlines Newlines) (content string, fault *ReplyError, rest string, whole bool) {
	body, rest, whole := "", "", false
	if strings.HasPrefix(in, ".\r\n") {
		rest, whole = in[3:], true
	} else if i := strings.Index(in, "\r\n.\r\n"); i >= 0 {
		body, rest, whole = in[:i+2], in[i+5:], true
	}
	if !whole {
		return "", nil, "", false
	}
	var b strings.Builder
	set := func(f *ReplyError) {
		if fault == nil {
			fault = f
		}
	}
	line, start := 0, true
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case start && c == '.':
			start = false
			continue
		case c == '\r' && i+1 < len(body) && body[i+1] == '\n':
			b.WriteString("\r\n")
			line += 2
			if line > MaxBodyLine {
				set(ErrLongLine)
			}
			i, line, start = i+1, 0, true
			continue
		case c == '\r' || c == '\n':
			if newlines == NewlinesReject {
				if c == '\r' {
					set(ErrBareCR)
				} else {
					set(ErrBareLF)
				}
			}
			b.WriteString("\r\n")
			line = 0
		case c == 0 && newlines == NewlinesRepair:
		case c == 0:
			set(ErrNUL)
		default:
			if line == maxBodyText && newlines == NewlinesRepair {
				b.WriteString("\r\n")
				line = 0
			}
			b.WriteByte(c)
			if line++; line > MaxBodyLine {
				set(ErrLongLine)
			}
		}
		start = false
	}
	return b.String(), fault, rest, true
}

func FuzzDataReader(f *testing.F) {
	for _, tt := range dataTests {
		if len(tt.in) < 100 {
			f.Add(tt.in+after, uint8(NewlinesReject), uint16(20))
			f.Add(tt.in+after, uint8(NewlinesNormalise), uint16(3))
			f.Add(tt.in+after, uint8(NewlinesRepair), uint16(5))
		}
	}
	f.Fuzz(func(t *testing.T, in string, newlines uint8, piece uint16) {
		o := DataOptions{Newlines: Newlines(newlines % 3)}
		content, fault, rest, whole := slowData(in, o.Newlines)
		br := bufio.NewReaderSize(&pieces{in, int(piece)%64 + 1}, 32)
		d := NewDataReader(br, o)
		got, err := readAll(d, int(piece)%9+1)
		switch {
		case !whole:
			if err == io.EOF {
				t.Fatalf("%q has no end but gave %q", in, got)
			}
			return
		case fault != nil && !errors.Is(err, fault):
			t.Fatalf("%q: error %v, want %v", in, err, fault)
		case fault == nil && (err != io.EOF || got != content):
			t.Fatalf("%q: got %q, %v; want %q", in, got, err, content)
		}
		if err := d.Drain(); err != nil {
			t.Fatalf("%q: Drain: %v", in, err)
		}
		if left, _ := io.ReadAll(br); string(left) != rest {
			t.Fatalf("%q: left %q, want %q", in, left, rest)
		}
	})
}

// pieces gives s in pieces of n octets.
type pieces struct {
	s string
	n int
}

func (r *pieces) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.s)
	r.s = r.s[n:]
	return n, nil
}

func BenchmarkDataReader(b *testing.B) {
	in := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", 54) + ".\r\n") // 4 KiB
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	r := bytes.NewReader(nil)
	br := bufio.NewReaderSize(r, 16<<10)
	p := make([]byte, 8<<10)
	var d DataReader
	for b.Loop() {
		r.Reset(in)
		br.Reset(r)
		d.Reset(br, DataOptions{MaxSize: 1 << 20})
		for {
			if _, err := d.Read(p); err != nil {
				if err != io.EOF {
					b.Fatal(err)
				}
				break
			}
		}
	}
}
