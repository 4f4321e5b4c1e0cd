package platform

import (
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Archive says what an account's sent content is kept for after its delivery.
type Archive struct {
	// Days it is kept, counted from the end of the day (UTC) it was accepted on; 0: nothing is kept.
	Days int `toml:"days,omitempty" json:"days,omitempty"`
	// Streams whose content is kept; empty: all.
	Streams []mail.Stream `toml:"streams,omitempty" json:"streams,omitempty"`
}

// MaxArchiveDays bounds Archive.Days: thirty years.
const MaxArchiveDays = 30 * 366

// Keeps reports whether mail of a stream is archived.
func (a Archive) Keeps(stream mail.Stream) bool {
	return a.Days > 0 && (len(a.Streams) == 0 || slices.Contains(a.Streams, stream))
}

// LegalHold keeps what it covers, in archive and record, from expiring and from being erased, until it is released. Of
// its conditions all that are set must match; it sets at least one.
type LegalHold struct {
	Name      string `toml:"name" json:"name"`
	Account   string `toml:"account,omitempty" json:"account,omitempty"`
	Recipient string `toml:"recipient,omitempty" json:"recipient,omitempty"` // address, lower case
	Message   string `toml:"message,omitempty" json:"message,omitempty"`     // message id
	Reason    string `toml:"reason" json:"reason"`
	// Author answers for it: a person or a file number, in the operator's words.
	Author string    `toml:"author" json:"author"`
	Since  time.Time `toml:"since,omitempty" json:"since,omitzero"`
}

// Covers reports whether the hold covers what a message of an account sent to a recipient. recipient is an address in any
// case.
func (h *LegalHold) Covers(account, recipient string, id mail.MessageID) bool {
	return (h.Account == "" || h.Account == account) && (h.Recipient == "" || mail.SameMailbox(h.Recipient, recipient)) &&
		(h.Message == "" || h.Message == id.String())
}
