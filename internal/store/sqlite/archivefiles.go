package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/store"
)

// openArchives is how many archive files stay open while nobody uses them.
const openArchives = 16

// archiveFiles are the files of an archive by account and day: a folder per account, a file per day.
type archiveFiles struct{ files[*archiveFile] }

type archiveFile struct {
	*file
	store.ArchiveName
}

// openArchiveFiles reads the catalogue.
func openArchiveFiles(dir string) (*archiveFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: make the archive's folder: %w", err)
	}
	a := &archiveFiles{files[*archiveFile]{dir: dir, set: "archive", idle: openArchives, make: func(f *file) *archiveFile {
		account, day := path.Split(f.name)
		return &archiveFile{f, store.ArchiveName{Account: strings.TrimSuffix(account, "/"), Day: day}}
	}}}
	accounts, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("sqlite: list the archive: %w", err)
	}
	for _, acc := range accounts {
		if !acc.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(dir, acc.Name()))
		if err != nil {
			return nil, fmt.Errorf("sqlite: list the archive: %w", err)
		}
		for _, e := range entries {
			if day, ok := cutDB(e.Name()); ok {
				a.add(archivePath(store.ArchiveName{Account: acc.Name(), Day: day}), true)
			}
		}
	}
	return a, nil
}

func archivePath(n store.ArchiveName) string { return n.Account + "/" + n.Day }

// use calls fn with a file open. A file that is not there is made, or is store.ErrNotFound.
func (a *archiveFiles) use(ctx context.Context, n store.ArchiveName, create bool, fn func(*database) error) error {
	return a.files.use(ctx, archivePath(n), create, func(f *archiveFile) error { return fn(f.db) })
}

// names returns the files of an account ("": of all) from one day to another, both included, by account and day.
func (a *archiveFiles) names(account, first, last string) []store.ArchiveName {
	var list []store.ArchiveName
	for _, f := range a.list(func(f *archiveFile) bool {
		return (account == "" || f.Account == account) && f.Day >= first && f.Day <= last
	}) {
		list = append(list, f.ArchiveName)
	}
	slices.SortFunc(list, func(x, y store.ArchiveName) int {
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Day, y.Day))
	})
	return list
}
