package spool

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// pebbleFormat is set explicitly: a newer Pebble must not move a spool to a format an older program cannot read
// without a decision of ours. This one has sync offsets in the log, which tell a torn tail from damage.
const pebbleFormat = pebble.FormatTableFormatV6

// pebbleOptions are chosen for records of a few hundred octets and bodies of a few thousand, most of which live for
// seconds: a memtable large enough that they die in it, and little memory beside.
func pebbleOptions(fs vfs.FS, memTable, blockCache int, log *pebbleLog) *pebble.Options {
	o := &pebble.Options{
		FS:                          orderedFS{fs},
		FormatMajorVersion:          pebbleFormat,
		Merger:                      counterMerger,
		MemTableSize:                uint64(memTable),
		MemTableStopWritesThreshold: 4,
		CacheSize:                   int64(blockCache),
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                1000,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		LoggerAndTracer:             log,
	}
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { log.Errorf("background work failed: %v", err) },
		DataCorruption:  func(i pebble.DataCorruptionInfo) { log.corrupt(i.Path) },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return o
}

// orderedFS syncs a folder before a marker is made in it. Pebble makes a manifest and then the marker that names it,
// and syncs the folder once, after both: where a file system does not keep the order of a folder's changes, the marker
// alone could survive a power loss, and the database would not open.
type orderedFS struct{ vfs.FS }

// Create implements vfs.FS.
func (fs orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := syncPath(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, category)
}

// Unwrap implements vfs.FS.
func (fs orderedFS) Unwrap() vfs.FS { return fs.FS }

// pebbleLog passes Pebble's messages on, and remembers which file it found damaged.
type pebbleLog struct {
	log  *slog.Logger
	fail func(error) // told before Fatalf panics; may be nil

	mu   sync.Mutex
	file string
}

// Infof implements pebble.Logger. Pebble tells of every flush and compaction.
func (l *pebbleLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l *pebbleLog) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if name := fileName(text); name != "" {
		l.corrupt(name)
	}
	l.log.Error("pebble: " + text)
}

// Fatalf implements pebble.Logger. Pebble cannot go on after it. In the committer the panic is caught and the spool
// stops; anywhere else it ends the process, which is as safe: nothing unsynced was acknowledged.
func (l *pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if l.fail != nil {
		l.fail(err)
	}
	panic(err)
}

// Eventf implements pebble.LoggerAndTracer.
func (l *pebbleLog) Eventf(context.Context, string, ...any) {}

// IsTracingEnabled implements pebble.LoggerAndTracer.
func (l *pebbleLog) IsTracingEnabled(context.Context) bool { return false }

func (l *pebbleLog) corrupt(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == "" {
		l.file = path
		l.log.Error("a file of the spool is damaged: "+path, mail.LogErr, path)
	}
}

// damaged returns the file found damaged, or "".
func (l *pebbleLog) damaged() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file
}

var (
	fileNames = regexp.MustCompile(`[^\s"':]*\b(\d{6,}\.(?:log|sst|blob)|MANIFEST-\d{6,}|OPTIONS-\d{6,}|CURRENT|marker\.[\w.-]+)`)
	walNumber = regexp.MustCompile(`\bwal (\d+)\b`)
)

// fileName finds the name of a file of Pebble's in one of its messages.
func fileName(text string) string {
	if m := walNumber.FindStringSubmatch(text); m != nil {
		return strings.Repeat("0", max(0, 6-len(m[1]))) + m[1] + ".log"
	}
	return fileNames.FindString(text)
}
