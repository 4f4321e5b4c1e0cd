package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// Space is the disk the spool lies on, in octets.
type Space struct {
	Free, Total uint64
	// Floor is the free space below which no new mail is taken.
	Floor uint64
	// Low reports that Free is below Floor.
	Low bool
}

// space remembers what was logged, so that a full disk is told once.
type space struct {
	mu     sync.Mutex
	low    bool
	failed bool
}

// Space asks for the free disk space. A file system that cannot tell counts as having enough.
func (s *Spool) Space() Space {
	free, total, err := s.o.FreeSpace(s.o.Dir)
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if err != nil {
		if !s.space.failed && !errors.Is(err, vfs.ErrUnsupported) {
			s.o.Logger.Error("the free disk space cannot be read: mail is taken without a floor", mail.LogErr, err)
		}
		s.space.failed = true
		return Space{}
	}
	s.space.failed = false
	floor := s.o.MinFree
	if floor == 0 {
		floor = max(DefaultMinFree, total/DefaultMinFreePart)
	}
	sp := Space{Free: free, Total: total, Floor: floor, Low: free < floor}
	if sp.Low != s.space.low {
		s.space.low = sp.Low
		if sp.Low {
			s.o.Logger.Error(fmt.Sprintf("no new mail is taken: %d MiB free on the disk of %s, the floor is %d MiB", free>>20, s.o.Dir, floor>>20))
		} else {
			s.o.Logger.Info(fmt.Sprintf("new mail is taken again: %d MiB free on the disk of %s", free>>20, s.o.Dir))
		}
	}
	return sp
}

// Maintain is to be called each minute. It drops expired idempotency records, removes content files that belong to
// nothing, makes the ballast file again when there is room, and notes the time in the spool.
func (s *Spool) Maintain(ctx context.Context) error {
	if err := s.dropIdempotency(ctx, s.o.Now()); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	err := s.removeOrphans(ctx)
	if err == nil {
		err = s.makeBallast()
	}
	s.leave()
	if err != nil {
		return err
	}
	// An otherwise empty frame: its state record carries the time.
	return s.do(ctx, &item{size: keyOverhead, job: func(f *frame) error {
		f.wrote = true
		return nil
	}})
}

// makeBallast makes the ballast file when it is missing and the disk has room for it above the floor.
func (s *Spool) makeBallast() error {
	if s.o.Ballast <= 0 {
		return nil
	}
	path := s.o.FS.PathJoin(s.o.Dir, ballastFile)
	if info, err := s.o.FS.Stat(path); err == nil && info.Size() >= s.o.Ballast {
		return nil
	}
	if sp := s.Space(); sp.Low || sp.Total > 0 && sp.Free < sp.Floor+2*uint64(s.o.Ballast) {
		return nil
	}
	f, err := s.o.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("spool: make ballast: %w", err)
	}
	err = fill(f, s.o.Ballast)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = s.o.FS.Remove(path) // a part of a ballast is of no use
		return fmt.Errorf("spool: make ballast: %w", err)
	}
	return nil
}

// fill writes size octets that no file system can compress away.
func fill(f vfs.File, size int64) error {
	if err := f.Preallocate(0, size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	block := make([]byte, 1<<20)
	x := uint64(0x9e3779b97f4a7c15)
	for size > 0 {
		for i := range block {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			block[i] = byte(x)
		}
		n := min(size, int64(len(block)))
		if _, err := f.Write(block[:n]); err != nil {
			return err
		}
		size -= n
	}
	return f.Sync()
}

// Free removes the ballast file of the spool in dir, which may be open in another process, so that a full disk has room to work
// again, and returns the octets it held: 0 where there was none. Maintain makes it anew once there is space. fs nil: the operating system's file system.
func Free(dir string, fs vfs.FS) (freed int64, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	if err := isSpool(fs, dir); err != nil {
		return 0, err
	}
	path := fs.PathJoin(dir, ballastFile)
	info, err := fs.Stat(path)
	if err == nil {
		err = fs.Remove(path)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("spool: release ballast: %w", err)
	}
	return info.Size(), nil
}
