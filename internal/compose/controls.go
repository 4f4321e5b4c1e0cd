package compose

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

// Controls are what a submitter sets with X-Postroad-* fields. Zero values: not set. The fields never leave with the
// message.
type Controls struct {
	Stream    mail.Stream       // X-Postroad-Stream: transactional or bulk
	Tags      []string          // X-Postroad-Tags: comma separated; may stand several times, as may X-Postroad-Tag
	Metadata  map[string]string // X-Postroad-Metadata: a JSON object of strings; may stand several times
	SendAt    time.Time         // X-Postroad-Send-At: RFC 3339, or as in a Date field
	ExpiresAt time.Time         // X-Postroad-Expires-At: the same
	// RequireTLS is X-Postroad-Require-TLS: yes or no; nil: not said.
	RequireTLS *bool
}

// Limits of tags and metadata, in octets where not a number of entries.
const (
	MaxTags          = 20
	MaxTag           = 64
	MaxMetadata      = 20
	MaxMetadataKey   = 64
	MaxMetadataValue = 500
)

const controlPrefix = "x-postroad-"

// isControl reports whether a field is one of ours.
func isControl(name string) bool {
	return len(name) > len(controlPrefix) && strings.EqualFold(name[:len(controlPrefix)], controlPrefix)
}

// set reads one control field. An unknown one is refused, for a misspelt wish must not pass in silence.
func (c *Controls) set(f message.Field) (err error) {
	value := message.DecodeWords(f.Value())
	switch strings.ToLower(f.Name[len(controlPrefix):]) {
	case "stream":
		if c.Stream != "" {
			return invalid(f.Name, "the field stands twice in the header; it may stand once")
		}
		if c.Stream = mail.Stream(strings.ToLower(value)); !c.Stream.Valid() {
			return invalid(f.Name, "it must be %s or %s", mail.Transactional, mail.Bulk)
		}
	case "tag", "tags":
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				c.Tags = append(c.Tags, tag)
			}
		}
		return CheckTags(f.Name, c.Tags)
	case "metadata":
		return c.addMetadata(f.Name, value)
	case "send-at":
		return setTime(&c.SendAt, f.Name, value)
	case "expires-at":
		return setTime(&c.ExpiresAt, f.Name, value)
	case "require-tls":
		if c.RequireTLS != nil {
			return invalid(f.Name, "the field stands twice in the header; it may stand once")
		}
		yes := false
		switch strings.ToLower(value) {
		case "yes", "true", "1":
			yes = true
		case "no", "false", "0":
		default:
			return invalid(f.Name, "it must be yes or no")
		}
		c.RequireTLS = &yes
	default:
		return invalid(f.Name, "there is no such control field; known are Stream, Tags, Metadata, Send-At, Expires-At and Require-TLS")
	}
	return nil
}

// timeLayouts are RFC 3339 and the usual ways to write a Date field.
var timeLayouts = []string{time.RFC3339, "Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 GMT"}

func setTime(t *time.Time, name, value string) error {
	if !t.IsZero() {
		return invalid(name, "the field stands twice in the header; it may stand once")
	}
	var at time.Time
	err := errors.ErrUnsupported
	for _, layout := range timeLayouts {
		if at, err = time.Parse(layout, value); err == nil {
			break
		}
	}
	if err != nil {
		return invalid(name, "it must be a time like 2026-01-02T15:04:05Z")
	}
	if at.Year() < 1970 || at.Year() > 9999 {
		return invalid(name, "the year is out of range")
	}
	*t = at.UTC()
	return nil
}

func (c *Controls) addMetadata(name, value string) error {
	var m map[string]string
	d := json.NewDecoder(strings.NewReader(value))
	if err := d.Decode(&m); err != nil {
		return invalid(name, `it must be a JSON object of strings, like {"order": "1234"}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid(name, "something follows the JSON object")
	}
	for k, v := range m {
		if _, ok := c.Metadata[k]; ok {
			return invalid(name, "the key %.80q is given twice", k)
		}
		if c.Metadata == nil {
			c.Metadata = make(map[string]string, len(m))
		}
		c.Metadata[k] = v
	}
	return CheckMetadata(name, c.Metadata)
}

// CheckTags refuses tags that are too many, empty, too long or not plain text. field names them in the error.
func CheckTags(field string, tags []string) error {
	if len(tags) > MaxTags {
		return invalid(field, "more than %d tags", MaxTags)
	}
	for _, tag := range tags {
		if tag == "" || len(tag) > MaxTag || !plainText(tag) || strings.Contains(tag, ",") {
			return invalid(field, "a tag must have 1 to %d octets, without commas and control characters", MaxTag)
		}
	}
	return nil
}

// CheckMetadata refuses metadata that is too much or not plain text. field names it in the error.
func CheckMetadata(field string, metadata map[string]string) error {
	if len(metadata) > MaxMetadata {
		return invalid(field, "more than %d keys", MaxMetadata)
	}
	for k, v := range metadata {
		if k == "" || len(k) > MaxMetadataKey || !plainText(k) {
			return invalid(field, "a key must have 1 to %d octets, without control characters", MaxMetadataKey)
		}
		if len(v) > MaxMetadataValue || !plainText(v) {
			return invalid(field, "the value of %q must have at most %d octets, without control characters", k, MaxMetadataValue)
		}
	}
	return nil
}

// plainText reports whether s is UTF-8 without control characters.
func plainText(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
