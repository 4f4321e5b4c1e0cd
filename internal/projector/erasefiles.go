package projector

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ErrFilesBehind is returned by EraseFiles while events are not in the event files yet.
var ErrFilesBehind = errors.New("projector: the event files are behind")

// filesWait bounds how long EraseFiles waits for the event files to catch up, and filesLook how often it looks.
const (
	filesWait = 10 * time.Second
	filesLook = 50 * time.Millisecond
)

// rewriting ends the name of a file that is to take the place of another.
const rewriting = ".rewriting"

// EraseFiles passes every whole line of the event files through fn, line end included, writes the lines anew that fn changes
// and returns how many. All events that were committed when it is called are looked at, or the error is ErrFilesBehind.
// Files of before, when events were written to files and are no more, or of another spool, are looked at too.
//
// A file that changes is written beside its place, synced and renamed: at any instant it is whole, old or new. Order, ids
// and times stay; the file is another one to whoever follows it by inode.
func (p *Projector) EraseFiles(ctx context.Context, fn func(line []byte) []byte) (lines int64, err error) {
	if p.opts.Files == nil {
		return 0, nil
	}
	if p.files != nil {
		if err := p.filesReach(ctx); err != nil {
			return 0, err
		}
	}
	dir := p.opts.Files.Dir
	left, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"+rewriting))
	if err != nil {
		return 0, fmt.Errorf("projector: event files: %w", err)
	}
	for _, name := range left { // of a process that died
		if err := os.Remove(name); err != nil {
			return 0, fmt.Errorf("projector: event files: %w", err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
	if err != nil {
		return 0, fmt.Errorf("projector: event files: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return lines, err
		}
		n, err := p.eraseFile(name, fn)
		if err != nil {
			return lines, fmt.Errorf("projector: event file %s: %w", filepath.Base(name), err)
		}
		lines += n
	}
	return lines, nil
}

// filesReach waits until what is committed now is in the event files.
func (p *Projector) filesReach(ctx context.Context) error {
	_, newest := p.opts.Outbox.OutboxRange()
	for deadline := p.opts.Now().Add(filesWait); ; {
		s := p.Status()
		switch {
		case s.FilePos >= newest:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case s.FileErr != nil:
			return fmt.Errorf("%w: %w", ErrFilesBehind, s.FileErr)
		case p.opts.Now().After(deadline):
			return ErrFilesBehind
		}
		p.pause(ctx, filesLook)
	}
}

// eraseFile rewrites one file, which nobody writes to or removes meanwhile.
func (p *Projector) eraseFile(name string, fn func(line []byte) []byte) (lines int64, err error) {
	p.fileMu.Lock()
	defer p.fileMu.Unlock()
	if f := p.files; f != nil && f.f != nil && f.path(f.name) == name {
		if err := f.close(); err != nil { // it goes on behind the last line when it is opened again
			return 0, err
		}
	}
	from, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // it has been rotated away
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = from.Close() }() // only read
	if lines, err = eachLine(from, io.Discard, fn); err != nil || lines == 0 {
		return 0, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return lines, replaceFile(from, func(to io.Writer) error {
		_, err := eachLine(from, to, fn)
		return err
	})
}

// eachLine copies lines through fn and returns how many it changed. Half a line at the end is copied as it is.
func eachLine(from io.Reader, to io.Writer, fn func(line []byte) []byte) (changed int64, err error) {
	r, w := bufio.NewReaderSize(from, 256<<10), bufio.NewWriterSize(to, 256<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return changed, err
		}
		now := line
		if err == nil {
			if now = fn(line); !bytes.Equal(now, line) {
				changed++
			}
		}
		if _, err := w.Write(now); err != nil {
			return changed, err
		}
		if err != nil {
			return changed, w.Flush()
		}
	}
}

// replaceFile puts what write writes in the place of a file, with its mode and times, and returns when it is on disk.
func replaceFile(old *os.File, write func(io.Writer) error) (err error) {
	info, err := old.Stat()
	if err != nil {
		return err
	}
	beside := old.Name() + rewriting
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(beside))
		}
	}()
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Chtimes(beside, info.ModTime(), info.ModTime())
	}
	if err == nil {
		err = os.Rename(beside, old.Name())
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(old.Name()))
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
