package node

import (
	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// fblAddress is the local part complaints are asked to be sent to (CFBL-Address).
const fblAddress = "fbl"

// loop says where complaints are to come back to.
type loop struct {
	domain string // of the return path
	fbl    bool   // complaints are received there
	token  func(*mail.Message, *mail.Delivery) string
}

// platformSender is the verified sender whose keys sign for the platform: that of the return domain, or of a parent of
// it. nil: no account has one.
func (s *signer) platformSender(snap *platform.Snapshot) *platform.Sender {
	ref, ok := snap.SenderOwner(mail.Address{Domain: s.loop.domain})
	if !ok || !ref.Sender.Verified {
		return nil
	}
	return ref.Sender
}

// loopFields are the fields that bring complaints back; the signatures cover them. CFBL-Address needs the platform's.
// A complaint may bring back no more than the CFBL-Feedback-ID: where the signature is for one delivery, that names it.
func (s *signer) loopFields(m *mail.Message, d *mail.Delivery, header []byte, authorSigns, platformSigns bool) ([]byte, error) {
	l := compose.Loop{AuthorSigns: authorSigns, Campaign: string(m.Stream), Account: m.Account, Stream: string(m.Stream)}
	if len(m.Tags) > 0 {
		l.Campaign = m.Tags[0]
	}
	if platformSigns && s.loop.fbl {
		l.Address, l.ID = mail.Address{Local: fblAddress, Domain: s.loop.domain}, s.loop.token(m, d)
	}
	return compose.LoopFields(header, l)
}
