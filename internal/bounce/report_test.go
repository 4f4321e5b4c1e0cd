package bounce

import (
	"testing"

	"github.com/postroad/postroad/internal/report"
)

// TestPeerReply: of a diagnostic, what the peer said.
func TestPeerReply(t *testing.T) {
	for _, c := range []struct {
		name, diagnostic string
		code             int
		want             string
	}{
		{"Postfix", "host mx.example.com[192.0.2.1] said: 550 no such user (in reply to RCPT TO command)", 550, " no such user "},
		{"several lines", "mx.example.com said: 550-5.7.1 not this 550 5.7.1 not that", 550, "5.7.1 not this 550 5.7.1 not that"},
		{"reason", "(reason: 550 5.7.1 your address (192.0.2.1) is listed) 550 5.1.1 <joe@example.com>... User unknown", 550, "5.7.1 your address (192.0.2.1) is listed"},
		{"transcript", ">>> RCPT To:<joe@example.com> <<< 550 5.7.1 your address is listed 550 5.1.1 <joe@example.com>... User unknown", 550, " 5.7.1 your address is listed "},
		{"transcript in lines", "<<< 552-5.7.0 the content <<< 552 5.7.0 is not safe 554 5.0.0 Service unavailable", 552, " 5.7.0 the content  5.7.0 is not safe "},
		{"the next command", "(reason: 551 not our user) 550 5.1.1 <joe@example.com>... User unknown <<< 503 need RCPT command", 551, "not our user"},
		{"in quotes", "Remote server returned '550 user isn't here' Your mail could not be delivered.", 550, " user isn't here"},
		{"no words", "<<< 550 no", 550, "<<< 550 no"},
		{"no code", "user unknown", 0, "user unknown"},
	} {
		if got := peerReply(c.diagnostic, c.code); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestSendmailOwnWords: Sendmail writes "user unknown" of every 550 at RCPT; that is not the peer's word.
func TestSendmailOwnWords(t *testing.T) {
	rep := report.Parse([]byte("From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\nSubject: Returned mail: see transcript for details\n\n"+
		"   ----- The following addresses had permanent fatal errors -----\n<joe@example.com>\n    (reason: 550 5.7.1 Your address is on our blacklist)\n\n"+
		"   ----- Transcript of session follows -----\n... while talking to mx.example.com.:\n>>> RCPT To:<joe@example.com>\n"+
		"<<< 550 5.7.1 Your address is on our blacklist\n550 5.1.1 <joe@example.com>... User unknown\n"), report.Limits{})
	vs := Default().Report(rep)
	if len(vs) != 1 || vs[0].Class != "blocklisted-ip" || vs[0].Action == "suppress" {
		t.Errorf("%+v of %+v", vs, rep.Recipients)
	}
}

func FuzzPeerReply(f *testing.F) {
	f.Add("(reason: 550 5.7.1 x) <<< 550-5.7.1 x <<< 550 y 550 5.1.1 z (in reply to", 550)
	f.Fuzz(func(t *testing.T, s string, code int) {
		if got := peerReply(s, code); len(got) > 2*len(s)+10 {
			t.Errorf("%d octets of %d", len(got), len(s))
		}
	})
}
