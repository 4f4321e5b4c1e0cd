package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// InboxEntry is one report as it came in, kept until its events are written.
type InboxEntry struct {
	Seq      uint64 // its number, given by the spool
	Kind     string // by what door it came: InboxReturnPath …
	Received time.Time
	Meta     map[string]string // what the door knows beside the mail: MetaReport …
	Raw      []byte
}

// The doors reports come by.
const (
	InboxReturnPath = "return-path" // the SMTP listener
	InboxIMAP       = "imap"        // a bounce mailbox
	InboxAPI        = "api"         // POST /v1/feedback
	InboxProvider   = "provider"    // a provider's webhook
)

// Keys of InboxEntry.Meta. What a door does not know is left out.
const (
	MetaReport    = "report"    // mail.ReportID in text; required: the same report keeps its id when it is read again
	MetaFrom      = "from"      // envelope sender; "" for the null path
	MetaRecipient = "rcpt"      // envelope recipient
	MetaClient    = "client"    // address of the client
	MetaHelo      = "helo"      // the client's name for itself
	MetaTLS       = "tls"       // TLS version and cipher
	MetaAccount   = "account"   // whose mailbox, or whose key, it came by
	MetaMailbox   = "mailbox"   // the mailbox it was fetched from, with its UIDVALIDITY and UID
	MetaTruncated = "truncated" // octets of the mail that were cut off
)

// MaxReport is the most octets of a report that are kept: a batch must hold it whole. Doors cut longer reports there and
// say so in MetaTruncated; what a report has to say stands before the returned message.
const MaxReport = 3 << 20

// PutInbox stores a report; it is durable when PutInbox returns nil. It returns ErrDiskFull, ErrTooLarge, ErrClosed
// or ErrFailed.
func (s *Spool) PutInbox(ctx context.Context, e InboxEntry) (seq uint64, err error) {
	value := appendInbox(make([]byte, 0, len(e.Raw)+256), &e)
	if len(value) > MaxBatch {
		return 0, fmt.Errorf("%w: a report of %d octets", ErrTooLarge, len(e.Raw))
	}
	err = s.do(ctx, &item{size: len(value) + keyOverhead, job: func(f *frame) error {
		if f.lowSpace() {
			return ErrDiskFull
		}
		f.st.inbox++
		seq = f.st.inbox
		f.set(seqKey(nil, tabInbox, seq), value)
		f.st.counts.Inbox++
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return seq, nil
}

// maxInboxPage ends a page of ReadInbox, in octets of mail, once it has an entry: reports may be large.
const maxInboxPage = 8 << 20

// ReadInbox returns up to max entries with a number greater than after, oldest first, and fewer where they are large; none
// only if there are none. A Batch whose InboxDone names an entry removes it.
func (s *Spool) ReadInbox(ctx context.Context, after uint64, max int) ([]InboxEntry, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if max <= 0 || after == 1<<64-1 {
		return nil, nil
	}
	var list []InboxEntry
	size := 0
	err := s.scan(ctx, seqKey(nil, tabInbox, after+1), []byte{tabInbox + 1}, func(key, value []byte) (bool, error) {
		if len(key) != 1+8 {
			return true, nil
		}
		seq := binary.BigEndian.Uint64(key[1:])
		e, err := decodeInbox(seq, value)
		if err != nil {
			s.quarantine(key, value, fmt.Sprintf("inbox entry %d", seq))
			return true, nil
		}
		list = append(list, e)
		size += len(value)
		return len(list) < max && size < maxInboxPage, nil
	})
	return list, err
}
