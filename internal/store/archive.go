package store

import (
	"context"
	"io"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Archive keeps the content of what accounts have sent, encrypted, apart from everything else: a file per account and day
// (UTC, of the message's id), so that what expires is unlinked. An adapter holds the keys it is given and nothing in clear
// but ids, sizes and times.
//
// Errors: ErrNotFound, ErrUnavailable (not now: full, closed), ErrBadCursor, ErrArchiveKey.
type Archive interface {
	// PutArchived stores messages of one account; they are on disk when it returns nil. Those that are there already stay
	// as they are, so a call that failed, or whose answer was lost, is made again. keepDays is noted with the file, for
	// when the account does not say any more how long it keeps.
	PutArchived(ctx context.Context, account string, keepDays int, items []ArchiveItem) error
	// Archived returns a message. account "" looks through all accounts.
	Archived(ctx context.Context, account string, id mail.MessageID) (*Archived, error)
	// ArchivedRecipients returns a message's recipients in order of delivery id, those after the given one.
	ArchivedRecipients(ctx context.Context, account string, id mail.MessageID, after mail.DeliveryID, max int) ([]ArchivedRecipient, error)
	// OpenArchived returns the content as it was stored at acceptance. Reading fails, rather than end early, when the
	// content is damaged or expires meanwhile.
	OpenArchived(ctx context.Context, account string, id mail.MessageID) (io.ReadCloser, error)
	// FindArchived returns messages of one account, oldest first, a page at a time.
	FindArchived(ctx context.Context, q ArchiveQuery) (ArchivePage, error)
	// EraseArchived removes a recipient from the messages of one file: a message that went to nobody else goes as a whole,
	// in others the address gives way to the marker. Doing it again finds nothing.
	EraseArchived(ctx context.Context, n ArchiveName, e ArchiveErasure) (ArchiveErased, error)
	// ArchiveFiles names the files by account and day, from memory.
	ArchiveFiles(ctx context.Context) ([]ArchiveName, error)
	// ArchiveFile looks into one file.
	ArchiveFile(ctx context.Context, n ArchiveName) (ArchiveFile, error)
	// DropArchiveFile unlinks a file. With except, only what is not named there goes, row by row.
	DropArchiveFile(ctx context.Context, n ArchiveName, except []mail.MessageID) error
	// Backup writes a copy of every file to an empty folder, which it makes, and returns how many there were. Each copy is
	// consistent and on disk; the archive may be in use, by other processes too. A file that does not open under its key is
	// ErrArchiveKey: a copy of it would be of no use.
	Backup(ctx context.Context, dir string) (files int, err error)
	// Close waits for calls in hand; methods called afterwards return ErrUnavailable.
	Close() error
}

// ArchiveItem is a message on its way into the archive.
type ArchiveItem struct {
	Message *mail.Message
	// Recipients calls yield for each recipient.
	Recipients func(ctx context.Context, yield func(ArchivedRecipient) error) error
	// Open returns the content, Message.Size octets.
	Open func() (io.ReadCloser, error)
}

// ArchivedRecipient is one recipient of an archived message.
type ArchivedRecipient struct {
	Address  string          `json:"address"`
	Delivery mail.DeliveryID `json:"delivery"`
}

// Archived is a message in the archive, without its content.
type Archived struct {
	Message *mail.Message
	At      time.Time // when it was archived
}

// ArchiveQuery selects archived messages of one account. Filters that are empty match everything.
type ArchiveQuery struct {
	Account   string
	From, To  time.Time // of the acceptance; zero: unbounded; To is exclusive
	Recipient string    // full address, any case
	Sender    string    // envelope or header sender: an address, or a domain
	Cursor    string    // ArchivePage.Next of the page before
	Max       int       // 0: DefaultPage
}

// ArchivePage is one page. It may be short, or empty, and still have a Next: then MaxScan was over.
type ArchivePage struct {
	Messages []*Archived
	Next     string // "" at the end
}

// ArchiveName names a file of the archive.
type ArchiveName struct {
	Account string
	Day     string // YYYY-MM-DD
}

// ArchiveFile is one file of the archive.
type ArchiveFile struct {
	ArchiveName
	KeepDays int // as last noted by PutArchived
	Messages int64
	Octets   int64 // of the file
}

// ArchiveErasure says who is erased.
type ArchiveErasure struct {
	Address string // in any case
	Marker  string // stands in its place
}

// ArchiveErased says what EraseArchived did.
type ArchiveErased struct {
	Messages   int64 // that went as a whole
	Recipients int64 // that were replaced in messages to several
}
