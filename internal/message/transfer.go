package message

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// ErrEncoding is returned for a transfer encoding that is not known or content that does not keep to it.
var ErrEncoding = errors.New("message: transfer encoding is unknown or broken")

// DecodeTransfer undoes a Content-Transfer-Encoding (RFC 2045 §6). 7bit, 8bit, binary and "" give body itself.
// Broken quoted-printable and base64 are decoded as far as they go, and an error that wraps ErrEncoding tells that
// they were broken; an unknown encoding gives body and such an error.
func DecodeTransfer(encoding string, body []byte) ([]byte, error) {
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return body, nil
	case "quoted-printable":
		return decodeQuoted(body)
	case "base64":
		return decodeBase64(body)
	}
	return body, ErrEncoding
}

func decodeQuoted(body []byte) (out []byte, err error) {
	out = make([]byte, 0, len(body))
	for len(body) > 0 {
		end := lineEnd(body, 0)
		line := body[:end]
		body = body[end:]
		text := bytes.TrimRight(line, "\r\n")
		newline := line[len(text):]
		// RFC 2045 §6.7 rule 3: white space at the end of a line came from a relay.
		text = bytes.TrimRight(text, " \t")
		soft := len(text) > 0 && text[len(text)-1] == '='
		if soft {
			text, newline = text[:len(text)-1], nil
		}
		for {
			i := bytes.IndexByte(text, '=')
			if i < 0 {
				break
			}
			out = append(out, text[:i]...)
			text = text[i:]
			if len(text) >= 3 && hexValue(text[1]) >= 0 && hexValue(text[2]) >= 0 {
				out = append(out, byte(hexValue(text[1])<<4|hexValue(text[2])))
				text = text[3:]
				continue
			}
			out, text, err = append(out, '='), text[1:], ErrEncoding
		}
		out = append(append(out, text...), newline...)
	}
	return out, err
}

func decodeBase64(body []byte) ([]byte, error) {
	out := appendBase64(make([]byte, 0, base64.StdEncoding.DecodedLen(len(body))), body)
	digits, pads, junk := 0, 0, false
	for _, c := range body {
		switch {
		case base64Value[c] >= 0:
			digits++
			junk = junk || pads > 0
		case c == '=':
			pads++
		case c != '\r' && c != '\n' && c != ' ' && c != '\t':
			junk = true
		}
	}
	if junk || digits%4 == 1 || pads > 2 || (digits+pads)%4 != 0 {
		return out, ErrEncoding
	}
	return out, nil
}

// appendBase64 decodes what is base64 in src and skips the rest. A "=" ends a group of digits; more may follow, as
// where encoded blocks were put one behind the other.
func appendBase64(dst, src []byte) []byte {
	var acc uint32
	var n uint
	for _, c := range src {
		v := base64Value[c]
		if v < 0 {
			if c == '=' {
				acc, n = 0, 0
			}
			continue
		}
		acc = acc<<6 | uint32(v)
		if n += 6; n >= 8 {
			n -= 8
			dst = append(dst, byte(acc>>n))
		}
	}
	return dst
}

var base64Value = func() (t [256]int8) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = -1
	}
	for i := range len(digits) {
		t[digits[i]] = int8(i)
	}
	return t
}()

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
