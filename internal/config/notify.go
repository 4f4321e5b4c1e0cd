package config

import "github.com/postroad/postroad/internal/mail"

// Alerts says who is told of trouble.
type Alerts struct {
	// MailTo are the operators' addresses: every alert is mailed to them, by a route other than the one it is about where
	// there is one. Empty: alerts are shown by `postroad alerts` and metrics alone.
	MailTo []string `toml:"mail_to"`
}

// Digest says when accounts get their reports by mail.
type Digest struct {
	// Hour of the day, UTC, from which on the digests of what ended at midnight are sent.
	Hour int `toml:"hour"`
}

// defaultDigestHour is late enough for most reports on the evening's mail, and before work begins in Europe.
const defaultDigestHour = 6

func (c *Config) validateNotify(bad func(key, format string, args ...any)) {
	for _, a := range c.Alerts.MailTo {
		if _, err := mail.ParseAddress(a); err != nil {
			bad("alerts.mail_to", "%q: %v", a, err)
		}
	}
	if c.Digest.Hour < 0 || c.Digest.Hour > 23 {
		bad("digest.hour", "%d is no hour of the day, 0 to 23", c.Digest.Hour)
	}
}
