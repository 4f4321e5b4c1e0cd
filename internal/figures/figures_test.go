package figures

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

var now = time.Date(2026, 3, 31, 14, 5, 0, 0, time.UTC)

func TestParsePeriod(t *testing.T) {
	for text, want := range map[string]string{
		"today":                  "2026-03-31 (UTC)",
		"yesterday":              "2026-03-30 (UTC)",
		"1d":                     "2026-03-31 (UTC)",
		"7d":                     "2026-03-25 to 2026-03-31 (UTC)",
		"30d":                    "2026-03-02 to 2026-03-31 (UTC)",
		"2026-02":                "2026-02-01 to 2026-02-28 (UTC)",
		"2028-02":                "2028-02-01 to 2028-02-29 (UTC)",
		"2026-03-15":             "2026-03-15 (UTC)",
		"2026-03-01..2026-03-15": "2026-03-01 to 2026-03-15 (UTC)",
	} {
		p, err := ParsePeriod(text, now)
		if err != nil || p.String() != want {
			t.Errorf("%s is %s (%v), want %s", text, p, err, want)
		}
	}
	// Where it is already tomorrow, today is still UTC's.
	if p, err := ParsePeriod("today", time.Date(2026, 4, 1, 1, 0, 0, 0, time.FixedZone("", 2*3600))); err != nil || p.String() != "2026-03-31 (UTC)" {
		t.Errorf("today is %s (%v)", p, err)
	}
	for _, text := range []string{
		"", "week", "0d", "-1d", "7", "1000d", "2026-13", "2026-02-30", "2026-3", "..", "2026-03-02..2026-03-01",
		"2026-03-01..", "2020-01-01..2026-01-01", "2026-03-01...2026-03-02", "today ", strings.Repeat("9", 500) + "d",
	} {
		if p, err := ParsePeriod(text, now); err == nil {
			t.Errorf("%q was read as %s", text, p)
		} else if len(err.Error()) > 400 {
			t.Errorf("%.20q: the error has %d octets", text, len(err.Error()))
		}
	}
}

func FuzzParsePeriod(f *testing.F) {
	for _, s := range []string{"today", "7d", "2026-03", "2026-03-01..2026-03-15", "2026-03-15"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePeriod(text, now)
		if err == nil && (!p.From.Before(p.To) || p.Days() > MaxPeriod || p.From.Truncate(day) != p.From || p.To.Truncate(day) != p.To) {
			t.Errorf("%q is %v to %v", text, p.From, p.To)
		}
	})
}

func TestReport(t *testing.T) {
	p, err := ParsePeriod("7d", now)
	if err != nil {
		t.Fatal(err)
	}
	b := New("acme", p, now)
	at := p.From.Add(5 * time.Hour)
	for outcome, n := range map[string]int64{
		"queued": 1, "held": 2, "deferred": 3, "relayed": 10, "delivered": 100, "bounced": 5, "bounced_late": 4, "expired": 2,
		"suppressed": 6, "cancelled": 7,
	} {
		class := mail.ClassNone
		if strings.HasPrefix(outcome, "bounced") {
			class = mail.ClassInvalidRecipient
		}
		b.Outcome(at, outcome, class, n)
		b.Sender("shop.example", outcome, n)
	}
	b.Outcome(at.Add(24*time.Hour), "bounced", mail.ClassPolicySpam, 20)
	b.Outcome(at.Add(24*time.Hour), "delivered", "", 1)
	b.Outcome(at.Add(24*time.Hour), "delivered", "", -1) // moved on
	b.Mark("deferred", 9)
	b.Mark("complained", 2)
	b.Arrived("bounced_late", 3)
	b.Took(time.Second, 60, 30*time.Second)
	b.Took(time.Minute, 35, 35*30*time.Second)
	b.Took(Beyond, 5, 5*200*time.Hour)
	b.Domain("bad.example", "delivered", "", 10)
	b.Domain("bad.example", "bounced", mail.ClassPolicySpam, 20)
	b.Domain("bad.example", "bounced_late", mail.ClassInvalidRecipient, 1)
	b.Domain("good.example", "delivered", "", 1000)
	for i := range 25 {
		f := &Failure{
			Domain: "bad.example", Receiver: "bigmail", Class: mail.ClassPolicySpam, Code: 550, Enhanced: "5.7.1",
			Reply: "550 5.7.1 no, thank you", Fingerprint: "550 5.7.1 no thank you",
		}
		switch {
		case i >= 24:
			f.Class, f.Fingerprint, f.Reply = mail.ClassOther, "550 purple", "550 purple 17"
		case i >= 21:
			f.Waiting, f.Class, f.Fingerprint = true, mail.ClassGreylisted, "451 later"
		}
		b.Failure(f)
	}
	r := b.Report()

	tt := r.Totals
	if sum := tt.Delivered + tt.Relayed + tt.Bounced + tt.LateBounced + tt.Expired + tt.Suppressed + tt.Cancelled + tt.Waiting; sum != tt.Accepted || sum != 160 {
		t.Errorf("the outcomes sum up to %d of %d accepted, want 160", sum, tt.Accepted)
	}
	if tt.Delivered != 100 || tt.Waiting != 6 || tt.Held != 2 || tt.Deferred != 9 || tt.Complained != 2 || tt.Failed() != 31 || tt.Taken() != 110 {
		t.Errorf("totals are %+v", tt)
	}
	if diff := cmp.Diff([]Class{{mail.ClassPolicySpam, 20, 0}, {mail.ClassInvalidRecipient, 5, 4}}, r.Classes); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	if len(r.Steps) != 7 || r.Steps[0].Totals.Accepted != 140 || r.Steps[1].Totals.Accepted != 20 || r.Steps[2].Totals.Accepted != 0 {
		t.Errorf("steps are %+v", r.Steps)
	}
	if s := r.Speed; s.Median != time.Second || s.P90 != time.Minute || s.P99 != Beyond || s.Mean != (1080*time.Second+1000*time.Hour)/100 {
		t.Errorf("speed is %+v", s)
	}
	if diff := cmp.Diff([]Domain{{"bad.example", 31, 21, 1, mail.ClassPolicySpam, "bigmail"}}, r.Domains); diff != "" {
		t.Errorf("worst domains (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Receiver{{"bigmail", 22, 3, mail.ClassPolicySpam}}, r.Receivers); diff != "" {
		t.Errorf("worst receivers (-want +got):\n%s", diff)
	}
	if len(r.Replies) != 2 || r.Replies[0].Count != 21 || r.Replies[0].Sample != "550 5.7.1 no, thank you" || len(r.Waits) != 1 || r.Waits[0].Count != 3 {
		t.Errorf("replies are %+v, of those waiting %+v", r.Replies, r.Waits)
	}
	if len(r.Unknown) != 1 || r.Unknown[0].Fingerprint != "550 purple" || r.Unknown[0].Count != 1 {
		t.Errorf("unknown replies are %+v", r.Unknown)
	}
	if r.Senders[0].Totals.Accepted != 140 || r.Senders[0].Totals.LateBounced != 4 {
		t.Errorf("senders are %+v", r.Senders)
	}
}

// A day of a report has its hours, and only those that have begun.
func TestReportHours(t *testing.T) {
	p, err := ParsePeriod("today", now)
	if err != nil {
		t.Fatal(err)
	}
	b := New("", p, now)
	b.Outcome(now, "delivered", "", 3)
	if r := b.Report(); len(r.Steps) != 15 || r.Steps[14].Totals.Delivered != 3 {
		t.Errorf("steps are %+v", r.Steps)
	}
	if s := New("", p, now).Report().Speed; s.Median != 0 || s.Mean != 0 {
		t.Errorf("the speed of nothing is %+v", s)
	}
}
