package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store/sqlite"
)

// Salvage copies all readable records of the spool in a data folder to a new spool in to, which goes on behind the record of that
// folder. The platform must not run: else it returns spool.ErrLocked. A record that cannot be read is one of the report's problems.
func Salvage(ctx context.Context, data, to string) (spool.Report, error) {
	recorded, asked := recordedEvents(ctx, filepath.Join(data, StoreDir))
	r, err := spool.Salvage(ctx, filepath.Join(data, SpoolDir), to, spool.SalvageOptions{Recorded: recorded})
	if asked != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("the record cannot say how far it knows this spool, which a start may find out: %v", asked))
	}
	return r, err
}

// recordedEvents are the numbers of the last events a store holds, by spool; none where there is no store.
func recordedEvents(ctx context.Context, dir string) (_ map[mail.SpoolID]uint64, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Tail(ctx)
}
