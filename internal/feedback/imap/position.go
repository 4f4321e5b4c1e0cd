package imap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	imap "github.com/emersion/go-imap/v2"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// position is how far a mailbox is read. It is kept in store.Meta under positionKey.
type position struct {
	// Mailbox is a hash of server, user and folder: another mailbox under the same name begins anew.
	Mailbox  string   `json:"mailbox"`
	Validity uint32   `json:"validity"` // UIDVALIDITY that UID belongs to
	UID      imap.UID `json:"uid"`      // every mail up to it is done with
	// Since is set until all mail is looked through that came on or after it: of a mailbox read from the beginning, or
	// whose UIDVALIDITY changed.
	Since  time.Time `json:"since,omitzero"`
	Looked time.Time `json:"looked,omitzero"` // when the mailbox was last looked through to its end, to lookedStep
}

// lookedStep is how exact position.Looked is kept: an idle mailbox costs a write per hour. overlap is how far before it a
// mailbox with a new UIDVALIDITY is looked through again: SINCE knows days alone, in the server's time zone.
const (
	lookedStep = time.Hour
	overlap    = 48 * time.Hour
)

func positionKey(at place) string { return "imap/" + at.account + "/" + at.mailbox }

func mailboxHash(b *platform.Mailbox) string {
	sum := sha256.Sum256([]byte(strings.ToLower(b.Host) + "\x00" + b.Username + "\x00" + b.Folder))
	return hex.EncodeToString(sum[:8])
}

// load reads the position, and brings it in line with the mailbox as the server shows it. A first contact begins behind
// the newest mail, or at what is up to 30 days old where the mailbox says from = "all".
func (r *reader) load(ctx context.Context, validity uint32, next imap.UID) error {
	key, hash := positionKey(r.at), mailboxHash(&r.box)
	var pos position
	b, err := r.o.Meta.GetMeta(ctx, key)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &pos); err != nil {
			return fmt.Errorf("imap: position of %s: %w", r.at.scope(), err)
		}
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("imap: position of %s: %w", r.at.scope(), err)
	}
	switch {
	case pos.Mailbox != hash:
		pos = position{Mailbox: hash, Validity: validity}
		if r.box.From == platform.MailboxAll {
			pos.Since = r.o.Now().Add(-maxAge + overlap)
		} else {
			pos.UID = next - 1
		}
		r.log.Info("bounce mailbox: first contact", "event", "imap_first", "from", r.box.From, "uid", pos.UID)
	case pos.Validity != validity:
		// Every UID means another mail now. Reports that were taken already are known by their content.
		r.log.Warn("bounce mailbox: UIDVALIDITY changed; looking again through what came lately", "event", "imap_validity", "was", pos.Validity, "is", validity)
		pos.Validity, pos.UID = validity, 0
		if !pos.Looked.IsZero() {
			pos.Since = pos.Looked.Add(-overlap)
		}
	default:
		r.pos = pos
		return nil
	}
	r.pos = pos
	return r.save(ctx)
}

func (r *reader) save(ctx context.Context) error {
	b, err := json.Marshal(r.pos)
	if err != nil {
		return fmt.Errorf("imap: position of %s: %w", r.at.scope(), err)
	}
	if err := r.o.Meta.PutMeta(ctx, positionKey(r.at), b); err != nil {
		return fmt.Errorf("imap: keep position of %s: %w", r.at.scope(), err)
	}
	return nil
}
