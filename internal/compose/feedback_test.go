package compose

import (
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

const presigned = "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=a;\r\n h=From : Subject:%s; bh=x; b=y\r\n"

func TestLoopFields(t *testing.T) {
	full := Loop{
		Address: mail.Address{Local: "fbl", Domain: "bounces.example.net"}, ID: "m1-abc", AuthorSigns: true,
		Campaign: "spring: sale €", Account: "shop", Stream: "bulk",
	}
	unsigned := full
	unsigned.AuthorSigns = false
	nowhere := full
	nowhere.Address = mail.Address{}
	const id = "Feedback-ID: spring__sale__:shop:bulk:postroad\r\n"
	const cfbl = "CFBL-Address: fbl@bounces.example.net; report=arf\r\nCFBL-Feedback-ID: m1-abc\r\n"
	signature := func(h string) string { return strings.Replace(presigned, "%s", h, 1) }
	for name, tt := range map[string]struct {
		header string
		loop   Loop
		want   string
	}{
		"plain":                  {"", full, id + cfbl},
		"author does not sign":   {"", unsigned, id},
		"nobody receives":        {"", nowhere, id},
		"own Feedback-ID":        {"feedback-id: a:b:c:senderx\r\n", full, cfbl},
		"own CFBL-Address":       {"CFBL-Address: a@example.com\r\n", full, id},
		"came signed":            {signature("Date"), unsigned, id + cfbl},
		"signature has CFBL":     {signature("cfbl-Address "), full, id},
		"signature has CFBL ID":  {signature("\r\n\tCFBL-Feedback-ID"), full, id},
		"signature excludes ID":  {signature("Feedback-ID"), full, cfbl},
		"h= is not in a comment": {"X-Other: h=cfbl-address\r\n", full, id + cfbl},
	} {
		got, err := LoopFields([]byte(tt.header+"From: a@example.com\r\n"), tt.loop)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
	long := full
	long.Campaign = strings.Repeat("x", 1000)
	if got, err := LoopFields([]byte("From: a@example.com\r\n"), long); err != nil || len(got) > 400 {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// What looks like our own names does not come in from outside; a feedback loop its author signed stays.
func TestPrepareDropsLoopFields(t *testing.T) {
	fields := "X-Postroad-Token: b1-forged\r\nCFBL-Address: fbl@example.com; report=arf\r\nCFBL-Feedback-ID: 1:2\r\n"
	for name, tt := range map[string]struct{ header, want string }{
		"unsigned":            {fields, ""},
		"signed":              {strings.Replace(presigned, "%s", "cfbl-address:cfbl-feedback-id", 1) + fields, "CFBL-Address: fbl@example.com; report=arf\r\nCFBL-Feedback-ID: 1:2\r\n"},
		"signed without them": {strings.Replace(presigned, "%s", "to", 1) + fields, ""},
	} {
		out, err := Prepare([]byte(tt.header+"From: a@example.com\r\n\r\n"), Policy{Now: time.Unix(0, 0), MessageID: "x@example.net"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		h := string(out.Header)
		if strings.Contains(h, "X-Postroad") || strings.Contains(h, "CFBL-A") != (tt.want != "") || !strings.Contains(h, tt.want) {
			t.Errorf("%s: %q", name, h)
		}
	}
}
