package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
)

// What lies in a backup besides StoreDir and ArchiveDir.
const (
	backupKey  = "master.key"  // the master key, where it was not put elsewhere
	backupInfo = "backup.json" // written last: without it the backup was not finished
)

// BackupOptions say what a backup holds.
type BackupOptions struct {
	// Key is where the master key is copied to, a file that does not exist or holds the same key; "": into the backup. Without
	// the key nobody can read the secrets and the archive in a backup, not even its owner.
	Key string
	// NoArchive leaves the archive of sent content out.
	NoArchive bool
}

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Format   int          `json:"format"`
	At       time.Time    `json:"at"` // when it was begun
	Version  string       `json:"version"`
	Key      bool         `json:"key"`       // the master key is in it
	KeyCheck string       `json:"key_check"` // tells the master key from others, and nothing else of it
	Archive  bool         `json:"archive"`   // the archive of sent content is in it
	Archived int          `json:"archived"`  // files of the archive
	Files    []BackupFile `json:"files"`     // all but this one
	// Damaged are the days of the record that could not be read, and are not in it.
	Damaged []BackupDamage `json:"damaged,omitempty"`
}

// BackupDamage is what could not be copied.
type BackupDamage struct {
	Name    string `json:"name"` // its path below the data folder, with slashes
	Problem string `json:"problem"`
}

// BackupFile is a file of a backup as it was when the backup was made.
type BackupFile struct {
	Name   string `json:"name"` // its path below the backup's folder, with slashes
	SHA256 string `json:"sha256"`
}

// backupFormat is the format that is written, and the only one there is.
const backupFormat = 1

// Backup copies state, record, archive and master key of a configuration's platform to a new folder. The platform may run.
// State and record are copied before the archive: an erasure that is done in between is begun in the copy, and a platform
// restored from it finishes it. On an error what was copied is removed again. A damaged day of the record is no error: it is left
// out, and named; one bad day must not cost the copies of everything else, from then on.
func Backup(ctx context.Context, c config.Config, to string, o BackupOptions) (info BackupInfo, err error) {
	info = BackupInfo{Format: backupFormat, At: time.Now().UTC().Truncate(time.Second), Version: BuildVersion(), Key: o.Key == "", Archive: !o.NoArchive}
	data, keyFile, err := places(c)
	if err != nil {
		return info, err
	}
	if _, err := os.Stat(filepath.Join(data, StoreDir)); errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("node: backup: there is no platform in %s: %w", data, err)
	} else if err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	if _, err := os.Stat(keyFile); err != nil {
		return info, fmt.Errorf("node: backup: the master key is missing, and without it nothing could be restored: %w", err)
	}
	key, _, err := manage.LoadMasterKey(keyFile)
	if err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	info.KeyCheck = keyCheck(key)
	if entries, err := os.ReadDir(to); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(to, backupInfo)); errors.Is(err, fs.ErrNotExist) {
			return info, fmt.Errorf("node: backup: %s is not empty; if that is a backup that was not finished (without %s), remove it", to, backupInfo)
		}
		return info, fmt.Errorf("node: backup: %s is not empty: there is a backup in it already", to)
	}
	keyTo := o.Key
	if keyTo == "" {
		keyTo = filepath.Join(to, backupKey)
	}
	there, err := sameKey(keyTo, key)
	if err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	made := []string{filepath.Join(to, StoreDir), filepath.Join(to, ArchiveDir), filepath.Join(to, backupInfo)}
	if !there {
		made = append(made, keyTo)
	}
	defer func() {
		if err == nil {
			return
		}
		for _, path := range made { // half a backup is of no use, least of all on a full disk
			err = errors.Join(err, os.RemoveAll(path))
		}
		_ = os.Remove(to) // if nothing of others is in it
	}()
	if err := os.MkdirAll(to, 0o700); err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	if !there {
		if err := copyKey(keyFile, keyTo); err != nil {
			return info, fmt.Errorf("node: backup: master key: %w", err)
		}
	}
	damaged, err := backupStore(ctx, data, to)
	for _, d := range damaged {
		info.Damaged = append(info.Damaged, BackupDamage{StoreDir + "/" + d.Name, d.Err.Error()})
	}
	if err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	if !o.NoArchive {
		if info.Archived, err = backupArchive(ctx, data, to, key); err != nil {
			return info, fmt.Errorf("node: backup: %w", err)
		}
	}
	if info.Files, err = sumFiles(ctx, to); err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	if err := writeNew(filepath.Join(to, backupInfo), bytes.NewReader(append(text, '\n'))); err != nil {
		return info, fmt.Errorf("node: backup: %w", err)
	}
	return info, errors.Join(syncFolder(to), syncFolder(filepath.Dir(to)))
}

// keyCheck tells a master key from others.
func keyCheck(key manage.MasterKey) string {
	sum := key.Derive("backup check 1")
	return hex.EncodeToString(sum[:8])
}

// sumFiles reads every file below a folder.
func sumFiles(ctx context.Context, dir string) (list []BackupFile, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		list = append(list, BackupFile{Name: filepath.ToSlash(name), SHA256: hex.EncodeToString(h.Sum(nil))})
		return errors.Join(err, f.Close())
	})
	return list, err
}

func backupStore(ctx context.Context, data, to string) (damaged []store.Damage, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: filepath.Join(data, StoreDir), LeaveDamaged: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Backup(ctx, filepath.Join(to, StoreDir))
}

func backupArchive(ctx context.Context, data, to string, key manage.MasterKey) (n int, err error) {
	from := filepath.Join(data, ArchiveDir)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // no account ever had one
	}
	a, err := sqlite.OpenArchive(sqlite.ArchiveOptions{Dir: from, Key: archiveKey(key)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Backup(ctx, filepath.Join(to, ArchiveDir))
}

// RestoreOptions say how a backup is restored.
type RestoreOptions struct {
	// Key is where the master key is; "": in the backup.
	Key string
	// AcceptDamage takes a backup whose files are not all as they were when it was made.
	AcceptDamage bool
}

// Restored is what a restore found.
type Restored struct {
	BackupInfo
	Damage []string // what is not as it was when the backup was made, in words
}

// Restore makes a configuration's data folder from a backup. The folder must not exist, nor the master key file, unless it
// holds the same key. The folder appears when it is whole: a restore that ended early is begun again. A damaged backup is
// refused, with what is wrong, unless that is accepted.
func Restore(ctx context.Context, c config.Config, from string, o RestoreOptions) (r Restored, err error) {
	data, keyTo, err := places(c)
	if err != nil {
		return r, err
	}
	if _, err := os.Stat(data); err == nil {
		return r, fmt.Errorf("node: restore: %s is there already; move it away first", data)
	}
	if r.BackupInfo, err = readInfo(from, data, keyTo); err != nil {
		return r, err
	}
	keyFile := o.Key
	if keyFile == "" {
		if !r.Key {
			return r, fmt.Errorf("node: restore: the master key is not in %s; say where it is", from)
		}
		keyFile = filepath.Join(from, backupKey)
	}
	if _, err := os.Stat(keyFile); err != nil {
		return r, fmt.Errorf("node: restore: master key: %w", err)
	}
	key, _, err := manage.LoadMasterKey(keyFile)
	if err != nil {
		return r, fmt.Errorf("node: restore: %w", err)
	}
	if r.KeyCheck != "" && r.KeyCheck != keyCheck(key) {
		return r, fmt.Errorf("node: restore: %s holds another master key than the platform of this backup had, whose key alone opens its secrets", keyFile)
	}
	there, err := sameKey(keyTo, key)
	if err != nil {
		return r, fmt.Errorf("node: restore: %w", err)
	}
	part := data + ".restoring"
	if err := os.RemoveAll(part); err != nil { // of a restore that ended early
		return r, fmt.Errorf("node: restore: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := os.MkdirAll(part, 0o700); err != nil {
		return r, fmt.Errorf("node: restore: %w", err)
	}
	for _, dir := range []string{StoreDir, ArchiveDir} {
		if _, err := os.Stat(filepath.Join(from, dir)); dir == ArchiveDir && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := copyTree(filepath.Join(from, dir), filepath.Join(part, dir)); err != nil {
			return r, fmt.Errorf("node: restore: %w", err)
		}
	}
	if r.Damage, err = damage(ctx, part, r.Files); err != nil {
		return r, fmt.Errorf("node: restore: %w", err)
	}
	if len(r.Damage) > 0 && !o.AcceptDamage {
		return r, fmt.Errorf("node: restore: the backup in %s is damaged: %s; take another one, or this as it is with --accept-damage", from, strings.Join(r.Damage, ", "))
	}
	if !there {
		if err := os.MkdirAll(filepath.Dir(keyTo), 0o700); err != nil {
			return r, fmt.Errorf("node: restore: %w", err)
		}
		if err := copyKey(keyFile, keyTo); err != nil {
			return r, fmt.Errorf("node: restore: master key: %w", err)
		}
	}
	if err := os.Rename(part, data); err != nil {
		return r, fmt.Errorf("node: restore: %w", err)
	}
	return r, syncFolder(filepath.Dir(data))
}

// damage compares what was copied with the backup's list, and says what differs. What the list does not name an operator has
// added, such as an archive copied by other means; a backup without a list cannot be compared.
func damage(ctx context.Context, part string, want []BackupFile) (list []string, err error) {
	have, err := sumFiles(ctx, part)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, f := range have {
		sums[f.Name] = f.SHA256
	}
	for _, f := range want {
		switch sum, ok := sums[f.Name]; {
		case f.Name == backupKey: // it is none of these, and is known by KeyCheck
		case !ok:
			list = append(list, f.Name+" is missing")
		case sum != f.SHA256:
			list = append(list, f.Name+" is not what it was")
		}
	}
	return list, nil
}

// readInfo reads what a backup says of itself, and looks whether it is whole. data and key are what it is to become.
func readInfo(from, data, key string) (info BackupInfo, err error) {
	if _, err := os.Stat(filepath.Join(from, StoreDir)); errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("node: restore: %s is no backup: %w", from, err)
	} else if err != nil {
		return info, fmt.Errorf("node: restore: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(from, backupInfo))
	if errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("node: restore: the backup in %s was not finished: %s, which is written last, is missing. A backup made before there was "+
			"such a file lacks it too: copy its %s to %s and its %s to %s by hand", from, backupInfo, StoreDir, filepath.Join(data, StoreDir), backupKey, key)
	}
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	switch {
	case err != nil:
		return info, fmt.Errorf("node: restore: %s of %s: %w", backupInfo, from, err)
	case info.Format != backupFormat:
		return info, fmt.Errorf("node: restore: %s has format %d; this program knows %d", from, info.Format, backupFormat)
	}
	return info, nil
}

// sameKey reports whether a file is there; another master key in it than key is an error.
func sameKey(file string, key manage.MasterKey) (there bool, err error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	have, _, err := manage.LoadMasterKey(file)
	if err != nil {
		return false, err
	}
	if have != key {
		return false, fmt.Errorf("%s is there already, with another master key than the backup's; move it away first", file)
	}
	return true, nil
}

// copyKey makes a copy of a master key file that is on disk when it returns.
func copyKey(from, to string) error {
	return errors.Join(copyFile(from, to), syncFolder(filepath.Dir(to)))
}

func places(c config.Config) (data, key string, err error) {
	if data, err = filepath.Abs(c.Data); err != nil {
		return "", "", fmt.Errorf("node: data folder: %w", err)
	}
	c.Data = data
	return data, MasterKeyFile(c), nil
}

// copyTree copies a folder, for its owner alone, and returns when it is on disk.
func copyTree(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		do := copyFile
		if e.IsDir() {
			do = copyTree
		}
		if err := do(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return syncFolder(to)
}

// copyFile makes a copy that only its owner can read, and returns when its octets are on disk; it overwrites nothing.
func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(writeNew(to, r), r.Close())
}

func writeNew(to string, r io.Reader) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder returns when what was made in a folder is on disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
