package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/store/sqlite"
)

// backupKey is the master key's name in a backup.
const backupKey = "master.key"

// Backup copies state, record and master key of a configuration's platform to a new folder. The platform may run.
func Backup(ctx context.Context, c config.Config, to string) (err error) {
	data, key, err := places(c)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, StoreDir)); err != nil {
		return fmt.Errorf("node: backup: there is no platform in %s: %w", data, err)
	}
	if entries, err := os.ReadDir(to); err == nil && len(entries) > 0 {
		return fmt.Errorf("node: backup: %s is not empty", to)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("node: backup: %w", err)
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: filepath.Join(data, StoreDir)})
	if err != nil {
		return fmt.Errorf("node: backup: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Backup(ctx, filepath.Join(to, StoreDir)); err != nil {
		return fmt.Errorf("node: backup: %w", err)
	}
	return copyFile(key, filepath.Join(to, backupKey))
}

// Restore makes a configuration's data folder from a backup. The folder and the master key file must not exist.
func Restore(c config.Config, from string) (err error) {
	data, key, err := places(c)
	if err != nil {
		return err
	}
	for _, p := range []string{data, key} {
		if _, err := os.Stat(p); err == nil {
			return fmt.Errorf("node: restore: %s is there already; move it away first", p)
		}
	}
	for _, p := range []string{backupKey, StoreDir} {
		if _, err := os.Stat(filepath.Join(from, p)); err != nil {
			return fmt.Errorf("node: restore: %s is no backup: %w", from, err)
		}
	}
	if _, _, err := manage.LoadMasterKey(filepath.Join(from, backupKey)); err != nil {
		return fmt.Errorf("node: restore: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("node: restore: %w", err)
	}
	defer func() {
		if err != nil { // half a folder would be in the way of the next try
			err = errors.Join(err, os.RemoveAll(data))
		}
	}()
	if err := os.CopyFS(filepath.Join(data, StoreDir), os.DirFS(filepath.Join(from, StoreDir))); err != nil {
		return fmt.Errorf("node: restore: %w", err)
	}
	return copyFile(filepath.Join(from, backupKey), key)
}

func places(c config.Config) (data, key string, err error) {
	if data, err = filepath.Abs(c.Data); err != nil {
		return "", "", fmt.Errorf("node: data folder: %w", err)
	}
	c.Data = data
	return data, MasterKeyFile(c), nil
}

// copyFile makes a copy that only its owner can read; it overwrites nothing.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("node: copy: %w", err)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("node: copy: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("node: copy: %w", err)
	}
	return nil
}
