package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// ArchiveOptions of an Archive. Dir and Key are required.
type ArchiveOptions struct {
	// Dir is the folder of the archive; it is made if missing.
	Dir string
	// Key returns the key an account's content is sealed under. It must always be the same for an account.
	Key func(account string) [32]byte
	Now func() time.Time // nil: time.Now
	// MayGrow is asked before anything is added: the archive stops growing before the spool does. nil: always.
	MayGrow func() error
	// Step, for tests, is called between any two steps of a write; an error ends the write there.
	Step func(name string) error
}

// Archive keeps sent content in SQLite files. It implements store.Archive.
type Archive struct {
	o     ArchiveOptions
	files *archiveFiles
	codec codec

	mu      sync.Mutex
	sealers map[string]*sealer
}

var _ store.Archive = (*Archive)(nil)

// OpenArchive opens the archive in o.Dir, and makes it if there is none.
func OpenArchive(o ArchiveOptions) (*Archive, error) {
	if o.Dir == "" || o.Key == nil {
		return nil, errors.New("sqlite: an archive needs Dir and Key")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	files, err := openArchiveFiles(o.Dir)
	if err != nil {
		return nil, err
	}
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &Archive{o: o, files: files, codec: c, sealers: map[string]*sealer{}}, nil
}

// Close implements store.Archive.
func (a *Archive) Close() error {
	err := a.files.close()
	a.codec.close()
	return err
}

func (a *Archive) sealer(account string) *sealer {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sealers[account]
	if s == nil {
		s = newSealer(a.o.Key(account), a.codec)
		a.sealers[account] = s
	}
	return s
}

func (a *Archive) step(name string) error {
	if a.o.Step == nil {
		return nil
	}
	return a.o.Step(name)
}

// use opens a file and checks that the key is the one it was written with.
func (a *Archive) use(ctx context.Context, n store.ArchiveName, fn func(*database, *sealer) error) error {
	s := a.sealer(n.Account)
	return a.files.use(ctx, n, false, func(d *database) error {
		var proof []byte
		err := d.row(ctx, "open archive", "SELECT proof FROM about", nil, &proof)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return err // made and never written to
		case err != nil:
			return err
		}
		if err := s.check(n, proof); err != nil {
			return err
		}
		return fn(d, s)
	})
}

func proofContext(n store.ArchiveName) []byte {
	return sealContext(sealProof, nil, []byte(n.Account+"/"+n.Day))
}

func (s *sealer) check(n store.ArchiveName, proof []byte) error {
	if _, err := s.open(proofContext(n), proof); err != nil {
		return fmt.Errorf("sqlite: archive of %s, day %s: %w", n.Account, n.Day, err)
	}
	return nil
}

// PutArchived implements store.Archive. The messages of one day are one transaction.
func (a *Archive) PutArchived(ctx context.Context, account string, keepDays int, items []store.ArchiveItem) error {
	if grow := a.o.MayGrow; grow != nil && len(items) > 0 {
		if err := grow(); err != nil {
			return fmt.Errorf("sqlite: archive: %w: %w", store.ErrUnavailable, err)
		}
	}
	for len(items) > 0 {
		day, n := dayName(items[0].Message.ID.Time()), 1
		for n < len(items) && dayName(items[n].Message.ID.Time()) == day {
			n++
		}
		if err := a.putDay(ctx, store.ArchiveName{Account: account, Day: day}, keepDays, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func (a *Archive) putDay(ctx context.Context, n store.ArchiveName, keepDays int, items []store.ArchiveItem) error {
	s := a.sealer(n.Account)
	return a.files.use(ctx, n, true, func(d *database) error {
		return d.write(ctx, "archive", func(t *tx) error {
			if err := s.claim(t, n, keepDays); err != nil {
				return err
			}
			for i := range items {
				if err := a.step("before item"); err != nil {
					return err
				}
				if err := a.put(ctx, t, s, &items[i]); err != nil {
					return fmt.Errorf("sqlite: archive %s: %w", items[i].Message.ID, err)
				}
			}
			return a.step("before commit")
		})
	})
}

// claim notes whose file this is, or checks it.
func (s *sealer) claim(t *tx, n store.ArchiveName, keepDays int) error {
	var proof []byte
	var keep int
	err := t.row("SELECT proof, keep_days FROM about", nil, &proof, &keep)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = t.exec("INSERT INTO about (one, account, keep_days, proof) VALUES (1, $1, $2, $3)", n.Account, keepDays, s.seal(proofContext(n), []byte("postroad")))
		return err
	case err != nil:
		return err
	}
	if err := s.check(n, proof); err != nil {
		return err
	}
	if keep != keepDays {
		_, err = t.exec("UPDATE about SET keep_days = $1", keepDays)
	}
	return err
}

func place(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// about is what is sealed of a message besides content and recipients.
type aboutMessage struct {
	Message *mail.Message `json:"message"`
	At      time.Time     `json:"at"`
}

func (a *Archive) put(ctx context.Context, t *tx, s *sealer, it *store.ArchiveItem) error {
	id := it.Message.ID
	var there int
	err := t.row("SELECT 1 FROM messages WHERE message = $1", []any{id[:]}, &there)
	if err == nil {
		return nil // from a call whose answer was lost
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	chunks, err := putContent(t, s, it)
	if err != nil {
		return err
	}
	err = it.Recipients(ctx, func(r store.ArchivedRecipient) error {
		_, err := t.exec("INSERT INTO recipients (message, delivery, rhash, address) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			id[:], r.Delivery[:], s.recipient(r.Address), s.seal(sealContext(sealRecipient, id[:], r.Delivery[:]), []byte(r.Address)))
		return err
	})
	if err != nil {
		return fmt.Errorf("recipients: %w", err)
	}
	about, err := json.Marshal(aboutMessage{it.Message, a.o.Now().UTC()})
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO messages (message, chunks, about) VALUES ($1, $2, $3)", id[:], chunks, s.seal(sealContext(sealAbout, id[:], nil), about))
	return err
}

func putContent(t *tx, s *sealer, it *store.ArchiveItem) (chunks int64, err error) {
	id := it.Message.ID
	r, err := it.Open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]byte, min(archiveChunk, it.Message.Size+1))
	var size int64
	for {
		n, err := io.ReadFull(r, buf)
		size += int64(n)
		if n > 0 {
			if _, err := t.exec("INSERT INTO chunks (message, n, data) VALUES ($1, $2, $3)", id[:], chunks, s.seal(sealContext(sealChunk, id[:], place(uint64(chunks))), buf[:n])); err != nil {
				return 0, err
			}
			chunks++
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if size != it.Message.Size {
				return 0, fmt.Errorf("its content has %d octets, the message says %d", size, it.Message.Size)
			}
			return chunks, nil
		case err != nil:
			return 0, err
		}
	}
}

// find calls fn with the file that holds a message. account "": whichever does.
func (a *Archive) find(ctx context.Context, account string, id mail.MessageID, fn func(d *database, s *sealer, chunks int64, about []byte) error) error {
	day := dayName(id.Time())
	for _, n := range a.files.names(account, day, day) {
		found := false
		err := a.use(ctx, n, func(d *database, s *sealer) error {
			var chunks int64
			var about []byte
			err := d.row(ctx, "read archive", "SELECT chunks, about FROM messages WHERE message = $1", []any{id[:]}, &chunks, &about)
			if err != nil {
				return err
			}
			found = true
			return fn(d, s, chunks, about)
		})
		if found || err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return fmt.Errorf("sqlite: message %s is not in the archive: %w", id, store.ErrNotFound)
}

func (s *sealer) about(id mail.MessageID, sealed []byte) (*store.Archived, error) {
	clear, err := s.open(sealContext(sealAbout, id[:], nil), sealed)
	if err != nil {
		return nil, fmt.Errorf("sqlite: archived message %s: %w", id, err)
	}
	var x aboutMessage
	if err := json.Unmarshal(clear, &x); err != nil || x.Message == nil {
		return nil, fmt.Errorf("sqlite: archived message %s cannot be decoded: %w", id, errors.Join(store.ErrArchiveKey, err))
	}
	return &store.Archived{Message: x.Message, At: x.At}, nil
}

// Archived implements store.Archive.
func (a *Archive) Archived(ctx context.Context, account string, id mail.MessageID) (x *store.Archived, err error) {
	err = a.find(ctx, account, id, func(_ *database, s *sealer, _ int64, about []byte) (err error) {
		x, err = s.about(id, about)
		return err
	})
	return x, err
}

// ArchivedRecipients implements store.Archive.
func (a *Archive) ArchivedRecipients(ctx context.Context, account string, id mail.MessageID, after mail.DeliveryID, max int) (list []store.ArchivedRecipient, err error) {
	err = a.find(ctx, account, id, func(d *database, s *sealer, _ int64, _ []byte) error {
		return d.query(ctx, "read archive", "SELECT delivery, address FROM recipients WHERE message = $1 AND delivery > $2 ORDER BY delivery LIMIT $3",
			[]any{id[:], after[:], store.PageSize(max)}, func(r rowScanner) error {
				var delivery, sealed []byte
				if err := r.Scan(&delivery, &sealed); err != nil {
					return err
				}
				address, err := s.open(sealContext(sealRecipient, id[:], delivery), sealed)
				if err != nil {
					return fmt.Errorf("sqlite: a recipient of archived message %s: %w", id, err)
				}
				x := store.ArchivedRecipient{Address: string(address)}
				copy(x.Delivery[:], delivery)
				list = append(list, x)
				return nil
			})
	})
	return list, err
}

// OpenArchived implements store.Archive.
func (a *Archive) OpenArchived(ctx context.Context, account string, id mail.MessageID) (io.ReadCloser, error) {
	r := &archiveReader{a: a, ctx: ctx, account: account, id: id}
	err := a.find(ctx, account, id, func(_ *database, s *sealer, chunks int64, about []byte) error {
		x, err := s.about(id, about)
		if err != nil {
			return err
		}
		r.chunks, r.left = chunks, x.Message.Size
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// archiveReader reads a content chunk by chunk; between two of them it holds nothing of the archive.
type archiveReader struct {
	a       *Archive
	ctx     context.Context // of OpenArchived: reading is a part of that call
	account string
	id      mail.MessageID
	n       int64
	chunks  int64
	left    int64
	part    bytes.Reader
}

// Read implements io.Reader.
func (r *archiveReader) Read(p []byte) (int, error) {
	for r.part.Len() == 0 {
		if r.n == r.chunks {
			if r.left != 0 {
				return 0, fmt.Errorf("sqlite: archived message %s lacks %d octets of its content: %w", r.id, r.left, store.ErrArchiveKey)
			}
			return 0, io.EOF
		}
		var clear []byte
		err := r.a.find(r.ctx, r.account, r.id, func(d *database, s *sealer, _ int64, _ []byte) error {
			var sealed []byte
			err := d.row(r.ctx, "read archive", "SELECT data FROM chunks WHERE message = $1 AND n = $2", []any{r.id[:], r.n}, &sealed)
			if err != nil {
				return err
			}
			clear, err = s.open(sealContext(sealChunk, r.id[:], place(uint64(r.n))), sealed)
			if err != nil {
				return fmt.Errorf("sqlite: content of archived message %s: %w", r.id, err)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		r.n++
		r.left -= int64(len(clear))
		r.part.Reset(clear)
	}
	return r.part.Read(p)
}

// Close implements io.Closer.
func (r *archiveReader) Close() error { return nil }

// ArchiveFiles implements store.Archive.
func (a *Archive) ArchiveFiles(context.Context) ([]store.ArchiveName, error) {
	return a.files.names("", "", "~"), nil
}

// ArchiveFile implements store.Archive.
func (a *Archive) ArchiveFile(ctx context.Context, n store.ArchiveName) (store.ArchiveFile, error) {
	f := store.ArchiveFile{ArchiveName: n}
	err := a.files.use(ctx, n, false, func(d *database) error {
		err := d.row(ctx, "list archive", "SELECT coalesce((SELECT keep_days FROM about), 0), (SELECT count(*) FROM messages)", nil, &f.KeepDays, &f.Messages)
		if err != nil {
			return err
		}
		info, err := os.Stat(d.path)
		if err != nil {
			return fmt.Errorf("sqlite: list archive: %w", err)
		}
		f.Octets = info.Size()
		return nil
	})
	return f, err
}
