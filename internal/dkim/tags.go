package dkim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSigned bounds the names in h=; looking each of them up in a large header costs.
const maxSigned = 500

// errSyntax is wrapped by what is wrong with a signature field or key record.
var errSyntax = errors.New("malformed")

// parseTags reads a tag list (RFC 6376 §3.2). A tag that stands twice makes the list invalid.
func parseTags(s string) (map[string]string, error) {
	tags := make(map[string]string, 12)
	for spec := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(spec, "=")
		name = strings.Trim(name, fws)
		if !ok && name == "" { // after the last semicolon
			continue
		}
		if !ok || name == "" || strings.ContainsAny(name, fws) {
			return nil, fmt.Errorf("%w: no name=value tag", errSyntax)
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("%w: the tag %.20q stands twice", errSyntax, name)
		}
		tags[name] = strings.Trim(value, fws)
	}
	return tags, nil
}

const fws = " \t\r\n"

// withoutSpace removes the folding white space base64 and lists may hold.
func withoutSpace(s string) string {
	if !strings.ContainsAny(s, fws) {
		return s
	}
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
}

// signature is a parsed DKIM-Signature field.
type signature struct {
	algorithm        string
	simpleHeader     bool
	simpleBody       bool
	domain, selector string
	identity         string
	fields           []string // h=, in lower case
	signed           []byte   // b=
	bodyHash         []byte   // bh=
	length           int64    // l=; -1: none
	at, expires      time.Time
}

// parseSignature reads a DKIM-Signature value (RFC 6376 §3.5, §6.1.1). What it could read comes back with an error
// too, for the report.
func parseSignature(value string) (s signature, err error) {
	s.length = -1
	tags, err := parseTags(value)
	if err != nil {
		return s, err
	}
	s.domain, s.selector = strings.ToLower(tags["d"]), tags["s"]
	s.algorithm, s.identity = tags["a"], tags["i"]
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if tags[name] == "" {
			return s, fmt.Errorf("%w: the tag %s= is missing", errSyntax, name)
		}
	}
	if tags["v"] != "1" {
		return s, fmt.Errorf("%w: unknown version %.20q", errSyntax, tags["v"])
	}
	if !validName(s.domain) || !validName(s.selector) {
		return s, fmt.Errorf("%w: d= or s= is no DNS name", errSyntax)
	}
	if err := s.setCanon(tags["c"]); err != nil {
		return s, err
	}
	for name := range strings.SplitSeq(withoutSpace(tags["h"]), ":") {
		if name == "" {
			return s, fmt.Errorf("%w: h= has an empty name", errSyntax)
		}
		if len(s.fields) == maxSigned {
			return s, fmt.Errorf("%w: h= names more than %d fields", errSyntax, maxSigned)
		}
		s.fields = append(s.fields, strings.ToLower(name))
	}
	if !slices.Contains(s.fields, "from") { // RFC 6376 §5.4
		return s, fmt.Errorf("%w: h= does not cover From", errSyntax)
	}
	if s.identity == "" {
		s.identity = "@" + s.domain
	}
	if _, d, ok := cutLast(s.identity, "@"); !ok || !strings.EqualFold(d, s.domain) && !hasSuffixFold(d, "."+s.domain) {
		return s, fmt.Errorf("%w: i= is not of the domain d=", errSyntax)
	}
	if q := tags["q"]; q != "" && !slices.Contains(strings.Split(withoutSpace(q), ":"), "dns/txt") {
		return s, fmt.Errorf("%w: q= names no known way to get the key", errSyntax)
	}
	if s.signed, err = base64.StdEncoding.DecodeString(withoutSpace(tags["b"])); err != nil {
		return s, fmt.Errorf("%w: b= is not base64", errSyntax)
	}
	if s.bodyHash, err = base64.StdEncoding.DecodeString(withoutSpace(tags["bh"])); err != nil {
		return s, fmt.Errorf("%w: bh= is not base64", errSyntax)
	}
	return s, s.setNumbers(tags)
}

func (s *signature) setCanon(c string) error {
	header, body, ok := strings.Cut(c, "/")
	if c == "" {
		header = "simple"
	}
	if !ok {
		body = "simple"
	}
	if header != "simple" && header != "relaxed" || body != "simple" && body != "relaxed" {
		return fmt.Errorf("%w: unknown canonical form %.40q", errSyntax, c)
	}
	s.simpleHeader, s.simpleBody = header == "simple", body == "simple"
	return nil
}

func (s *signature) setNumbers(tags map[string]string) error {
	number := func(name string) (int64, bool, error) {
		v, ok := tags[name]
		if !ok {
			return 0, false, nil
		}
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil {
			return 0, false, fmt.Errorf("%w: %s= is no number", errSyntax, name)
		}
		return int64(n), true, nil
	}
	if n, ok, err := number("l"); err != nil {
		return err
	} else if ok {
		s.length = n
	}
	if n, ok, err := number("t"); err != nil {
		return err
	} else if ok {
		s.at = time.Unix(n, 0).UTC()
	}
	if n, ok, err := number("x"); err != nil {
		return err
	} else if ok {
		s.expires = time.Unix(n, 0).UTC()
		if !s.at.IsZero() && !s.expires.After(s.at) {
			return fmt.Errorf("%w: x= is not after t=", errSyntax)
		}
	}
	return nil
}

// withoutSignature returns a DKIM-Signature field with the value of its b= tag empty, white space around it included
// (RFC 6376 §3.7).
func withoutSignature(field []byte) []byte {
	colon := bytes.IndexByte(field, ':')
	for at := colon + 1; at < len(field); {
		end := bytes.IndexByte(field[at:], ';')
		if end < 0 {
			end = len(field)
		} else {
			end += at
		}
		if eq := bytes.IndexByte(field[at:end], '='); eq >= 0 && string(bytes.Trim(field[at:at+eq], fws)) == "b" {
			return append(append(make([]byte, 0, len(field)), field[:at+eq+1]...), field[end:]...)
		}
		at = end + 1
	}
	return field
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
