package projector

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// FileOptions say where and how event files are written: one JSON object a line, as the API shows events, for a log
// system to read. They are written at least once: after a loss of power some lines may come twice, never not at all.
type FileOptions struct {
	// Dir is the folder; it is made if missing.
	Dir string
	// Off writes nothing; EraseFiles looks at what was written before all the same.
	Off bool
	// MaxSize is when the next file is begun, in octets; a new day (UTC) begins one too. 0: DefaultFileSize.
	MaxSize int64
	// MaxFiles is how many files of a spool are kept; the oldest go. 0: DefaultFiles.
	MaxFiles int
}

// Defaults of FileOptions: together about 2 GB, three million events.
const (
	DefaultFileSize = 64 << 20
	DefaultFiles    = 32

	// fileSync is how long lines may be in a file unsynced; the outbox keeps them much longer.
	fileSync = time.Second
)

// eventFiles is the set of files of one spool. Projector.fileMu guards it.
type eventFiles struct {
	opts   FileOptions
	prefix string // events-SPOOL-

	f      *os.File // nil: not open
	name   fileName
	size   int64
	pos    uint64 // the last event written
	synced uint64 // the last event on disk
	at     time.Time
}

// fileName is the changing part of a name, in order of time.
type fileName struct {
	day string // 20260701
	n   int
}

func newEventFiles(opts FileOptions, spool mail.SpoolID) *eventFiles {
	if opts.MaxSize <= 0 {
		opts.MaxSize = DefaultFileSize
	}
	if opts.MaxFiles <= 0 {
		opts.MaxFiles = DefaultFiles
	}
	return &eventFiles{opts: opts, prefix: "events-" + spool.String() + "-"}
}

// writeFiles follows the outbox until ctx ends.
func (p *Projector) writeFiles(ctx context.Context) {
	var logged time.Time
	pause := firstPause
	for ctx.Err() == nil {
		p.fileMu.Lock()
		more, err := p.fileStep(ctx)
		if err != nil && ctx.Err() == nil {
			p.files.abandon()
		}
		synced := p.files.synced
		p.fileMu.Unlock()
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			if pause != firstPause {
				p.opts.Logger.Info("event files are written again")
				pause, logged = firstPause, time.Time{}
			}
			p.update(func(s *Status) { s.FileErr, s.FilePos = nil, synced })
			if !more {
				p.await(ctx, p.wake)
			}
			continue
		}
		if now := p.opts.Now(); logged.IsZero() || now.Sub(logged) >= logEvery {
			logged = now
			p.opts.Logger.Error("event files cannot be written", mail.LogErr, err)
		}
		p.update(func(s *Status) { s.FileErr = err })
		p.pause(ctx, pause)
		pause = min(2*pause, lastPause)
	}
	p.fileMu.Lock()
	defer p.fileMu.Unlock()
	if err := p.files.close(); err != nil {
		p.opts.Logger.Error("the event file cannot be closed", mail.LogErr, err)
	}
}

// fileStep writes what the outbox has, at most a batch, and reports whether there is more.
func (p *Projector) fileStep(ctx context.Context) (more bool, err error) {
	f := p.files
	oldest, newest := p.opts.Outbox.OutboxRange()
	if f.f == nil {
		found, err := f.open(p.opts.Now())
		if err != nil {
			return false, err
		}
		if !found && oldest > 0 {
			f.pos, f.synced = oldest-1, oldest-1 // the first file begins with what the outbox has
		}
	}
	if f.pos+1 < oldest {
		p.opts.Logger.Error("event files have a gap: the outbox was trimmed meanwhile", mail.LogErr,
			&GapError{Spool: p.opts.Outbox.ID(), From: f.pos + 1, To: oldest - 1})
		f.pos = oldest - 1
	}
	if newest > f.pos {
		events, err := p.opts.Outbox.ReadOutbox(ctx, f.pos, p.opts.Batch)
		if err != nil {
			return false, err
		}
		if err := f.write(events, p.opts.Now()); err != nil {
			return false, err
		}
		if more = len(events) == p.opts.Batch; !more {
			f.pos = max(f.pos, newest) // what is missing up to there was set aside as damaged
		}
	}
	return more, f.sync(p.opts.Now())
}

// open finds the newest file and goes on behind its last whole line. found is false when there is no line at all.
func (f *eventFiles) open(now time.Time) (found bool, err error) {
	if err := os.MkdirAll(f.opts.Dir, 0o750); err != nil {
		return false, fmt.Errorf("projector: event files: %w", err)
	}
	names, err := f.list()
	if err != nil {
		return false, err
	}
	for i, name := range slices.Backward(names) {
		pos, size, err := lastLine(f.path(name))
		if err != nil {
			return false, err
		}
		if size == 0 && i > 0 {
			// Nothing whole in it: it was begun and lost with the power.
			if err := os.Remove(f.path(name)); err != nil {
				return false, fmt.Errorf("projector: event files: %w", err)
			}
			continue
		}
		if f.f, err = os.OpenFile(f.path(name), os.O_RDWR, 0); err != nil {
			return false, fmt.Errorf("projector: event files: %w", err)
		}
		// What follows the last whole line is half a line; it will be written again.
		if err := f.f.Truncate(size); err != nil {
			return false, fmt.Errorf("projector: event files: %w", err)
		}
		if _, err := f.f.Seek(size, io.SeekStart); err != nil {
			return false, fmt.Errorf("projector: event files: %w", err)
		}
		f.name, f.size, f.pos, f.synced, f.at = name, size, pos, 0, time.Time{}
		return size > 0, nil
	}
	return false, f.begin(fileName{now.UTC().Format("20060102"), 1})
}

// begin makes a file.
func (f *eventFiles) begin(name fileName) (err error) {
	if f.f, err = os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
		return fmt.Errorf("projector: event files: %w", err)
	}
	f.name, f.size = name, 0
	if err := syncDir(f.opts.Dir); err != nil {
		return fmt.Errorf("projector: event files: %w", err)
	}
	return nil
}

// write appends events, each file no larger than MaxSize but for its last line.
func (f *eventFiles) write(events []*mail.Event, now time.Time) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("projector: event files: %w", err)
		}
		f.pos = e.ID.Seq
		if f.size+int64(b.Len()) >= f.opts.MaxSize {
			if err := f.flush(&b); err != nil {
				return err
			}
			if err := f.rotate(now); err != nil {
				return err
			}
		}
	}
	if err := f.flush(&b); err != nil {
		return err
	}
	// The clock may have gone back; names never do.
	if day := now.UTC().Format("20060102"); day > f.name.day && f.size > 0 {
		return f.rotate(now)
	}
	return nil
}

func (f *eventFiles) flush(b *bytes.Buffer) error {
	n, err := f.f.Write(b.Bytes())
	f.size += int64(n)
	b.Reset()
	if err != nil {
		return fmt.Errorf("projector: event files: %w", err)
	}
	return nil
}

// rotate ends the file, begins the next and removes the oldest ones.
func (f *eventFiles) rotate(now time.Time) error {
	next := fileName{max(now.UTC().Format("20060102"), f.name.day), 1}
	if next.day == f.name.day {
		next.n = f.name.n + 1
	}
	if err := f.close(); err != nil {
		return err
	}
	if err := f.begin(next); err != nil {
		return err
	}
	names, err := f.list()
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-f.opts.MaxFiles)] {
		if err := os.Remove(f.path(name)); err != nil {
			return fmt.Errorf("projector: event files: %w", err)
		}
	}
	return nil
}

// sync makes the lines durable, once in fileSync.
func (f *eventFiles) sync(now time.Time) error {
	if f.pos == f.synced || now.Sub(f.at).Abs() < fileSync {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("projector: event files: %w", err)
	}
	f.synced, f.at = f.pos, now
	return nil
}

// close syncs and closes the file, if one is open.
func (f *eventFiles) close() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.f.Sync(), f.f.Close())
	f.f = nil
	if err != nil {
		return fmt.Errorf("projector: event files: %w", err)
	}
	f.synced = f.pos
	return nil
}

// abandon closes the file after a failure; open finds out afterwards what is in it.
func (f *eventFiles) abandon() {
	if f.f != nil {
		_ = f.f.Close() // it has failed already
		f.f = nil
	}
}

func (f *eventFiles) path(n fileName) string {
	return filepath.Join(f.opts.Dir, fmt.Sprintf("%s%s-%04d.jsonl", f.prefix, n.day, n.n))
}

// list returns the spool's files, oldest first.
func (f *eventFiles) list() ([]fileName, error) {
	entries, err := os.ReadDir(f.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("projector: event files: %w", err)
	}
	var names []fileName
	for _, e := range entries {
		rest, isOurs := strings.CutPrefix(e.Name(), f.prefix)
		rest, isEvents := strings.CutSuffix(rest, ".jsonl")
		day, number, cut := strings.Cut(rest, "-")
		n, err := strconv.Atoi(number)
		if isOurs && isEvents && cut && len(day) == 8 && err == nil {
			names = append(names, fileName{day, n})
		}
	}
	slices.SortFunc(names, func(a, b fileName) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.n, b.n)) })
	return names, nil
}

// tailWindow is how much is read at once from a file's end; longer than any usual line.
const tailWindow = 256 << 10

// lastLine returns the sequence in the last whole line of a file, and where that line ends; 0, 0 when there is none.
func lastLine(path string) (seq uint64, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("projector: event files: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("projector: event files: %w", err)
	}
	for window := int64(tailWindow); ; window *= 8 {
		from := max(0, info.Size()-window)
		b := make([]byte, info.Size()-from)
		if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, fmt.Errorf("projector: event files: %w", err)
		}
		if seq, n, ok := lastEvent(b, from == 0); ok {
			return seq, from + int64(n), nil
		}
		if from == 0 {
			return 0, 0, nil
		}
	}
}

// lastEvent finds the last whole line of b that is an event, and where it ends. whole tells that b begins with a line.
func lastEvent(b []byte, whole bool) (seq uint64, end int, ok bool) {
	for end = bytes.LastIndexByte(b, '\n'); end >= 0; end = bytes.LastIndexByte(b[:end], '\n') {
		begin := bytes.LastIndexByte(b[:end], '\n') + 1
		if begin == 0 && !whole {
			return 0, 0, false
		}
		var line struct {
			ID mail.EventID `json:"id"`
		}
		if json.Unmarshal(b[begin:end], &line) == nil && line.ID.Seq > 0 {
			return line.ID.Seq, end + 1, true
		}
	}
	return 0, 0, false
}
