package report

import (
	netmail "net/mail"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/message"
)

// maxFields bounds how many fields of the returned header are kept.
const maxFields = 200

// original returns what is known of the returned message.
func (m *letter) original() Original {
	if m.origin == nil {
		o := m.readOriginal()
		m.origin = &o
	}
	return *m.origin
}

func (m *letter) readOriginal() (o Original) {
	if !m.hasOrigin {
		return o
	}
	for i, f := range m.returned.Fields() {
		if i == maxFields {
			break
		}
		o.Header = append(o.Header, Field{f.Name, strings.ToValidUTF8(f.Value(), "\uFFFD")})
	}
	o.MessageID = strings.Trim(o.Get("Message-ID"), "<> \t")
	o.Subject = message.DecodeWords(o.Get("Subject"))
	o.From = firstAddress(o.Get("From"))
	for _, name := range []string{"To", "Cc"} {
		for _, a := range message.ParseAddressesLenient(o.Get(name)) {
			if strings.IndexByte(a.Addr, '@') > 0 {
				o.To = append(o.To, a.Addr)
			}
		}
	}
	return o
}

func firstAddress(value string) string {
	for _, a := range message.ParseAddressesLenient(value) {
		return a.Addr
	}
	return ""
}

// parseDate reads a date of RFC 5322 §3.3; zero if it is none.
func parseDate(s string) time.Time {
	if s == "" || len(s) > 100 {
		return time.Time{}
	}
	t, err := netmail.ParseDate(s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
