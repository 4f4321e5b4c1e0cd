package practice

import (
	"github.com/postroad/postroad/internal/mail"
)

// Sample is one address to send to, and what a good sender comes to.
type Sample struct {
	Name      string // short, unique: "busy"
	Recipient string
	Subject   string // what happens there, in a few words: fit for a subject line
	// Want is the outcome to come to. mail.Deferred stands for mail that nobody will ever take or refuse: it waits, and
	// becomes mail.Expired at its deadline. WantClass is the class of the last failure.
	Want      mail.Result
	WantClass mail.Class
	// Attempts is how many attempts it takes, at least.
	Attempts int
	// Copies is how many copies the receiver records in the end, duplicates included.
	Copies int
	// Size is how large the content must be at least, in octets; 0: any.
	Size int
	// EightBit: the content must have octets over 127.
	EightBit bool
	Note     string // what to look at; "" if nothing is odd
	// Then is the event that a report brings afterwards, and ThenClass its class; "": none does. Letters is how many mails
	// come back.
	Then      mail.EventType
	ThenClass mail.Class
	Letters   int

	host string // needs this receiver
	rest bool   // needs Options.BlockedSources
}

// siteSamples are local parts whose trouble reaches further than one recipient. Each has a domain and an MX name of its
// own, all at the first receiver's address, so that one sample does not hold up the others.
var siteSamples = []string{
	"greylist", "busy", "busy-dot", "ratelimit", "throttled", "tempfail", "slow", "blocked", "blocked-source", "spam",
	"rcpt-hangup", "drop", "lost-reply",
}

// Samples returns an address for every behaviour, those that need a missing receiver left out. Under Options.Load there
// are none.
func (n *Internet) Samples() []Sample {
	missing := make(map[string]bool)
	for _, name := range n.Missing() {
		missing[name] = true
	}
	var out []Sample
	for _, s := range samples {
		if n.opts.Load == nil && !missing[s.host] && !(s.rest && len(n.opts.BlockedSources) == 0) {
			out = append(out, s)
		}
	}
	return out
}

var samples = []Sample{
	{Name: "accept", Recipient: "alice@mailbox.test", Subject: "accepted at once", Want: mail.Delivered, Attempts: 1, Copies: 1},
	{Name: "alias", Recipient: "alice@alias.test", Subject: "the domain is an alias (CNAME)", Want: mail.Delivered, Attempts: 1, Copies: 1},
	{Name: "implicit-mx", Recipient: "alice@implicit.test", Subject: "no MX record, only an address", Want: mail.Delivered, Attempts: 1, Copies: 1},
	{Name: "second-mx", Recipient: "alice@firstdown.test", Subject: "the first MX refuses everyone, the second is fine", Want: mail.Delivered, Attempts: 1, Copies: 1, host: "mx.firstdown.test"},

	{Name: "unknown", Recipient: "unknown@mailbox.test", Subject: "no such mailbox", Want: mail.Bounced, WantClass: mail.ClassInvalidRecipient, Attempts: 1},
	{Name: "full", Recipient: "full@mailbox.test", Subject: "mailbox full, for good", Want: mail.Bounced, WantClass: mail.ClassMailboxFull, Attempts: 1},
	{Name: "full-soft", Recipient: "full-soft@mailbox.test", Subject: "mailbox full, for now", Want: mail.Deferred, WantClass: mail.ClassMailboxFull, Attempts: 2},
	{Name: "disabled", Recipient: "disabled@mailbox.test", Subject: "account disabled", Want: mail.Bounced, WantClass: mail.ClassInactive, Attempts: 1},

	{Name: "greylist", Recipient: "greylist@greylist.test", Subject: "greylisted, then accepted", Want: mail.Delivered, Attempts: 2, Copies: 1},
	{Name: "busy", Recipient: "busy@busy.test", Subject: "busy twice, then accepted", Want: mail.Delivered, Attempts: 3, Copies: 1},
	{Name: "busy-dot", Recipient: "busy-dot@busy-dot.test", Subject: "busy after the content, then accepted", Want: mail.Delivered, Attempts: 2, Copies: 1},
	{Name: "ratelimit", Recipient: "ratelimit@ratelimit.test", Subject: "rate limited twice, then accepted", Want: mail.Delivered, Attempts: 3, Copies: 1},
	{Name: "throttled", Recipient: "throttled@throttled.test", Subject: "421 in mid-dialogue, then accepted", Want: mail.Delivered, Attempts: 2, Copies: 1},
	{Name: "crowded", Recipient: "alice@crowded.test", Subject: "421 at the greeting twice, then accepted", Want: mail.Delivered, Attempts: 1, Copies: 1, Note: "the lane waits; the delivery itself is tried once", host: "mx.crowded.test"},
	{Name: "tempfail", Recipient: "tempfail@tempfail.test", Subject: "a temporary error that never ends", Want: mail.Deferred, WantClass: mail.ClassTransientSystem, Attempts: 2},
	{Name: "slow", Recipient: "slow@slow.test", Subject: "very slow replies", Want: mail.Delivered, Attempts: 1, Copies: 1},

	{Name: "blocked", Recipient: "blocked@blocked.test", Subject: "every source is on a blocklist", Want: mail.Deferred, WantClass: mail.ClassBlocklistedIP, Attempts: 1, Note: "a fault of the source: the recipient is not suppressed"},
	{Name: "blocked-source", Recipient: "blocked-source@blocked-source.test", Subject: "one source is on a blocklist, another is not", Want: mail.Delivered, Attempts: 1, Copies: 1, rest: true},
	{Name: "spam", Recipient: "spam@spam.test", Subject: "refused for its content", Want: mail.Bounced, WantClass: mail.ClassPolicySpam, Attempts: 1, Note: "a fault of the message: the recipient is not suppressed"},

	{Name: "rcpt-hangup", Recipient: "rcpt-hangup@rcpt-hangup.test", Subject: "hangs up at RCPT, then accepts", Want: mail.Delivered, Attempts: 2, Copies: 1},
	{Name: "drop", Recipient: "drop@drop.test", Subject: "hangs up within the content, then accepts", Want: mail.Delivered, Attempts: 2, Copies: 1, Size: 512 << 10, Note: "uncertain if the client had sent the final dot already"},
	{Name: "lost-reply", Recipient: "lost-reply@lost-reply.test", Subject: "takes the mail, but its reply is lost", Want: mail.Delivered, Attempts: 2, Copies: 2, Note: "uncertain after the first attempt; SMTP cannot avoid the duplicate (RFC 1047)"},
	{Name: "hangup", Recipient: "alice@hangup.test", Subject: "hangs up instead of a greeting", Want: mail.Deferred, WantClass: mail.ClassNetwork, host: "mx.hangup.test"},
	{Name: "refused", Recipient: "alice@refused.test", Subject: "nobody listens", Want: mail.Deferred, WantClass: mail.ClassNetwork, host: "mx.refused.test"},

	{Name: "broken-tls", Recipient: "alice@brokentls.test", Subject: "TLS handshake fails, in clear it works", Want: mail.Delivered, Attempts: 1, Copies: 1, host: "mx.brokentls.test"},
	{Name: "odd-certificate", Recipient: "alice@oddcert.test", Subject: "certificate expired and of another name", Want: mail.Delivered, Attempts: 1, Copies: 1, Note: "still encrypted: opportunistic TLS checks no certificate", host: "mx.oddcert.test"},
	{Name: "no-tls", Recipient: "alice@cleartext.test", Subject: "TLS is not offered", Want: mail.Delivered, Attempts: 1, Copies: 1, host: "mx.cleartext.test"},
	{Name: "tls-only", Recipient: "alice@tlsonly.test", Subject: "nothing without TLS", Want: mail.Delivered, Attempts: 1, Copies: 1, host: "mx.tlsonly.test"},
	{Name: "plain", Recipient: "alice@plain.test", Subject: "no extension of SMTP at all", Want: mail.Delivered, Attempts: 1, Copies: 1, EightBit: true, Note: "converted to seven bits", host: "mx.plain.test"},
	{Name: "too-large", Recipient: "alice@small.test", Subject: "larger than the receiver's limit", Want: mail.Bounced, WantClass: mail.ClassContentSize, Size: 2 * smallSize, host: "mx.small.test"},

	{Name: "null-mx", Recipient: "alice@null.test", Subject: "the domain takes no mail (null MX)", Want: mail.Bounced, WantClass: mail.ClassInvalidDomain},
	{Name: "no-domain", Recipient: "alice@nosuchdomain.test", Subject: "no such domain", Want: mail.Bounced, WantClass: mail.ClassInvalidDomain},
	{Name: "no-mail-host", Recipient: "alice@nomail.test", Subject: "neither MX nor address", Want: mail.Bounced, WantClass: mail.ClassInvalidDomain},
	{Name: "dead-mx", Recipient: "alice@deadmx.test", Subject: "the MX does not exist", Want: mail.Bounced, WantClass: mail.ClassInvalidDomain},
	{Name: "literal-mx", Recipient: "alice@literal.test", Subject: "the MX is an IP address, not a name", Want: mail.Bounced, WantClass: mail.ClassInvalidDomain},
	{Name: "servfail", Recipient: "alice@servfail.test", Subject: "DNS fails for the domain", Want: mail.Deferred, WantClass: mail.ClassNetwork},
	{Name: "deaf-mx", Recipient: "alice@deaf.test", Subject: "DNS fails for the MX", Want: mail.Deferred, WantClass: mail.ClassNetwork},

	// What comes back by mail, after the message was taken.
	later("late-bounce", "accepted, then bounced by mail", mail.EventBounced, mail.ClassInvalidRecipient, ""),
	later("late-qmail", "accepted, then bounced in the dialect of qmail", mail.EventBounced, mail.ClassInvalidRecipient, ""),
	later("late-exim", "accepted, then bounced in the dialect of Exim", mail.EventBounced, mail.ClassInvalidRecipient, ""),
	later("late-three", "accepted, then a report on three recipients: ours failed", mail.EventBounced, mail.ClassInvalidRecipient, "one delivered, one expanded, and the one we mailed"),
	later("late-relayed", "accepted, then a report on three recipients: ours is relayed", "", "", "the failures are other people's"),
	later("late-replay", "accepted, then the same bounce twice", mail.EventBounced, mail.ClassInvalidRecipient, "the second changes nothing"),
	later("late-forged", "accepted, then a bounce that somebody made up", "", "", "its return path is none of ours: refused"),
	later("late-delay", "accepted, then delayed behind the receiver, then delivered", mail.EventDeferred, "", "the delivery stays delivered"),
	later("complaint", "accepted, then called spam", mail.EventComplained, "", "the complaint goes to the CFBL-Address"),
	later("redacted", "accepted, then called spam, the recipient cut out", mail.EventComplained, "", ""),
	later("auto-reply", "accepted, then answered by a machine", mail.EventAutoReplied, "", ""),
	later("ooo", "accepted, then out of office", mail.EventAutoReplied, "", "a reply that does not say it is automatic, and quotes our header: no bounce"),
}

// later is the sample of a receiver that takes the mail and sends a report.
func later(local, subject string, then mail.EventType, class mail.Class, note string) Sample {
	return Sample{
		Name: local, Recipient: local + "@mailbox.test", Subject: subject, Want: mail.Delivered, Attempts: 1, Copies: 1, Note: note,
		Then: then, ThenClass: class, Letters: behaviours[local].later.Letters(),
	}
}
