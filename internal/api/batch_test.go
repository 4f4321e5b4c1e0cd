package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// open begins a batch and returns its two ends.
func (g *rig) open(key string) (write *io.PipeWriter, read *bufio.Scanner, closeBody func()) {
	g.t.Helper()
	pr, pw := io.Pipe()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.server.URL+"/v1/messages", pr)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", ndjson)
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != ndjson {
		g.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return pw, bufio.NewScanner(resp.Body), func() { resp.Body.Close() }
}

func next(t *testing.T, in *bufio.Scanner) BatchLine {
	t.Helper()
	if !in.Scan() {
		t.Fatalf("no further line: %v", in.Err())
	}
	var l BatchLine
	if err := json.Unmarshal(in.Bytes(), &l); err != nil {
		t.Fatalf("%v: %s", err, in.Bytes())
	}
	return l
}

// Each line is answered while the request is still being written, and a wrong one does not end the batch.
func TestBatchStreams(t *testing.T) {
	g := newRig(t, nil)
	w, in, end := g.open(shopKey)
	defer end()
	say := func(line string) {
		t.Helper()
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
	}
	say(goodBody + "\n")
	if l := next(t, in); l.Line != 1 || l.Status != 202 || l.Message == nil || l.Message.Count != 1 {
		t.Errorf("line 1: %+v", l)
	}
	say("\n  \r\n") // empty lines count, and are no messages
	say("{nonsense\n")
	if l := next(t, in); l.Line != 4 || l.Status != 400 || l.Problem == nil {
		t.Errorf("line 4: %+v", l)
	}
	say(strings.Replace(goodBody, "shop", "rival", 1) + "\r\n")
	if l := next(t, in); l.Line != 5 || l.Status != 403 || l.Problem == nil {
		t.Errorf("line 5: %+v", l)
	}
	say(goodBody + goodBody + "\n")
	if l := next(t, in); l.Line != 6 || l.Status != 400 {
		t.Errorf("two documents on a line: %+v", l)
	}
	say(goodBody[:20])
	say(goodBody[20:]) // without an end of line: the end of the request is one
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if l := next(t, in); l.Line != 7 || l.Status != 202 {
		t.Errorf("last line: %+v", l)
	}
	if in.Scan() {
		t.Errorf("something follows: %s", in.Bytes())
	}
	if n := g.spool.Counts().Messages; n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestBatchTooLongLine(t *testing.T) {
	g := newRig(t, nil)
	a := g.do(shopKey, http.MethodPost, "/v1/messages", goodBody+"\n"+strings.Repeat("x", int(g.api.bodyLimit())+1)+"\n"+goodBody, "Content-Type", ndjson)
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"line":2,"status":413`) {
		t.Errorf("%q", lines)
	}
	if n := g.spool.Counts().Messages; n != 1 {
		t.Errorf("%d messages, want that of the first line", n)
	}
}

// A stop does not wait for a client that has nothing to say, and tells it where it ended.
func TestBatchEndsWithAStop(t *testing.T) {
	g := newRig(t, nil)
	w, in, end := g.open(shopKey)
	defer end()
	if _, err := io.WriteString(w, goodBody+"\n"); err != nil {
		t.Fatal(err)
	}
	if l := next(t, in); l.Status != 202 {
		t.Fatalf("%+v", l)
	}
	close(g.stop)
	if l := next(t, in); l.Line != 2 || l.Status != 503 || l.Problem == nil || l.Problem.Title != "The platform is stopping" {
		t.Errorf("%+v", l)
	}
	_ = w.Close()
}

// A client that breaks off inside a line has not sent that line.
func TestBatchCutOff(t *testing.T) {
	in := bufio.NewReader(io.MultiReader(strings.NewReader(goodBody+"\n"+goodBody), cut{}))
	noRoom := func() error { return nil }
	if line, err := readLine(in, 1<<20, noRoom); err != nil || string(line) != goodBody {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := readLine(in, 1<<20, noRoom); !errors.Is(err, io.ErrUnexpectedEOF) || line != nil {
		t.Errorf("%q, %v", line, err)
	}
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Lines come out as they went in, whatever the reader's buffer, and long ones wait for room exactly once.
func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", longLine+10)
	in := bufio.NewReaderSize(strings.NewReader("a\n\n b \r\n"+long+"\n"+long+"\nend"), 16)
	rooms := 0
	for i, want := range []string{"a", "", "b", long, long, "end"} {
		line, err := readLine(in, 1<<21, func() error { rooms++; return nil })
		if err != nil || string(line) != want {
			t.Fatalf("line %d: %.40q, %v", i, line, err)
		}
	}
	if _, err := readLine(in, 1<<21, nil); !errors.Is(err, io.EOF) || rooms != 2 {
		t.Errorf("%v, room was asked for %d times", err, rooms)
	}
}

// fuzzRig is a door without rooms behind it: enough to read a request.
func FuzzMessageJSON(f *testing.F) {
	g := newRig(f, nil)
	for _, s := range []string{
		goodBody, `{}`, `null`, `{"to":[{"email":"a","name":"b"},"c"]}`, `{"raw":"AAAA"}`, `{"attachments":[{"filename":"a","content":"AA"}]}`,
		`{"send_at":"2026-01-01T00:00:00Z","metadata":{"a":"b"},"headers":{"X":"y"}}`, `{"from":1e999}`, `{"to":{"email":null}}`, "\xff", `{"a":{"a":{}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		body, p := g.api.decode(doc)
		if p != nil {
			if p.Status != 400 && p.Status != 422 || len(p.Errors) == 0 {
				t.Errorf("%q: %+v", doc, p)
			}
			return
		}
		again, err := json.Marshal(body)
		if err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		_ = again
		_ = body.request()
	})
}

func FuzzBatchLines(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 16)
	f.Add([]byte("\r\n \n\x00"), 20)
	f.Add(bytes.Repeat([]byte("x"), 100), 64)
	f.Fuzz(func(t *testing.T, doc []byte, size int) {
		in := bufio.NewReaderSize(bytes.NewReader(doc), max(16, min(size, 1<<16)))
		var want [][]byte
		for line := range bytes.Lines(doc) {
			want = append(want, bytes.TrimSpace(line))
		}
		if n := len(want); n > 0 && len(want[n-1]) == 0 && !bytes.HasSuffix(doc, []byte("\n")) {
			want = want[:n-1] // blanks without an end of line are no line
		}
		for i, w := range want {
			got, err := readLine(in, 1<<30, func() error { return nil })
			if err != nil || !bytes.Equal(got, w) {
				t.Fatalf("line %d: %q, %v; want %q", i, got, err, w)
			}
		}
		if _, err := readLine(in, 1<<30, nil); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last line: %v", err)
		}
	})
}
