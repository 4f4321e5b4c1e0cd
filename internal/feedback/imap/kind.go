package imap

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// parseTime is how long it may take to see what a mail is; it takes well under a millisecond.
const parseTime = 20 * time.Second

// unread is the kind of a mail whose reading failed or did not end. It is taken: the reader of reports sets it aside, with
// its mail and an alert.
const unread report.Kind = "unread"

// kindOf says what a mail is. A mail that our reading of it fails on must not end the platform, nor hold up the others.
func (r *reader) kindOf(ctx context.Context, raw []byte) (report.Kind, error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		raw = bytes.ReplaceAll(raw, []byte{0}, nil) // as the reader of reports does
	}
	done := make(chan report.Kind, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.log.Error("bounce mailbox: reading a mail failed", mail.LogEvent, "imap_panic", mail.LogErr, fmt.Sprint(p), "stack", string(debug.Stack()))
				done <- unread
			}
		}()
		done <- r.o.Parse(raw, report.Limits{}).Kind
	}()
	t := time.NewTimer(time.Duration(float64(parseTime) * r.o.Patience))
	defer t.Stop()
	select {
	case kind := <-done:
		return kind, nil
	case <-t.C:
		return unread, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
