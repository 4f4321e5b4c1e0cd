package spooltest

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Clones are taken while files are locked and used again.
func TestCrashFS(t *testing.T) {
	fs := NewCrashFS()
	f, err := fs.Create("/a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const rounds = 300
	wg.Go(func() {
		for range rounds {
			fs.CrashClone(vfs.CrashCloneCfg{})
		}
	})
	wg.Go(func() {
		for range rounds {
			lock, err := fs.Lock("/lock")
			if err != nil {
				t.Error(err)
				return
			}
			if err := lock.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	from, to := "/a", "/b"
	for range rounds {
		f, err := fs.ReuseForWrite(from, to, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Error(err)
			break
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		from, to = to, from
	}
	wg.Wait()
}
