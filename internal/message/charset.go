package message

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// DecodeCharset turns b, written in the named charset, into UTF-8. The names are those of the WHATWG encoding
// standard, which fit what mail really contains (iso-8859-1 means windows-1252, gb2312 means gbk), then IANA's. An
// unknown or empty name gives ok == false, and b read as UTF-8 if it is valid, else as windows-1252. Octets that mean
// nothing in the charset become U+FFFD.
func DecodeCharset(name string, b []byte) (text string, ok bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "utf-8" || name == "utf8" || name == "us-ascii" || name == "ascii" {
		return guess(b), true
	}
	if name == "utf-7" || name == "unicode-1-1-utf-7" {
		return decodeUTF7(b), true
	}
	enc := lookupCharset(name)
	if enc == nil {
		return guess(b), false
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return guess(b), false
	}
	return strings.ToValidUTF8(string(out), "\uFFFD"), true
}

// knownCharset reports whether DecodeCharset knows the name.
func knownCharset(name string) bool {
	switch name = strings.ToLower(name); name {
	case "utf-8", "utf8", "us-ascii", "ascii", "utf-7", "unicode-1-1-utf-7":
		return true
	}
	return lookupCharset(name) != nil
}

func lookupCharset(name string) encoding.Encoding {
	if name == "" {
		return nil
	}
	if enc, err := htmlindex.Get(name); err == nil && enc != encoding.Replacement {
		return enc
	}
	if enc, err := ianaindex.MIME.Encoding(name); err == nil && enc != nil {
		return enc
	}
	// Outlook and old clients write cp1252 and the like.
	if n, ok := strings.CutPrefix(name, "cp"); ok {
		if enc, err := htmlindex.Get("windows-" + n); err == nil {
			return enc
		}
	}
	return nil
}

// guess reads octets whose charset is not known, or is a lie.
func guess(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// decodeUTF7 reads UTF-7 (RFC 2152), which bounces of old Exchange servers are written in: UTF-16 in base64 between
// "+" and what is no digit.
func decodeUTF7(b []byte) string {
	var out []byte
	for i := 0; i < len(b); {
		if b[i] != '+' {
			out = append(out, b[i])
			i++
			continue
		}
		i++
		start := i
		for i < len(b) && base64Value[b[i]] >= 0 {
			i++
		}
		octets := appendBase64(nil, b[start:i])
		units := make([]uint16, 0, len(octets)/2)
		for ; len(octets) >= 2; octets = octets[2:] {
			units = append(units, binary.BigEndian.Uint16(octets))
		}
		if start == i {
			out = append(out, '+')
		}
		out = append(out, string(utf16.Decode(units))...)
		if i < len(b) && b[i] == '-' {
			i++
		}
	}
	return guess(out)
}
