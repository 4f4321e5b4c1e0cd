package submission

import (
	"errors"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func addresses(list ...string) (out []mail.Address) {
	for _, s := range list {
		local, domain, _ := strings.Cut(s, "@")
		out = append(out, mail.Address{Local: local, Domain: domain})
	}
	return out
}

// TestResend: what goes again is the same message with Resent fields before it that show nobody a Bcc, and nothing at all
// in private copies; large content passes whole.
func TestResend(t *testing.T) {
	const head = "From: news@shop.example\r\nTo: ann@example.net, bob@example.net\r\nSubject: x\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1@shop.example>\r\n\r\n"
	large := head + strings.Repeat("a line of text\r\n", 20_000)
	for name, tt := range map[string]struct {
		content string
		kind    mail.ContentKind
		to      []string
		resent  string // the Resent-To field, "": none
	}{
		"one":         {head + "Hello\r\n", mail.ContentRaw, []string{"ann@example.net"}, "Resent-To: ann@example.net\r\n"},
		"others":      {head + "Hello\r\n", mail.ContentRaw, []string{"eve@example.net"}, "Resent-To: eve@example.net\r\n"},
		"with a bcc":  {head + "Hello\r\n", mail.ContentRaw, []string{"ann@example.net", "secret@example.net", "BOB@example.net"}, "Resent-To: ann@example.net,\r\n BOB@example.net\r\n"},
		"only bccs":   {head + "Hello\r\n", mail.ContentRaw, []string{"secret@example.net", "hidden@example.net"}, ""},
		"private":     {head + "Hello\r\n", mail.ContentPrivate, []string{"ann@example.net", "eve@example.net"}, ""},
		"private one": {head + "Hello\r\n", mail.ContentPrivate, []string{"ann@example.net"}, ""},
		"large":       {large, mail.ContentRaw, []string{"ann@example.net"}, "Resent-To: ann@example.net\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t, nil)
			o := &mail.Message{
				ID: mail.NewMessageID(testTime), Account: "shop", Stream: mail.Bulk, From: mail.Address{Local: "bounce", Domain: "shop.example"}, HeaderFrom: "news@shop.example",
				Tags: []string{"spring"}, Metadata: map[string]string{"order": "17"}, Content: mail.Content{Kind: tt.kind},
			}
			p := Operator(b.snapshot().Account("shop"))
			r, err := b.Resend(t.Context(), p, Resend{Original: o, Content: strings.NewReader(tt.content), To: addresses(tt.to...), Protocol: "HTTP"})
			if err != nil {
				t.Fatal(err)
			}
			m := b.added[0].m
			if r.Count != len(tt.to) || m.ResentOf != o.ID || m.Stream != mail.Bulk || m.From != o.From || m.RFC822ID != "1@shop.example" || m.Tags[0] != "spring" || m.Metadata["order"] != "17" || m.Content.Kind != tt.kind {
				t.Errorf("%+v, %+v", r, m)
			}
			got := b.stored(b.added[len(b.added)-1].m.ID)
			if !strings.HasSuffix(got, tt.content) {
				t.Errorf("the message was changed:\n%.600s", got)
			}
			block := strings.TrimSuffix(got, tt.content)
			if !strings.Contains(block, "Resent-From: news@shop.example\r\n") || !strings.Contains(block, "Resent-Date: ") || !strings.Contains(block, "Resent-Message-ID: <msg_") ||
				strings.Contains(block, "Resent-To") != (tt.resent != "") || !strings.Contains(block, tt.resent) || strings.Contains(block, "secret") {
				t.Errorf("before the header stands\n%s", block)
			}
		})
	}
}

// TestResendRefused: who may not send, may not send again.
func TestResendRefused(t *testing.T) {
	b := newTestbed(t, nil)
	content := "From: news@shop.example\r\nSubject: x\r\n\r\nHello\r\n"
	many := make([]mail.Address, MaxResend+1)
	for i := range many {
		many[i] = mail.Address{Local: "u" + strings.Repeat("x", i%50), Domain: "example.net"}
	}
	for name, tt := range map[string]struct {
		account, from, content string
		to                     []mail.Address
		want                   Kind
	}{
		"nobody":             {"shop", "news@shop.example", content, nil, NoRecipients},
		"too many":           {"shop", "news@shop.example", content, many, TooManyRecipients},
		"sender lost":        {"small", "news@shop.example", content, addresses("ann@example.net"), SenderNotAllowed},
		"account is paused":  {"stopped", "news@shop.example", content, addresses("ann@example.net"), Paused},
		"header without end": {"shop", "news@shop.example", strings.Repeat("X: y\r\n", 100_000), addresses("ann@example.net"), BadContent},
	} {
		acc := b.snapshot().Account(tt.account)
		o := &mail.Message{ID: mail.NewMessageID(testTime), Account: tt.account, Stream: mail.Transactional, From: addresses(tt.from)[0], HeaderFrom: tt.from, Content: mail.Content{Kind: mail.ContentRaw}}
		_, err := b.Resend(t.Context(), platform.Principal{Account: acc, Credential: operator}, Resend{Original: o, Content: strings.NewReader(tt.content), To: tt.to})
		var e *Error
		if !errors.As(err, &e) || e.Kind != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if len(b.added) > 0 {
		t.Errorf("%d messages went out", len(b.added))
	}
}
