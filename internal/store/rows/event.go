package rows

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
)

// AppendEvent appends the JSON an event is kept as: the keys of mail.Event without those that are columns of the row
// (id, type, account, delivery) and without the envelope, which is kept once per message. It is written by hand
// because it runs for every event; encoding/json reads it.
func AppendEvent(b []byte, e *mail.Event) []byte {
	b = append(b, `{"time":"`...)
	b = e.At.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	if !e.Message.IsZero() {
		b = append(b, `,"message":"`...)
		b = append(b, e.Message.String()...)
		b = append(b, '"')
	}
	b = appendText(b, `,"stream":`, string(e.Stream))
	b = appendText(b, `,"recipient":`, e.Recipient)
	b = appendText(b, `,"class":`, string(e.Class))
	b = appendText(b, `,"scope":`, string(e.Scope))
	b = appendText(b, `,"action":`, string(e.Action))
	b = appendText(b, `,"rule":`, e.Rule)
	b = appendTrue(b, `,"late":true`, e.Late)
	b = appendTime(b, `,"next":"`, e.Next)
	b = appendText(b, `,"reason":`, e.Reason)
	b = appendInt(b, `,"notify":`, int64(e.Notify))
	b = appendText(b, `,"orcpt":`, e.ORcpt)
	if a := e.Attempt; a != nil {
		b = append(b, `,"attempt":`...)
		b = appendAttempt(b, a)
	}
	if r := e.Report; r != nil {
		b = append(append(b, `,"report":{"id":"`...), r.ID.String()...)
		b = appendQuoted(append(b, `","door":`...), r.Door)
		b = appendQuoted(append(b, `,"kind":`...), r.Kind)
		b = appendQuoted(append(b, `,"evidence":`...), string(r.Evidence))
		b = appendText(b, `,"mta":`, r.MTA)
		b = appendText(b, `,"feedback":`, r.Feedback)
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendAttempt(b []byte, a *mail.Attempt) []byte {
	b = append(b, `{"n":`...)
	b = strconv.AppendInt(b, int64(a.N), 10)
	b = appendTime(b, `,"at":"`, a.At)
	b = appendText(b, `,"route":`, a.Route)
	b = appendText(b, `,"kind":`, string(a.Kind))
	b = appendText(b, `,"source":`, a.Source)
	b = appendText(b, `,"lane":`, a.Lane)
	b = appendText(b, `,"mx":`, a.Host)
	b = appendText(b, `,"ip":`, a.IP)
	b = appendText(b, `,"tls":`, a.TLS)
	b = appendText(b, `,"tls_note":`, a.TLSNote)
	b = appendText(b, `,"stage":`, string(a.Stage))
	b = appendInt(b, `,"code":`, int64(a.Code))
	b = appendText(b, `,"enhanced":`, a.Enhanced)
	b = appendText(b, `,"reply":`, a.Reply)
	b = appendTrue(b, `,"dsn":true`, a.DSN)
	b = appendTrue(b, `,"uncertain":true`, a.Uncertain)
	b = appendInt(b, `,"waiting_ns":`, int64(a.Waiting))
	b = appendInt(b, `,"connecting_ns":`, int64(a.Connect))
	b = appendInt(b, `,"sending_ns":`, int64(a.Sending))
	b = appendText(b, `,"transcript":`, a.Transcript)
	return append(b, '}')
}

// DecodeEvent reads what AppendEvent wrote into e, whose column fields the caller fills.
func DecodeEvent(data []byte, e *mail.Event) error {
	if err := json.Unmarshal(data, e); err != nil {
		return fmt.Errorf("rows: decode event: %w", err)
	}
	return nil
}

// AppendMessage appends the JSON a message is kept as, the one encoding/json makes of it: also written by hand, for one
// message is as dear as ten events otherwise.
func AppendMessage(b []byte, m *mail.Message) []byte {
	b = append(append(b, `{"id":"`...), m.ID.String()...)
	b = appendQuoted(append(b, `","account":`...), m.Account)
	b = appendText(b, `,"credential":`, m.Credential)
	b = appendQuoted(append(b, `,"stream":`...), string(m.Stream))
	b = appendQuoted(append(b, `,"from":`...), m.From.String())
	b = appendTime(b, `,"accepted_at":"`, m.AcceptedAt)
	b = appendTime(b, `,"send_at":"`, m.SendAt)
	b = appendTime(b, `,"expires_at":"`, m.ExpiresAt)
	b = appendText(b, `,"header_from":`, m.HeaderFrom)
	b = appendText(b, `,"subject":`, m.Subject)
	b = appendText(b, `,"message_id":`, m.RFC822ID)
	if len(m.Tags) > 0 {
		sep := `,"tags":[`
		for _, tag := range m.Tags {
			b = appendQuoted(append(b, sep...), tag)
			sep = ","
		}
		b = append(b, ']')
	}
	if len(m.Metadata) > 0 {
		sep := `,"metadata":{`
		for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
			b = appendQuoted(append(b, sep...), key)
			b = appendQuoted(append(b, ':'), m.Metadata[key])
			sep = ","
		}
		b = append(b, '}')
	}
	b = appendInt(b, `,"size":`, m.Size)
	b = appendInt(b, `,"recipients":`, int64(m.Recipients))
	if !m.ResentOf.IsZero() {
		b = append(append(append(b, `,"resent_of":"`...), m.ResentOf.String()...), '"')
	}
	b = appendTrue(b, `,"eight_bit":true`, m.EightBit)
	b = appendTrue(b, `,"utf8":true`, m.UTF8)
	b = appendTrue(b, `,"require_tls":true`, m.RequireTLS)
	b = appendTrue(b, `,"verified":true`, m.Verified)
	b = appendText(b, `,"envid":`, m.EnvID)
	b = appendText(b, `,"ret":`, m.Ret)
	b = appendQuoted(append(b, `,"content":{"kind":`...), string(m.Content.Kind))
	b = appendInt(b, `,"body_offset":`, m.Content.BodyOffset)
	if m.Content.BodyHash != [32]byte{} {
		sep := `,"body_hash":[`
		for _, octet := range m.Content.BodyHash {
			b = strconv.AppendInt(append(b, sep...), int64(octet), 10)
			sep = ","
		}
		b = append(b, ']')
	}
	b = appendTrue(b, `,"external":true`, m.Content.External)
	return append(b, "}}"...)
}

// DecodeMessage reads what AppendMessage wrote.
func DecodeMessage(data []byte) (*mail.Message, error) {
	m := new(mail.Message)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("rows: decode message: %w", err)
	}
	return m, nil
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendQuoted(append(b, key...), s)
}

func appendTrue(b []byte, keyTrue string, v bool) []byte {
	if v {
		b = append(b, keyTrue...)
	}
	return b
}

func appendInt(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), n, 10)
}

func appendTime(b []byte, keyQuote string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = t.UTC().AppendFormat(append(b, keyQuote...), time.RFC3339Nano)
	return append(b, '"')
}

// appendQuoted appends s as a JSON string. Octets that are not UTF-8 become U+FFFD: JSON and SQL text cannot hold them.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			b = append(append(b, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
