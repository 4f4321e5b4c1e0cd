package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// Names below the spool's folder.
const (
	dbDir         = "db"
	newDir        = "db.new" // a database being made
	lockFile      = "LOCK"
	contentDir    = "content"
	quarantineDir = "quarantine"
	ballastFile   = "ballast"
	ownerFile     = "owner"
	contentSuffix = ".eml"
)

// contentBuffer is how much of a content is written at once, in octets.
const contentBuffer = 64 << 10

// spaceEvery is how much content is written between two looks at the free disk space, in octets.
const spaceEvery = 4 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// contents are the content files that no frame refers to yet.
type contents struct {
	dirMu sync.Mutex
	dir   vfs.File // for syncing

	mu sync.Mutex
	m  map[mail.MessageID]*pendingContent
}

type pendingContent struct {
	done    bool
	claimed bool // a frame that refers to it is being built or synced
	size    int64
	sum     uint32
}

// finished returns the size and checksum of a content file that is complete and synced.
func (c *contents) finished(id mail.MessageID) (pendingContent, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.m[id]
	if p == nil || !p.done {
		return pendingContent{}, false
	}
	return *p, true
}

func (c *contents) begin(id mail.MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[mail.MessageID]*pendingContent)
	}
	if c.m[id] != nil {
		return false
	}
	c.m[id] = new(pendingContent)
	return true
}

func (c *contents) finish(id mail.MessageID, size int64, sum uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.m[id] = pendingContent{done: true, size: size, sum: sum}
}

// claim takes a finished file for a frame: from then on Abort leaves it alone. unclaim takes that back.
func (c *contents) claim(id mail.MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.m[id]
	if p == nil || !p.done || p.claimed {
		return false
	}
	p.claimed = true
	return true
}

func (c *contents) unclaim(id mail.MessageID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.m[id]; p != nil {
		p.claimed = false
	}
}

// giveUp forgets a file unless a frame has claimed it or refers to it, and reports whether it did.
func (c *contents) giveUp(id mail.MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.m[id]
	if p == nil || p.claimed {
		return false
	}
	delete(c.m, id)
	return true
}

func (c *contents) pending(id mail.MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[id] != nil
}

func (c *contents) forget(id mail.MessageID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, id)
}

func (c *contents) syncDir() error {
	c.dirMu.Lock()
	defer c.dirMu.Unlock()
	return c.dir.Sync()
}

// ContentWriter writes content too large for a frame to a file of its own. It is used by one goroutine.
type ContentWriter struct {
	s     *Spool
	id    mail.MessageID
	file  vfs.File
	buf   []byte
	size  int64
	check int64 // size at which to look at the disk space again
	sum   uint32
	err   error
	state contentState
}

type contentState uint8

const (
	contentOpen contentState = iota
	contentFinished
	contentAborted
)

// NewContent begins the content file of a message. It returns ErrDiskFull below the disk floor. Finish or Abort must
// follow, and Abort too when the message is not accepted after Finish.
func (s *Spool) NewContent(id mail.MessageID) (*ContentWriter, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.Err(); err != nil {
		return nil, err
	}
	if s.Space().Low {
		return nil, ErrDiskFull
	}
	if id.IsZero() || !s.contents.begin(id) {
		return nil, badBatch("content of message %q was begun before", id)
	}
	f, err := s.o.FS.Create(s.contentPath(id), vfs.WriteCategoryUnspecified)
	if err != nil {
		s.contents.forget(id)
		return nil, fmt.Errorf("spool: create content: %w", err)
	}
	return &ContentWriter{s: s, id: id, file: f, buf: make([]byte, 0, contentBuffer), check: spaceEvery}, nil
}

// Write implements io.Writer. After an error only Abort is of use.
func (w *ContentWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.state != contentOpen {
		return 0, os.ErrClosed
	}
	if w.size+int64(len(p)) > w.check {
		w.check += spaceEvery + int64(len(p))
		if w.s.Space().Low {
			w.err = ErrDiskFull
			return 0, w.err
		}
	}
	written := 0
	for len(p) > 0 {
		// Always through the buffer: a vfs.File may change what it is given.
		n := copy(w.buf[len(w.buf):cap(w.buf)], p)
		w.buf = w.buf[:len(w.buf)+n]
		w.sum = crc32.Update(w.sum, castagnoli, p[:n])
		w.size += int64(n)
		written += n
		p = p[n:]
		if len(w.buf) == cap(w.buf) {
			if w.err = w.flush(); w.err != nil {
				return written, w.err
			}
		}
	}
	return written, nil
}

func (w *ContentWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.file.Write(w.buf); err != nil {
		return fmt.Errorf("spool: write content: %w", err)
	}
	w.buf = w.buf[:0]
	return nil
}

// Size returns the octets written so far.
func (w *ContentWriter) Size() int64 { return w.size }

// Finish makes the content durable, file and folder; the message may then be accepted with Content.External set.
func (w *ContentWriter) Finish() error {
	if w.err != nil {
		return w.err
	}
	if w.state != contentOpen {
		return os.ErrClosed
	}
	w.err = w.finish()
	return w.err
}

func (w *ContentWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("spool: sync content: %w", err)
	}
	f := w.file
	w.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("spool: close content: %w", err)
	}
	if err := w.s.contents.syncDir(); err != nil {
		return fmt.Errorf("spool: sync content folder: %w", err)
	}
	w.state = contentFinished
	w.s.contents.finish(w.id, w.size, w.sum)
	return nil
}

// Abort removes the content. It does nothing once the message was accepted, so it may be deferred.
func (w *ContentWriter) Abort() error {
	if w.state == contentAborted {
		return nil
	}
	w.state = contentAborted
	if w.file != nil {
		_ = w.file.Close() // the file is removed
		w.file = nil
	}
	s := w.s
	if err := s.enter(); err != nil {
		return nil // the next open removes it
	}
	defer s.leave()
	if !s.contents.giveUp(w.id) {
		return nil
	}
	if err := s.o.FS.Remove(s.contentPath(w.id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: remove content: %w", err)
	}
	return nil
}

func (s *Spool) contentPath(id mail.MessageID) string {
	return s.o.FS.PathJoin(s.o.Dir, contentDir, id.String()+contentSuffix)
}

// Body returns the stored content of a live message: from memory, from its frame or from its file. It returns
// ErrNotFound or a DamageError.
func (s *Spool) Body(_ context.Context, id mail.MessageID) (mail.Body, error) {
	if b, ok := s.cache.get(id); ok {
		return mail.BytesBody(b), nil
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	v, closer, err := s.db.Get(idKey(nil, tabContent, id))
	if err == nil {
		defer closer.Close()
		return mail.BytesBody(append([]byte(nil), v...)), nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return nil, s.readError(err)
	}
	m, err := s.message(id)
	if err != nil {
		return nil, err
	}
	path := s.contentPath(id)
	if !m.Content.External {
		return nil, &DamageError{File: path, Err: errors.New("the content of a live message is missing")}
	}
	if _, err := s.o.FS.Stat(path); err != nil {
		return nil, &DamageError{File: path, Err: err}
	}
	return &fileBody{fs: s.o.FS, path: path, size: m.Size, sum: m.checksum}, nil
}

// fileBody is content in a file. Open fails once the message is gone.
type fileBody struct {
	fs   vfs.FS
	path string
	size int64
	sum  uint32
}

// Size implements mail.Body.
func (b *fileBody) Size() int64 { return b.size }

// Bytes implements mail.Body.
func (b *fileBody) Bytes() []byte { return nil }

// Open implements mail.Body. The reader returns a DamageError instead of io.EOF when the content is not what was
// written.
func (b *fileBody) Open() (io.ReadCloser, error) {
	f, err := b.fs.Open(b.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, fmt.Errorf("spool: open content: %w", err)
	}
	return &fileReader{body: b, file: f}, nil
}

type fileReader struct {
	body *fileBody
	file vfs.File
	size int64
	sum  uint32
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	r.size += int64(n)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	switch {
	case r.size > r.body.size, err == io.EOF && (r.size != r.body.size || r.sum != r.body.sum):
		return n, &DamageError{File: r.body.path, Err: errors.New("content differs from what was accepted")}
	}
	return n, err
}

func (r *fileReader) Close() error { return r.file.Close() }

// isExternal reports whether a message's content is in a file. When that cannot be told it says yes: the file, if
// any, is then removed, and content in the spool is left for Check to name.
func (s *Spool) isExternal(id mail.MessageID) bool {
	m, err := s.message(id)
	return err != nil || m.Content.External
}

// removeContent removes the content file of a message that is over.
func (s *Spool) removeContent(id mail.MessageID) {
	if err := s.o.FS.Remove(s.contentPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.o.Logger.Warn("a content file cannot be removed", mail.LogMsg, id, mail.LogErr, err)
	}
}

// removeOrphans removes content files that belong to no message.
func (s *Spool) removeOrphans(ctx context.Context) error {
	dir := s.o.FS.PathJoin(s.o.Dir, contentDir)
	names, err := s.o.FS.List(dir)
	if err != nil {
		return fmt.Errorf("spool: list content: %w", err)
	}
	n := 0
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, ok := contentName(name)
		// Order matters: an acceptance writes the message first and then stops to be pending.
		if !ok || s.contents.pending(id) || s.has(idKey(nil, tabMessage, id)) {
			continue
		}
		if err := s.o.FS.Remove(s.o.FS.PathJoin(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("spool: remove orphan content: %w", err)
		}
		n++
	}
	if n > 0 {
		s.o.Logger.Info(fmt.Sprintf("%d content files of mail that was never accepted, or is over, were removed", n))
	}
	return nil
}

func contentName(name string) (id mail.MessageID, ok bool) {
	text, ok := strings.CutSuffix(name, contentSuffix)
	if !ok {
		return id, false
	}
	id, err := mail.ParseMessageID(text)
	return id, err == nil
}
