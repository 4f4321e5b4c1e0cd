package bounce

import (
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

func mailStage(s string) mail.Stage { return mail.Stage(s) }

func ruleResult(r *Ruleset, id string) mail.Result {
	for _, rule := range r.rules {
		if rule.ID == id {
			return rule.Result
		}
	}
	return ""
}

// TestVerdicts holds the table of docs/bounces.md: who is meant, what follows.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		sample string
		class  mail.Class
		scope  mail.Scope
		result mail.Result
		action mail.Action
	}{
		// The mailbox.
		{"[stage=rcpt route=mx] 550 5.1.1 no such user", "invalid-recipient", "recipient", "bounced", "suppress"},
		{"[stage=rcpt route=relay] 550 5.1.1 no such user", "invalid-recipient", "recipient", "bounced", "suppress"},
		{"[stage=rcpt route=mx] 450 4.1.1 no such user", "invalid-recipient", "recipient", "deferred", "retry"},
		{"[stage=rcpt route=mx] 552 5.2.2 mailbox full", "mailbox-full", "recipient", "bounced", "give-up"},
		{"[stage=rcpt route=mx] 550 5.2.1 account disabled", "inactive", "recipient", "bounced", "give-up"},
		// Before RCPT there is no recipient that could be unknown.
		{"[stage=mail route=mx] 550 5.1.1 user unknown", "protocol", "sender", "bounced", "give-up"},
		{"[stage=mail route=mx] 553 5.1.2 domain not found", "protocol", "sender", "bounced", "give-up"},
		// Before MAIL the mail has not been looked at: the next host.
		{"[stage=greeting route=mx] 554 no service for you today", "other", "host", "deferred", "retry"},
		{"[stage=ehlo route=mx] 502 5.5.1 not here", "protocol", "host", "deferred", "retry"},
		{"[stage=starttls route=mx] 454 4.7.0 TLS not available", "protocol", "host", "deferred", "retry"},
		// The reputation of an address: another source, never a suppression.
		{"[stage=rcpt route=mx] 550 5.7.1 blocked using zen.spamhaus.org", "blocklisted-ip", "source", "deferred", "retry-other-source"},
		{"[stage=greeting route=mx] 554 5.7.1 your IP is blacklisted", "blocklisted-ip", "source", "deferred", "retry-other-source"},
		{"[stage=rcpt route=relay] 550 5.7.1 blocked using zen.spamhaus.org", "blocklisted-ip", "route", "deferred", "retry"},
		// That of a domain or content: a fault of the sender's.
		{"[stage=dot route=mx] 554 5.7.1 sender domain listed by dbl.spamhaus.org", "blocklisted-ip", "sender", "bounced", "give-up"},
		{"[stage=dot route=mx] 554 5.7.1 this is spam", "policy-spam", "sender", "bounced", "give-up"},
		{"[stage=dot route=mx] 550 5.7.26 DMARC policy", "auth-failure", "sender", "bounced", "give-up"},
		{"[stage=dot route=mx] 552 5.3.4 message too large", "content-size", "message", "bounced", "give-up"},
		// Limits.
		{"[stage=rcpt route=mx] 452 4.5.3 too many recipients", "rate-limited", "session", "deferred", "retry"},
		{"[stage=rcpt route=mx] 552 too many recipients", "rate-limited", "session", "deferred", "retry"},
		{"[stage=rcpt route=mx] 450 4.2.1 the user is receiving mail too quickly", "rate-limited", "recipient", "deferred", "retry"},
		{"[stage=mail route=mx] 421 4.7.0 too many connections", "rate-limited", "site", "deferred", "retry"},
		{"[stage=mail route=provider] 454 4.7.0 daily sending quota exceeded", "rate-limited", "route", "deferred", "retry"},
		{"[stage=mail route=provider] 554 5.7.0 daily sending quota exceeded", "rate-limited", "route", "deferred", "retry"},
		{"[stage=rcpt route=mx] 450 4.7.1 greylisted", "greylisted", "recipient", "deferred", "retry"},
		{"[stage=rcpt route=mx] 550 5.7.1 greylisted, try again in 5 minutes", "greylisted", "recipient", "deferred", "retry"},
		// A gateway that refuses us keeps the mail.
		{"[stage=auth route=relay] 535 5.7.8 authentication failed", "protocol", "route", "deferred", "retry"},
		{"[stage=mail route=relay] 530 5.7.0 authentication required", "protocol", "route", "deferred", "retry"},
		{"[stage=rcpt route=relay] 554 5.7.1 relay access denied", "relay-denied", "route", "deferred", "retry"},
		{"[stage=rcpt route=mx] 554 5.7.1 relay access denied", "relay-denied", "recipient", "bounced", "give-up"},
		{"[stage=dot route=provider] 554 message rejected: address is not verified", "protocol", "route", "deferred", "retry"},
		// Trouble.
		{"[stage=rcpt route=mx] 421 4.3.2 service shutting down", "transient-system", "host", "deferred", "retry"},
		{"[stage=dot route=mx] 451 4.3.0 internal error", "transient-system", "message", "deferred", "retry"},
		{"[stage=connect route=mx] connection refused", "network", "host", "deferred", "retry"},
		// What nobody understands.
		{"[stage=rcpt route=mx] 450 xyzzy", "transient-system", "recipient", "deferred", "retry"},
		{"[stage=rcpt route=mx] 499 xyzzy", "other", "recipient", "deferred", "retry"},
		{"[stage=rcpt route=mx] 550 xyzzy", "other", "recipient", "bounced", "give-up"},
		{"[stage=dot route=mx] 599 xyzzy", "other", "message", "bounced", "give-up"},
	} {
		in, err := ParseSample(c.sample)
		if err != nil {
			t.Fatal(err)
		}
		v := Default().Reply(in)
		if v.Class != c.class || v.Scope != c.scope || v.Result != c.result || v.Action != c.action {
			t.Errorf("%s\n got %s %s %s %s by %q\nwant %s %s %s %s", c.sample, v.Class, v.Scope, v.Result, v.Action, v.Rule, c.class, c.scope, c.result, c.action)
		}
	}
}

// TestDefectBlocklistNeverSuppresses: a refusal for the address we came from asks for another source, and suppresses
// nobody, whatever code and stage it comes with.
func TestDefectBlocklistNeverSuppresses(t *testing.T) {
	for _, stage := range []mail.Stage{"", "greeting", "ehlo", "mail", "rcpt", "data", "dot"} {
		for _, text := range []string{
			"blocked using zen.spamhaus.org", "user unknown; your IP 192.0.2.1 is listed by dnsbl.example.org blacklist",
			"recipient rejected: client host [192.0.2.1] blocked using bl.spamcop.net",
		} {
			for _, code := range []int{421, 450, 550, 554} {
				v := Default().Reply(Input{Stage: stage, Route: mail.RouteMX, Code: code, Text: text})
				if v.Class != mail.ClassBlocklistedIP || v.Scope != mail.ScopeSource || v.Action != mail.ActionRetryOtherSource || v.Result != mail.Deferred {
					t.Errorf("%s %d %s: %+v", stage, code, text, v)
				}
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"Greylisted, try again in 5 minutes":               5 * time.Minute,
		"please retry after 300 seconds":                   5 * time.Minute,
		"try again, come back in 00:04:59":                 4*time.Minute + 59*time.Second,
		"Greylisting in action, please wait 00:04:59":      4*time.Minute + 59*time.Second,
		"deferred for 1 hour":                              time.Hour,
		"wait 2h before the next try":                      2 * time.Hour,
		"try again later":                                  0,
		"try again in 99999 hours":                         maxRetryAfter,
		"limit of 20 messages per hour, try again later":   0,
		"Wait 30 seconds then try again":                   30 * time.Second,
		"user unknown":                                     0,
		"greylisted by rule 17 of host mail2, error id 88": 0,
	} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
