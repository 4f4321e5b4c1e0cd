package practice

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Received is one copy of a message that arrived for one recipient.
type Received struct {
	N         int64 // from 1, in the order of arrival
	At        time.Time
	Host      string     // the receiver's name
	Source    netip.Addr // the client's address
	Helo      string
	Sender    string // envelope sender; "" for <>
	Recipient string
	EnvID     string // as given, RFC 3461
	MessageID string // with its angle brackets; for a message without, a hash of its content
	Size      int64
	TLS       string // "TLS1.3", or "" for clear
	// Duplicate: a copy of the same message arrived for the same recipient before.
	Duplicate bool
	// Unanswered: the reply to the final dot was withheld.
	Unanswered bool
	// Content is nil if Options.MaxContent was used up, or has been since.
	Content []byte
}

// Counters are the totals of all receivers.
type Counters struct {
	Connections int64
	TLS         int64 // connections that went over to TLS
	Messages    int64 // transactions whose content was taken, unanswered ones included
	Recipients  int64 // copies taken: one for each recipient of a message
	Duplicates  int64 // of them, copies that had arrived before
	Unanswered  int64 // transactions whose reply to the final dot was withheld
	Octets      int64 // of content taken
	Refused     int64 // 5xx replies
	Deferred    int64 // 4xx replies
	Dropped     int64 // connections the receiver broke off
	Violations  int64 // faults of clients
	Reports     int64 // late reports sent
	ReportsLost int64 // late reports that could not be sent
	Forgotten   int64 // records dropped because there were too many
}

// MaxViolations bounds the texts of violations that are kept.
const MaxViolations = 100

// maxReports bounds the late reports that are remembered.
const maxReports = 1000

// book keeps what arrived.
type book struct {
	maxRecords int
	maxContent int64

	mu       sync.Mutex
	total    Counters
	records  []Received         // in order of N, the oldest first
	contents int64              // octets of content kept
	oldest   int                // of records: the first that may still have content
	index    map[string][]int64 // N of the records of a recipient, in lower case
	seen     map[string]bool    // recipient and Message-ID
	faults   []string
	reports  []Report
	waiters  chan struct{} // closed and dropped at the next change; nil: nobody waits
}

func newBook(maxRecords int, maxContent int64) *book {
	return &book{
		maxRecords: maxRecords, maxContent: max(0, maxContent),
		index: make(map[string][]int64), seen: make(map[string]bool),
	}
}

// change runs f on the book and tells those who wait.
func (b *book) change(f func()) {
	b.mu.Lock()
	f()
	if b.waiters != nil {
		close(b.waiters)
		b.waiters = nil
	}
	b.mu.Unlock()
}

func (b *book) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters == nil {
		b.waiters = make(chan struct{})
	}
	return b.waiters
}

func (b *book) count(f func(c *Counters)) { b.change(func() { f(&b.total) }) }

// take records one message for its recipients and returns the records.
func (b *book) take(r Received, recipients []string) []Received {
	out := make([]Received, 0, len(recipients))
	b.change(func() {
		b.total.Messages++
		b.total.Octets += r.Size
		if r.Unanswered {
			b.total.Unanswered++
		}
		for _, rcpt := range recipients {
			one := r
			one.Recipient = rcpt
			b.total.Recipients++
			one.N = b.total.Recipients
			key := seenKey(rcpt, r.MessageID)
			if one.Duplicate = b.seen[key]; one.Duplicate {
				b.total.Duplicates++
			}
			b.seen[key] = true
			b.keep(one)
			out = append(out, one)
		}
	})
	return out
}

func seenKey(recipient, messageID string) string {
	return strings.ToLower(recipient) + "\x00" + messageID
}

// keep appends a record and drops old ones beyond the bounds. What was dropped is no longer known as seen. Content that
// several records share counts for each of them.
func (b *book) keep(r Received) {
	if int64(len(r.Content)) > b.maxContent {
		r.Content = nil
	}
	b.records = append(b.records, r)
	rcpt := strings.ToLower(r.Recipient)
	b.index[rcpt] = append(b.index[rcpt], r.N)
	b.contents += int64(len(r.Content))
	for ; b.contents > b.maxContent; b.oldest++ {
		b.contents -= int64(len(b.records[b.oldest].Content))
		b.records[b.oldest].Content = nil
	}
	if len(b.records) > b.maxRecords {
		old := &b.records[0]
		b.contents -= int64(len(old.Content))
		delete(b.seen, seenKey(old.Recipient, old.MessageID))
		rcpt := strings.ToLower(old.Recipient)
		if b.index[rcpt] = b.index[rcpt][1:]; len(b.index[rcpt]) == 0 {
			delete(b.index, rcpt)
		}
		*old = Received{}
		b.records = b.records[1:]
		b.oldest = max(0, b.oldest-1)
		b.total.Forgotten++
	}
}

func (b *book) of(recipient string) []Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Received
	for _, n := range b.index[strings.ToLower(recipient)] {
		out = append(out, b.records[n-b.records[0].N])
	}
	return out
}

func (b *book) all() []Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Received(nil), b.records...)
}

func (b *book) counters() Counters {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

func (b *book) violation(format string, args ...any) {
	b.change(func() {
		b.total.Violations++
		if len(b.faults) < MaxViolations {
			b.faults = append(b.faults, fmt.Sprintf(format, args...))
		}
	})
}

func (b *book) violations() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.faults...)
}

func (b *book) reported(r Report) {
	b.change(func() {
		if r.Err == nil {
			b.total.Reports++
		} else {
			b.total.ReportsLost++
		}
		if len(b.reports) == maxReports {
			b.reports = b.reports[1:]
		}
		b.reports = append(b.reports, r)
	})
}

func (b *book) reportsSent() []Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Report(nil), b.reports...)
}
