package compose

import (
	"bytes"
	"encoding/base64"
)

// maxEncodedLine is the longest line of quoted-printable and base64 (RFC 2045 §6.7 rule 5, §6.8).
const maxEncodedLine = 76

// readable is how many octets longer quoted-printable may be than base64 and still be chosen for text: it can be read
// without a tool, and filters mistrust short texts in base64.
const readable = 100

// betterQuoted reports whether a text is better written in quoted-printable than in base64.
func betterQuoted(content []byte) bool { return quotedLen(content) <= base64Len(len(content))+readable }

// quotedLen returns the length of content in quoted-printable, but for soft line breaks, which weigh little.
func quotedLen(content []byte) int {
	n := len(content)
	for _, c := range content {
		if c > '~' || c == '=' || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			n += 2
		}
	}
	return n + n/(maxEncodedLine-1)*3
}

// base64Len returns the length of n octets in base64, line ends included.
func base64Len(n int) int {
	digits := (n + 2) / 3 * 4
	return digits + digits/maxEncodedLine*2
}

const upperHex = "0123456789ABCDEF"

// appendQuoted appends content in quoted-printable. CRLF in content is a line end; a CR or LF alone is encoded. So is
// what relays have been known to harm: white space at the end of a line, and a dot or "From " at the beginning.
func appendQuoted(dst, content []byte) []byte {
	for len(content) > 0 {
		line, rest, ended := bytes.Cut(content, crlf)
		dst = appendQuotedLine(dst, line)
		if ended {
			dst = append(dst, crlf...)
		}
		content = rest
	}
	return dst
}

var crlf = []byte("\r\n")

func appendQuotedLine(dst, line []byte) []byte {
	col := 0
	for i, c := range line {
		plain := c > ' ' && c <= '~' && c != '='
		switch {
		case (c == ' ' || c == '\t') && i < len(line)-1:
			plain = true
		case col == 0 && (c == '.' || c == 'F' && bytes.HasPrefix(line[i:], []byte("From "))):
			plain = false
		}
		width := 3
		if plain {
			width = 1
		}
		// The last octets of the line need no room for a soft break behind them.
		if room := maxEncodedLine - col; width > room || width == room && i < len(line)-1 {
			dst, col = append(dst, "=\r\n"...), 0
			if c == '.' || c == 'F' && bytes.HasPrefix(line[i:], []byte("From ")) {
				plain, width = false, 3
			}
		}
		if plain {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
		col += width
	}
	return dst
}

// appendBase64 appends content in base64, each line but the last with its line end.
func appendBase64(dst, content []byte) []byte {
	const octets = maxEncodedLine / 4 * 3
	for len(content) > octets {
		dst = append(base64.StdEncoding.AppendEncode(dst, content[:octets]), crlf...)
		content = content[octets:]
	}
	return base64.StdEncoding.AppendEncode(dst, content)
}
