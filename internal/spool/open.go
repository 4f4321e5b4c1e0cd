package spool

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// Open opens the spool in o.Dir, or makes one. It finishes what a crash interrupted: content nobody refers to and
// stages without a message are removed, open marks counted. It returns ErrLocked when another process has it open,
// and a DamageError when a file cannot be read.
func Open(ctx context.Context, o Options) (*Spool, error) {
	if o.Dir == "" {
		return nil, errors.New("spool: no folder given")
	}
	o = withDefaults(o)
	s := &Spool{
		o:          o,
		syncing:    make(chan *frame, framesInSync),
		notify:     make(chan struct{}, 1),
		notifyOwed: make(chan struct{}, 1),
		left:       make(map[mail.MessageID]int64),
		memory:     newMemory(),
		started:    o.Now(),
	}
	s.failure.ch = make(chan struct{})
	s.backlog.init()
	s.cache.budget = o.MemoryBudget
	s.tap = &pebbleLog{log: o.Logger, fail: s.fail}
	if err := s.openFiles(); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		s.closeFiles()
		return nil, err
	}
	s.helper.start()
	s.loops.Add(2)
	go func() { defer s.loops.Done(); s.commitLoop() }()
	go func() { defer s.loops.Done(); s.syncLoop() }()
	if err := s.recover(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func withDefaults(o Options) Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemoryBudget == 0 {
		o.MemoryBudget = DefaultMemoryBudget
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	if o.MaxInline == 0 {
		o.MaxInline = DefaultMaxInline
	}
	if o.MemTable == 0 {
		o.MemTable = DefaultMemTable
	}
	if o.BlockCache == 0 {
		o.BlockCache = DefaultBlockCache
	}
	if o.Verify == 0 {
		o.Verify = DefaultVerify
	}
	if o.FreeSpace == nil {
		o.FreeSpace = func(dir string) (uint64, uint64, error) {
			u, err := o.FS.GetDiskUsage(dir)
			return u.AvailBytes, u.TotalBytes, err
		}
	}
	return o
}

// openFiles makes the folders, takes the lock and opens Pebble.
func (s *Spool) openFiles() (err error) {
	fs, dir := s.o.FS, s.o.Dir
	for _, d := range []string{contentDir, quarantineDir} {
		if err := fs.MkdirAll(fs.PathJoin(dir, d), 0o700); err != nil {
			return fmt.Errorf("spool: make folder: %w", err)
		}
	}
	if err := syncPath(fs, dir); err != nil {
		return err
	}
	if err := syncPath(fs, fs.PathDir(dir)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	if s.lock, err = takeLock(fs, dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.closeFiles()
		}
	}()
	if err := writeOwner(fs, dir, s.o.Now()); err != nil {
		return err
	}
	if s.contents.dir, err = fs.OpenDir(fs.PathJoin(dir, contentDir)); err != nil {
		return fmt.Errorf("spool: open content folder: %w", err)
	}
	if _, err := fs.Stat(fs.PathJoin(dir, dbDir)); errors.Is(err, os.ErrNotExist) {
		if err := s.create(); err != nil {
			return fmt.Errorf("spool: create: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("spool: open: %w", err)
	}
	po := s.pebbleOptions()
	po.ErrorIfNotExists = true
	s.db, err = openPebble(fs.PathJoin(dir, dbDir), po, s.tap)
	return err
}

func (s *Spool) pebbleOptions() *pebble.Options {
	return pebbleOptions(s.o.FS, s.o.MemTable, s.o.BlockCache, s.tap)
}

// create makes the database of a new spool, with its identity. It gets its name when it is complete: after a power
// loss in between, it is begun anew.
func (s *Spool) create() error {
	fs := s.o.FS
	path := fs.PathJoin(s.o.Dir, newDir)
	if err := fs.RemoveAll(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	db, err := openPebble(path, s.pebbleOptions(), s.tap)
	if err != nil {
		return err
	}
	var id [4]byte
	for binary.BigEndian.Uint32(id[:]) == 0 { // zero stands for the store
		_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	}
	b := db.NewBatch()
	setIdentity(b, &state{oldest: 1, id: mail.SpoolID(binary.BigEndian.Uint32(id[:]))})
	err = errors.Join(b.Commit(pebble.Sync), b.Close())
	if e := db.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncPath(fs, path)
	}
	if err == nil {
		err = fs.Rename(path, fs.PathJoin(s.o.Dir, dbDir))
	}
	if err == nil {
		err = syncPath(fs, s.o.Dir)
	}
	return err
}

func openPebble(dir string, po *pebble.Options, log *pebbleLog) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, &DamageError{File: inFolder(po.FS, dir, log.damaged()), Err: fmt.Errorf("%v", r)}
		}
	}()
	db, err = pebble.Open(dir, po)
	if err == nil {
		return db, nil
	}
	if pebble.IsCorruptionError(err) {
		file := log.damaged()
		if file == "" {
			file = fileName(fmt.Sprintf("%+v", err))
		}
		return nil, &DamageError{File: inFolder(po.FS, dir, file), Err: err}
	}
	return nil, fmt.Errorf("spool: open %s: %w", dir, err)
}

// inFolder adds the folder to a file's name where Pebble did not tell it.
func inFolder(fs vfs.FS, dir, file string) string {
	if file == "" || fs.PathBase(file) != file {
		return file
	}
	return fs.PathJoin(dir, file)
}

func syncPath(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("spool: open folder: %w", err)
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("spool: sync folder: %w", err)
	}
	return nil
}

func takeLock(fs vfs.FS, dir string) (io.Closer, error) {
	lock, err := fs.Lock(fs.PathJoin(dir, lockFile))
	if err == nil {
		return lock, nil
	}
	// The operating system says EAGAIN or EACCES; Pebble has words of its own for this process.
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "held by current process") {
		return nil, fmt.Errorf("%w: %s is in use by %s; stop it first, or name another folder", ErrLocked, dir, readOwner(fs, dir))
	}
	return nil, fmt.Errorf("spool: lock %s: %w", dir, err)
}

// writeOwner leaves a note for the error of a second process. It is a convenience and not synced.
func writeOwner(fs vfs.FS, dir string, now time.Time) error {
	f, err := fs.Create(fs.PathJoin(dir, ownerFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("spool: note owner: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	_, err = fmt.Fprintf(f, "process %d on %s since %s", os.Getpid(), host, now.UTC().Format(time.RFC3339))
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("spool: note owner: %w", err)
	}
	return nil
}

func readOwner(fs vfs.FS, dir string) string {
	f, err := fs.Open(fs.PathJoin(dir, ownerFile))
	if err != nil {
		return "another process"
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 300))
	if err != nil || len(text) == 0 {
		return "another process"
	}
	return string(text)
}

// load reads what must be known before the committer starts.
func (s *Spool) load(ctx context.Context) error {
	format, err := readUint32(s.db, keyFormat)
	if errors.Is(err, pebble.ErrNotFound) {
		return &DamageError{File: s.o.FS.PathJoin(s.o.Dir, dbDir), Err: errors.New("the record of the spool's format is missing")}
	}
	if err != nil {
		return s.readError(err)
	}
	if format != formatVersion {
		return fmt.Errorf("spool: %s has format %d; this program knows format %d", s.o.Dir, format, formatVersion)
	}
	id, err := readUint32(s.db, keyID)
	if err != nil {
		return s.readError(err)
	}
	s.id = mail.SpoolID(id)
	if err := s.loadState(); err != nil {
		return err
	}
	if err := s.verify(ctx); err != nil {
		return err
	}
	return s.loadSets(ctx)
}

func (s *Spool) loadState() error {
	v, closer, err := s.db.Get(keyState)
	if err != nil {
		return s.readError(err)
	}
	defer closer.Close()
	if err := s.st.decode(v); err != nil {
		return &DamageError{File: s.o.FS.PathJoin(s.o.Dir, dbDir), Err: fmt.Errorf("state record: %w", err)}
	}
	s.st.id = s.id // a spool of before does not have it in its state
	s.opened = s.st.newest
	s.seen.st, s.seen.shown = s.st, s.st.event
	return nil
}

// loadSets reads the small tables that are kept in memory.
func (s *Spool) loadSets(ctx context.Context) error {
	s.seen.lanes = make(map[string]struct{})
	s.seen.hours = make(map[uint32]struct{})
	s.seen.marks = make(map[mail.DeliveryID]struct{})
	err := s.scan(ctx, []byte{tabLane}, []byte{tabLane + 1}, func(key, _ []byte) (bool, error) {
		s.seen.lanes[string(key[1:])] = struct{}{}
		return true, nil
	})
	if err != nil {
		return err
	}
	err = s.scan(ctx, []byte{tabMark}, []byte{tabMark + 1}, func(key, _ []byte) (bool, error) {
		if len(key) == 1+idLen {
			s.seen.marks[mail.DeliveryID(key[1:])] = struct{}{}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return s.loadHours()
}

// verify reads every record but content, so that a damaged block is found now and not in the middle of the work.
// Content is checked when it is read. A spool over Options.Verify is not read whole; Check does that.
func (s *Spool) verify(ctx context.Context) error {
	if s.o.Verify < 0 {
		return nil
	}
	size, err := s.db.EstimateDiskUsage([]byte{tabContent + 1}, []byte{0xff})
	if err != nil {
		return s.readError(err)
	}
	if size > uint64(s.o.Verify) {
		s.o.Logger.Info("the spool is too large to be verified at start; `postroad spool check` does it")
		return nil
	}
	all := func(_, _ []byte) (bool, error) { return true, nil }
	if err := s.scan(ctx, []byte{0}, []byte{tabContent}, all); err != nil {
		return err
	}
	return s.scan(ctx, []byte{tabContent + 1}, []byte{0xff}, all)
}

// recover finishes what a crash interrupted.
func (s *Spool) recover(ctx context.Context) error {
	if err := s.removeOrphans(ctx); err != nil {
		return err
	}
	if err := s.recoverStages(ctx); err != nil {
		return err
	}
	if err := s.countCrashes(ctx); err != nil {
		return err
	}
	s.helper.add(func() {
		if err := s.makeBallast(); err != nil {
			s.o.Logger.Warn("no ballast file", mail.LogErr, err)
		}
	})
	return nil
}

// Close waits for what was handed in, and closes the spool.
func (s *Spool) Close() error {
	s.gate.RLock()
	closed := s.closed
	s.gate.RUnlock()
	if closed {
		return ErrClosed
	}
	s.backlog.close(ErrClosed)
	s.loops.Wait()
	s.helper.close()
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	err := s.closeFiles()
	if e := s.Err(); e != nil {
		return e
	}
	return err
}

// closeFiles closes what openFiles has opened so far.
func (s *Spool) closeFiles() error {
	if s.wedged.Load() {
		// Pebble holds locks for ever after its panic. The process is about to end; until then nobody else may have
		// the folder.
		return nil
	}
	var err error
	if s.db != nil {
		err = s.closePebble()
	}
	if s.contents.dir != nil {
		if e := s.contents.dir.Close(); err == nil {
			err = e
		}
	}
	if s.lock != nil {
		if e := s.lock.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("spool: close: %w", err)
	}
	return nil
}

// closePebble closes the database; on a broken disk Pebble may panic even here.
func (s *Spool) closePebble() (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.wedged.Store(true)
			err = fmt.Errorf("%v", r)
		}
	}()
	return s.db.Close()
}
