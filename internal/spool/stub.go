package spool

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

type Spool struct{}
type Ticket struct{}

func Open(ctx context.Context, o Options) (*Spool, error) { panic("stub") }
func (s *Spool) Close() error                             { panic("stub") }
func (s *Spool) ID() mail.SpoolID                         { panic("stub") }

// Failed is closed when a write or sync failed and the spool stopped; Err tells why. The node must shut down.
func (s *Spool) Failed() <-chan struct{} { panic("stub") }
func (s *Spool) Err() error              { panic("stub") }

// NewestAtOpen is the newest wall-clock time the spool had seen when it was opened; zero for a new spool.
func (s *Spool) NewestAtOpen() time.Time                    { panic("stub") }
func (s *Spool) Commit(ctx context.Context, b *Batch) error { panic("stub") }
func (s *Spool) Enqueue(b *Batch) *Ticket                   { panic("stub") }
func (t *Ticket) Wait(ctx context.Context) error            { panic("stub") }
func (t *Ticket) Done() <-chan struct{}                     { panic("stub") }

// Published waits until the deliveries of a staged acceptance can be seen by Page (Commit waits by itself).
func (s *Spool) Published(ctx context.Context, id mail.MessageID) error { panic("stub") }

type ContentWriter struct{}

func (s *Spool) NewContent(id mail.MessageID) (*ContentWriter, error) { panic("stub") }
func (w *ContentWriter) Write(p []byte) (int, error)                  { panic("stub") }
func (w *ContentWriter) Size() int64                                  { panic("stub") }
func (w *ContentWriter) Finish() error                                { panic("stub") }
func (w *ContentWriter) Abort() error                                 { panic("stub") }
func (s *Spool) Body(ctx context.Context, id mail.MessageID) (mail.Body, error) {
	panic("stub")
}
func (s *Spool) Stage(ctx context.Context, id mail.MessageID, ds []*mail.Delivery, evs []*mail.Event) error {
	panic("stub")
}
func (s *Spool) Unstage(ctx context.Context, id mail.MessageID) error { panic("stub") }
func (s *Spool) Message(ctx context.Context, id mail.MessageID) (*mail.Message, error) {
	panic("stub")
}
func (s *Spool) Delivery(ctx context.Context, id mail.DeliveryID) (*mail.Delivery, error) {
	panic("stub")
}
func (s *Spool) Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error) {
	panic("stub")
}
func (s *Spool) OpenMarks(ctx context.Context, fn func(*mail.Delivery) error) error { panic("stub") }
func (s *Spool) Lanes(ctx context.Context) ([]LaneRecord, error)                    { panic("stub") }
func (s *Spool) All(ctx context.Context, fn func(*mail.Delivery) error) error       { panic("stub") }

// Counts are what the spool holds.
type Counts struct {
	Deliveries, Held, InFlight, Messages, Outbox, Inbox, Lanes, Quarantined int64
}

func (s *Spool) Counts() Counts { panic("stub") }
func (s *Spool) ReadOutbox(ctx context.Context, after uint64, max int) ([]*mail.Event, error) {
	panic("stub")
}
func (s *Spool) OutboxRange() (oldest, newest uint64)              { panic("stub") }
func (s *Spool) Notify() <-chan struct{}                           { panic("stub") }
func (s *Spool) TrimOutbox(ctx context.Context, upto uint64) error { panic("stub") }
func (s *Spool) Idempotency(ctx context.Context, account string, keyHash [32]byte, now time.Time) (*IdempotencyRecord, error) {
	panic("stub")
}

// InboxEntry is one report as it came in.
type InboxEntry struct {
	Seq      uint64 // set by the spool
	Kind     string
	Received time.Time
	Meta     map[string]string
	Raw      []byte
}

func (s *Spool) PutInbox(ctx context.Context, e InboxEntry) (seq uint64, err error) { panic("stub") }
func (s *Spool) ReadInbox(ctx context.Context, after uint64, max int) ([]InboxEntry, error) {
	panic("stub")
}
func (s *Spool) Maintain(ctx context.Context) error { panic("stub") }

// Space is the disk the spool lies on, in octets.
type Space struct {
	Free, Total, Floor uint64
	Low                bool
}

func (s *Spool) Space() Space          { panic("stub") }
func (s *Spool) ReleaseBallast() error { panic("stub") }

// Report is what Check or Salvage found.
type Report struct {
	Counts   Counts
	Problems []string
}

func Check(ctx context.Context, dir string, fs vfs.FS) (Report, error)        { panic("stub") }
func Salvage(ctx context.Context, from, to string, fs vfs.FS) (Report, error) { panic("stub") }
func Free(dir string, fs vfs.FS) error                                        { panic("stub") }
