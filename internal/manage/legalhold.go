package manage

import (
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// normaliseLegalHold brings the recipient into the form addresses are compared in. What cannot be read stays, for
// validation to name.
func normaliseLegalHold(h *platform.LegalHold) {
	h.Since = h.Since.UTC()
	if a, err := mail.ParseAddress(h.Recipient); err == nil {
		h.Recipient = a.Folded().String()
	}
}

func (v *validator) archive(where string, a platform.Archive) {
	if a.Days < 0 || a.Days > platform.MaxArchiveDays {
		v.bad(where+".days", "%d: want the days content is kept, 0 for not at all, at most %d", a.Days, platform.MaxArchiveDays)
	}
	if a.Days == 0 && len(a.Streams) > 0 {
		v.bad(where+".days", "say for how many days the content of these streams is kept")
	}
	for _, s := range a.Streams {
		if !s.Valid() {
			v.bad(where+".streams", "%q is none of transactional, bulk", s)
		}
	}
}

func (v *validator) legalHold(h platform.LegalHold) {
	where := "legal_holds[" + h.Name + "]"
	if h.Account == "" && h.Recipient == "" && h.Message == "" {
		v.bad(where, "a legal hold needs an account, a recipient or a message that it covers")
	}
	// The account need not exist any more: what it sent may.
	if h.Account != "" {
		v.name(where+".account", h.Account)
	}
	if h.Recipient != "" {
		if _, err := mail.ParseAddress(h.Recipient); err != nil {
			v.bad(where+".recipient", "%v", err)
		}
	}
	if h.Message != "" {
		if _, err := mail.ParseMessageID(h.Message); err != nil {
			v.bad(where+".message", "%v", err)
		}
	}
	if strings.TrimSpace(h.Reason) == "" {
		v.bad(where+".reason", "say why; who asks for an erasure will read it")
	}
	if strings.TrimSpace(h.Author) == "" {
		v.bad(where+".author", "say who answers for it")
	}
}
