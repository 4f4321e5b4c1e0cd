package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestArchive(t *testing.T) {
	storetest.RunArchive(t, func(t *testing.T, dir string, o storetest.ArchiveOptions) store.Archive {
		t.Helper()
		a, err := OpenArchive(ArchiveOptions{Dir: dir, Key: o.Key, Now: o.Now, MayGrow: o.MayGrow, Step: o.Step})
		if err != nil {
			t.Fatal(err)
		}
		return a
	})
}

// messageAt returns an id of that time.
func messageAt(at time.Time, n int) mail.MessageID {
	id := mail.MessageID(lowestID(at))
	id[15] = byte(n + 1)
	return id
}

// archiveWith makes an archive that holds two messages of two chunks each.
func archiveWith(t *testing.T) (a *Archive, ids []mail.MessageID) {
	t.Helper()
	a, err := OpenArchive(ArchiveOptions{Dir: t.TempDir(), Key: func(string) [32]byte { return [32]byte{1} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range 2 {
		content := bytes.Repeat([]byte{byte(i)}, archiveChunk+100)
		m := &mail.Message{ID: messageAt(storetest.Day0, i), Account: "acme", Size: int64(len(content))}
		ids = append(ids, m.ID)
		err := a.PutArchived(t.Context(), "acme", 1, []store.ArchiveItem{{
			Message: m, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
			Recipients: func(context.Context, func(store.ArchivedRecipient) error) error { return nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return a, ids
}

// TestArchiveTampered: a piece that was changed, moved to another place or message, or taken away makes reading fail; it
// never gives other content, nor less of it.
func TestArchiveTampered(t *testing.T) {
	for name, change := range map[string]string{
		"changed":         "UPDATE chunks SET data = data || x'00' WHERE message = $1 AND n = 1",
		"pieces swapped":  "UPDATE chunks SET data = (SELECT data FROM chunks WHERE message = $1 AND n = 0) WHERE message = $1 AND n = 1",
		"another message": "UPDATE chunks SET data = (SELECT c.data FROM chunks c WHERE c.message <> $1 AND c.n = 1) WHERE message = $1 AND n = 1",
		"shortened":       "UPDATE messages SET chunks = 1 WHERE message = $1",
		"about another":   "UPDATE messages SET about = (SELECT m.about FROM messages m WHERE m.message <> $1) WHERE message = $1",
	} {
		t.Run(name, func(t *testing.T) {
			a, ids := archiveWith(t)
			err := a.files.use(t.Context(), store.ArchiveName{Account: "acme", Day: dayName(storetest.Day0)}, false, func(d *database) error {
				return d.write(t.Context(), "tamper", func(tx *tx) error { _, err := tx.exec(change, ids[0][:]); return err })
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := a.OpenArchived(t.Context(), "acme", ids[0])
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, store.ErrArchiveKey) {
				t.Errorf("err = %v", err)
			}
			if r, err = a.OpenArchived(t.Context(), "acme", ids[1]); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != archiveChunk+100 {
				t.Errorf("the other message: %d octets, %v", n, err)
			}
		})
	}
}

// TestArchiveOpenFiles: more files than may stay open are used side by side.
func TestArchiveOpenFiles(t *testing.T) {
	a, _ := archiveWith(t)
	var ids []mail.MessageID
	for i := range 3 * openArchives {
		m := &mail.Message{ID: messageAt(storetest.Day0.Add(time.Duration(i)*24*time.Hour), i), Account: "beta", Size: 1}
		ids = append(ids, m.ID)
		err := a.PutArchived(t.Context(), "beta", 1, []store.ArchiveItem{{
			Message: m, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("x"))), nil },
			Recipients: func(context.Context, func(store.ArchivedRecipient) error) error { return nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if _, err := a.Archived(t.Context(), "beta", id); err != nil {
			t.Error(err)
		}
	}
	if len(a.files.open) > openArchives {
		t.Errorf("%d files are open, want at most %d", len(a.files.open), openArchives)
	}
}

// FuzzArchiveOpen: octets nobody sealed never open, and never panic.
func FuzzArchiveOpen(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	s := newSealer([32]byte{1}, c)
	good := s.seal([]byte("context"), []byte("clear text"))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		clear, err := s.open([]byte("context"), sealed)
		if err == nil && string(clear) != "clear text" { // what another process of the fuzzer sealed
			t.Errorf("%x opened as %q", sealed, clear)
		}
		if err != nil && !errors.Is(err, store.ErrArchiveKey) {
			t.Errorf("error %v", err)
		}
	})
}
