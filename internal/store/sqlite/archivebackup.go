package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postroad/postroad/internal/store"
)

// Backup implements store.Archive.
func (a *Archive) Backup(ctx context.Context, dir string) (n int, err error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return 0, fmt.Errorf("sqlite: back up archive: %s is not empty", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("sqlite: back up archive: %w", err)
	}
	made := map[string]bool{}
	for _, f := range a.files.names("", "", "~") {
		folder := filepath.Join(dir, f.Account)
		if !made[folder] {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return n, fmt.Errorf("sqlite: back up archive: %w", err)
			}
			made[folder] = true
		}
		err := a.use(ctx, f, func(d *database, _ *sealer) error { return d.copyTo(ctx, filepath.Join(folder, f.Day+".db")) })
		switch {
		case errors.Is(err, store.ErrNotFound): // it may have expired meanwhile
			continue
		case err != nil:
			return n, err
		}
		n++
		if err := a.step("in backup"); err != nil {
			return n, err
		}
	}
	for folder := range made {
		if err := syncDir(folder); err != nil {
			return n, err
		}
	}
	return n, syncDir(dir)
}
