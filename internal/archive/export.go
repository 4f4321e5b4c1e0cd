package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postroad/postroad/internal/store"
)

// Find returns a page of what is archived of an account, oldest first.
func (a *Archive) Find(ctx context.Context, q store.ArchiveQuery) (store.ArchivePage, error) {
	return a.o.Store.FindArchived(ctx, q)
}

// Export writes the messages that match as an mbox and returns how many there were. What expires while it is written is
// left out.
func (a *Archive) Export(ctx context.Context, w io.Writer, q store.ArchiveQuery) (n int, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	for {
		page, err := a.o.Store.FindArchived(ctx, q)
		if err != nil {
			return n, err
		}
		for _, m := range page.Messages {
			r, err := a.o.Store.OpenArchived(ctx, q.Account, m.Message.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return n, err
			}
			err = writeMbox(out, m.Message.From.String(), m.Message.AcceptedAt, r)
			if err = errors.Join(err, r.Close()); err != nil {
				return n, fmt.Errorf("archive: export %s: %w", m.Message.ID, err)
			}
			n++
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return n, out.Flush()
		}
	}
}

// nullSender stands in an mbox for the null path.
const nullSender = "MAILER-DAEMON"

// writeMbox writes one message in mbox form (RFC 4155): a line that begins a message, lines ending with LF, and an empty
// line behind it. Lines that would look like a beginning get a ">" in front, and those that have some already one more, so
// that a reader can take exactly that off again.
func writeMbox(w *bufio.Writer, from string, at time.Time, content io.Reader) error {
	if from == "" || from == "<>" {
		from = nullSender
	}
	fmt.Fprintf(w, "From %s %s\n", from, at.UTC().Format(time.ANSIC))
	r := bufio.NewReaderSize(content, 64<<10)
	begin := true // of a line; a line longer than the buffer comes in pieces
	last := byte('\n')
	for {
		line, err := r.ReadSlice('\n')
		if begin && isFromLine(line) {
			_ = w.WriteByte('>')
		}
		switch {
		case bytes.HasSuffix(line, []byte("\r\n")):
			_, _ = w.Write(line[:len(line)-2])
			_ = w.WriteByte('\n')
		case errors.Is(err, bufio.ErrBufferFull) && line[len(line)-1] == '\r':
			// The LF may be next: look at the CR again together with it.
			_, _ = w.Write(line[:len(line)-1])
			if next, _ := r.Peek(1); len(next) != 1 || next[0] != '\n' {
				_ = w.WriteByte('\r')
			}
		default:
			_, _ = w.Write(line)
		}
		if len(line) > 0 {
			last = line[len(line)-1]
		}
		begin = !errors.Is(err, bufio.ErrBufferFull)
		switch {
		case errors.Is(err, io.EOF):
			if last != '\n' {
				_ = w.WriteByte('\n')
			}
			_, err := w.WriteString("\n") // a bufio.Writer gives its first error again
			return err
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// isFromLine reports whether a line is "From " behind any number of ">".
func isFromLine(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}
