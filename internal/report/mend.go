package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/message"
)

// mendLines gives a mail line ends whose line ends are nothing but CR.
func mendLines(raw []byte) []byte {
	if bytes.IndexByte(raw, '\n') >= 0 {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'})
}

// lostBoundary finds the boundary of a mail in parts whose header no longer names it; "" if it does, or there is none.
func lostBoundary(p message.Part) string {
	if _, named := p.Header.Get("Content-Type"); p.Children || named && !p.Media.Is("multipart") {
		return ""
	}
	return boundaryIn(p.Body)
}

// withBoundary names the boundary of a mail in its header: the first field of a name counts. The line "From address date"
// of an mbox file stays before it.
func withBoundary(raw []byte, boundary string) []byte {
	field := fmt.Appendf(nil, "Content-Type: multipart/mixed; boundary=\"%s\"\n", boundary)
	if bytes.HasPrefix(raw, fromLine) {
		at := bytes.IndexByte(raw, '\n') + 1
		return slices.Concat(raw[:at], field, raw[at:])
	}
	return append(field, raw...)
}

// Bounds of the search for a lost boundary, in octets: how far into the body its first line may stand, and how long a
// boundary is (RFC 2046 §5.1.1: up to 70; some systems write more).
const (
	maxPreamble = 4 << 10
	minBoundary = 4
	maxBoundary = 120
)

// boundaryIn finds the boundary of a multipart by its looks: a line that begins with two hyphens, stands there at least
// twice, and one time right above a Content field. Before it stands a remark for old readers, or nothing: what tells of an
// address is a text, and the boundary below that of the message it returns. "" if there is none.
func boundaryIn(body []byte) string {
	for at := 0; at < len(body) && at < maxPreamble; {
		line, rest, _ := bytes.Cut(body[at:], []byte{'\n'})
		at = len(body) - len(rest)
		if bytes.IndexByte(line, '@') >= 0 && !bytes.HasPrefix(line, []byte("--")) {
			return ""
		}
		b, ok := bytes.CutPrefix(bytes.TrimRight(line, " \t\r"), []byte("--"))
		if !ok || len(b) < minBoundary || len(b) > maxBoundary || bytes.ContainsAny(b, " \t\"\\") || len(bytes.Trim(b, "-")) == 0 {
			continue
		}
		if again := append([]byte("\n--"), b...); bytes.Contains(rest, again) && (isContentField(rest) || abovePart(rest, again)) {
			return string(b)
		}
	}
	return ""
}

// abovePart reports whether a mark stands right above a Content field.
func abovePart(s, mark []byte) bool {
	for {
		_, after, ok := bytes.Cut(s, mark)
		if !ok {
			return false
		}
		if _, next, ok := bytes.Cut(after, []byte{'\n'}); ok && isContentField(next) {
			return true
		}
		s = after
	}
}

func isContentField(s []byte) bool {
	const name = "content-"
	return len(s) > len(name) && strings.EqualFold(string(s[:len(name)]), name)
}
