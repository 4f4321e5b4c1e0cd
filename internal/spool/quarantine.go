package spool

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// quarantine sets a record aside that cannot be decoded: under its key behind tabQuarantine, and as a file for
// people. The read that met it goes on without it. It returns at once; the helper does the work.
func (s *Spool) quarantine(key, value []byte, what string) {
	key, value = bytes.Clone(key), bytes.Clone(value)
	s.helper.add(func() { s.setAside(key, value, what) })
}

func (s *Spool) setAside(key, value []byte, what string) {
	err := s.do(context.Background(), &item{size: len(key)*2 + len(value), job: func(f *frame) error {
		v, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return errSetAside
		}
		if err != nil {
			return err
		}
		same := bytes.Equal(v, value)
		_ = closer.Close()
		if !same {
			return errSetAside
		}
		f.set(append([]byte{tabQuarantine}, key...), value)
		f.delete(key)
		f.st.counts.Quarantined++
		if key[0] == tabInbox {
			f.st.counts.Inbox--
		}
		// A delivery or message stays counted: its locator stays too, so that whoever has it in memory can still
		// settle it, which ends the count.
		return nil
	}})
	switch {
	case errors.Is(err, errSetAside):
		return
	case err != nil:
		s.o.Logger.Error("a damaged record could not be set aside: "+what, mail.LogErr, err)
		return
	}
	path := s.o.FS.PathJoin(s.o.Dir, quarantineDir, hex.EncodeToString(shortKey(key))+".record")
	s.o.Logger.Error("a damaged record was set aside: "+what, mail.LogErr, path)
	if err := writeFile(s.o.FS, path, fmt.Appendf(nil, "%s\nkey %x\nvalue %x\n", what, key, value)); err != nil {
		s.o.Logger.Error("a damaged record could not be written to a file", mail.LogErr, err)
	}
}

// errSetAside tells that somebody else has dealt with a damaged record.
var errSetAside = errors.New("spool: the record has changed")

// shortKey bounds a file name.
func shortKey(key []byte) []byte { return key[:min(len(key), 60)] }

func writeFile(fs vfs.FS, path string, data []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
