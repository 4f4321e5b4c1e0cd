package platform

import "time"

// Mailbox is a bounce mailbox of an account: where its provider or ISP returns what could not be delivered, because the
// route carries the account's own envelope sender. It is read over IMAP; reports and auto-replies in it are taken, other
// mail is left as it is.
type Mailbox struct {
	Name string `toml:"name" json:"name"`
	Host string `toml:"host" json:"host"`           // name or address of the IMAP server
	Port int    `toml:"port,omitempty" json:"port"` // 0: 993, or 143 unless TLS is implicit
	// TLS is implicit (the default), verify or required (both begin in clear and go on with STARTTLS, as at a route), or
	// none, which is for a server on a loopback or private address alone.
	TLS TLSMode `toml:"tls,omitempty" json:"tls"`
	// CA holds certificates in PEM that are trusted for this server in place of the system's.
	CA       string `toml:"ca,omitempty" json:"ca,omitempty"`
	Username string `toml:"username" json:"username"`
	// Password is set in an apply file; Sealed is what is stored.
	Password string `toml:"password,omitempty" json:"-"`
	Sealed   []byte `toml:"-" json:"-"`

	Folder string `toml:"folder,omitempty" json:"folder"` // "": INBOX
	// PollSeconds is the time between two looks where the server cannot tell of new mail by itself (IDLE); 0:
	// DefaultPoll.
	PollSeconds int `toml:"poll_seconds,omitempty" json:"poll_seconds"`
	// From says where the first look begins: "new" (the default), mail that comes from now on, or "all", what is there and
	// up to 30 days old.
	From string `toml:"from,omitempty" json:"from"`
	// After says what is done with a report once it is stored: "keep-seen" (the default) marks it \Seen, "move:FOLDER"
	// moves it there, "delete" removes it.
	After    string `toml:"after,omitempty" json:"after"`
	Disabled bool   `toml:"disabled,omitempty" json:"disabled,omitempty"`
}

// What Mailbox.From and Mailbox.After may say. MailboxMove is a prefix: the folder follows it.
const (
	MailboxNew      = "new"
	MailboxAll      = "all"
	MailboxKeepSeen = "keep-seen"
	MailboxDelete   = "delete"
	MailboxMove     = "move:"
)

// Limits of Mailbox.PollSeconds, and its default. A server may end a session that was silent for 30 minutes (RFC 9051
// §5.4); looking more often than MinPoll is hammering.
const (
	MinPoll     = 10 * time.Second
	DefaultPoll = time.Minute
	MaxPoll     = 20 * time.Minute
)

// MaxMailboxes is how many mailboxes an account may have: each is a connection held open.
const MaxMailboxes = 20

// Poll is the time between two looks.
func (m *Mailbox) Poll() time.Duration {
	if m.PollSeconds <= 0 {
		return DefaultPoll
	}
	return time.Duration(m.PollSeconds) * time.Second
}
