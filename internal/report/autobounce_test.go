package report

import (
	"strings"
	"testing"
)

// failurePhrases are what an automatic answer may quote or say without being a bounce.
var failurePhrases = []string{
	"Your last mail could not be delivered to me, since my mailbox was full.",
	"550 5.1.1 <user@example.com>: Recipient address rejected: User unknown",
	"> This is the mail system at host mx.example.net.\n> I'm sorry to have to inform you that your message could not\n> be delivered to one or more recipients.\n>\n> <user@example.com>: host mx said: 550 no such user",
	"Mails to my old address user@old.example.com are undeliverable and are returned to sender.",
	"Undelivered Mail Returned to Sender",
	"Final-Recipient: rfc822; user@example.com\nAction: failed\nStatus: 5.1.1",
}

// TestAutoReplyWithFailureWords: whatever an automatic answer quotes, it is none of a bounce's kinds, and names nobody.
func TestAutoReplyWithFailureWords(t *testing.T) {
	tried := 0
	for _, s := range samples(t, "autoreplies.txt") {
		_, body, ok := strings.Cut(string(s.raw), "\n\n")
		if !ok || strings.Contains(string(s.raw), "base64") || strings.Contains(string(s.raw), "multipart/") || strings.Contains(string(s.raw), "text/html") {
			continue // a line cannot be added to it as text
		}
		tried++
		head := strings.TrimSuffix(string(s.raw), body)
		for _, phrase := range failurePhrases {
			for _, raw := range []string{head + body + "\n\n" + phrase + "\n", head + phrase + "\n\n" + body} {
				if r := Parse([]byte(raw), Limits{}); r.Kind == Bounce || r.Kind == Delay || len(r.Recipients) > 0 {
					t.Errorf("%s with %.60q: %s by %s", s.name, phrase, r.Kind, r.Reason)
				}
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d answers could be added to", tried)
	}
}

// TestBounceWithVacationWords: a report stays one although it is marked as automatic and speaks of holidays.
func TestBounceWithVacationWords(t *testing.T) {
	for _, file := range []string{"bounces.txt", "dialects.txt"} {
		for _, s := range samples(t, file) {
			want := Kind(s.want["kind"][0])
			if want != Bounce && want != Delay {
				continue
			}
			head, body, ok := strings.Cut(string(s.raw), "\n\n")
			if !ok {
				continue
			}
			for name, raw := range map[string]string{
				"auto-replied":        "Auto-Submitted: auto-replied\n" + head + "\n\n" + body,
				"auto-generated":      "Auto-Submitted: auto-generated (failure)\nPrecedence: bulk\n" + head + "\n\n" + body,
				"suppressing answers": "X-Auto-Response-Suppress: All\n" + head + "\n\n" + body,
				"returned subject":    strings.ReplaceAll(head+"\n\n"+body, "\nSubject: News", "\nSubject: Vacation homes, out of office parties"),
				"vacation in a reply": head + "\n\n" + strings.ReplaceAll(body, "user unknown", "user unknown (on vacation)"),
			} {
				if r := Parse([]byte(raw), Limits{}); r.Kind != want {
					t.Errorf("%s: %s, %s: %s by %s", file, s.name, name, r.Kind, r.Reason)
				}
			}
		}
	}
}
