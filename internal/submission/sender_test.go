package submission

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/platform"
)

// No customer of the platform may pose as another, whichever name of a message carries the pretence, and whichever way
// it comes in.
func TestNobodyPosesAsAnotherAccount(t *testing.T) {
	b := newTestbed(t, nil)
	// An account that may write as anything nobody else owns is no exception.
	s := testState()
	s.Accounts[0].Senders = append(s.Accounts[0].Senders, platform.Sender{Name: "*"})
	for _, state := range []platform.State{testState(), s} {
		b.apply(state)
		for _, name := range []string{"x@rival.example", "x@RIVAL.example", "x@mail.rival.example", "\"x y\"@rival.example"} {
			t.Run(name, func(t *testing.T) {
				spoof := map[string]string{
					"envelope": "From: info@shop.example\r\n\r\nx\r\n",
					"From":     fmt.Sprintf("From: %s\r\n\r\nx\r\n", name),
					"named":    fmt.Sprintf("From: \"info@shop.example\" <%s>\r\n\r\nx\r\n", name),
					"Sender":   fmt.Sprintf("From: info@shop.example\r\nSender: %s\r\n\r\nx\r\n", name),
					"folded":   fmt.Sprintf("From:\r\n <%s>\r\n\r\nx\r\n", name),
				}
				for what, content := range spoof {
					from := ""
					if what == "envelope" {
						from = name
					}
					b.unchanged(func() {
						if _, err := b.smtp(b.who("shop", "smtp"), from, []string{"you@example.com"}, content); KindOf(err) != SenderNotAllowed {
							t.Errorf("SMTP, %s: %v, want %s", what, err, SenderNotAllowed)
						}
						r := Request{Raw: []byte(content), To: persons("you@example.com"), From: Person{Email: from}}
						if _, err := b.Send(t.Context(), b.shop(), r); KindOf(err) != SenderNotAllowed {
							t.Errorf("HTTP raw, %s: %v, want %s", what, err, SenderNotAllowed)
						}
					})
				}
				b.unchanged(func() {
					_, err := b.Send(t.Context(), b.shop(), Request{From: Person{Email: name}, To: persons("you@example.com"), Text: "x"})
					if KindOf(err) != SenderNotAllowed {
						t.Errorf("HTTP: %v, want %s", err, SenderNotAllowed)
					}
					if err != nil && strings.Contains(err.Error(), "account rival") {
						t.Errorf("the refusal tells whose domain it is: %v", err)
					}
				})
			})
		}
	}
}

// A From field of several addresses, several From fields, and a Sender beside them: each is a way to show the reader
// one author and the check another.
func TestTwoAuthors(t *testing.T) {
	b := newTestbed(t, nil)
	for name, head := range map[string]string{
		"two own addresses":            "From: info@shop.example, help@shop.example\r\n",
		"own and foreign":              "From: info@shop.example, ceo@rival.example\r\n",
		"two fields":                   "From: info@shop.example\r\nFrom: ceo@rival.example\r\n",
		"two fields, odd case":         "From: info@shop.example\r\nfROM: ceo@rival.example\r\n",
		"a space before the colon":     "From: info@shop.example\r\nFrom : ceo@rival.example\r\n",
		"group":                        "From: staff: info@shop.example, ceo@rival.example;\r\n",
		"Sender of two":                "From: info@shop.example\r\nSender: info@shop.example, ceo@rival.example\r\n",
		"two Sender fields":            "From: info@shop.example\r\nSender: info@shop.example\r\nSender: ceo@rival.example\r\n",
		"nothing but a foreign Sender": "Sender: ceo@rival.example\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			content := head + "Subject: x\r\n\r\nx\r\n"
			b.unchanged(func() {
				if _, err := b.smtp(b.who("shop", "smtp"), "", []string{"you@example.com"}, content); KindOf(err) != BadContent && KindOf(err) != SenderNotAllowed {
					t.Errorf("SMTP: %v, want a refusal", err)
				}
				if _, err := b.Send(t.Context(), b.shop(), Request{Raw: []byte(content), To: persons("you@example.com")}); KindOf(err) != BadContent && KindOf(err) != SenderNotAllowed {
					t.Errorf("HTTP: %v, want a refusal", err)
				}
			})
		})
	}
}
