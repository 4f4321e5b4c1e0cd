// Package spooltest holds what tests of several rooms need to let the power of a spool's disk fail.
package spooltest

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// CrashFS is vfs.NewCrashableMem, of which clones may be taken while others use it. MemFS itself takes its read lock twice in Lock and
// ReuseForWrite: a CrashClone that begins to wait in between waits for ever, and everybody with it.
type CrashFS struct {
	*vfs.MemFS
	mu sync.RWMutex
}

// NewCrashFS returns an empty one.
func NewCrashFS() *CrashFS { return &CrashFS{MemFS: vfs.NewCrashableMem()} }

// CrashClone is MemFS.CrashClone.
func (fs *CrashFS) CrashClone(c vfs.CrashCloneCfg) *CrashFS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return &CrashFS{MemFS: fs.MemFS.CrashClone(c)}
}

// Lock implements vfs.FS.
func (fs *CrashFS) Lock(name string) (io.Closer, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.MemFS.Lock(name)
}

// ReuseForWrite implements vfs.FS.
func (fs *CrashFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.MemFS.ReuseForWrite(oldname, newname, category)
}

// Unwrap implements vfs.FS.
func (fs *CrashFS) Unwrap() vfs.FS { return fs.MemFS }
