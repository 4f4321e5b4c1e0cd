package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite"

	"github.com/postroad/postroad/internal/store"
)

//go:embed migrations
var migrations embed.FS

// Settings of every connection.
const (
	// pageSize suits rows of 300 to 700 octets in clustered tables; it is fixed when a file is made.
	pageSize = 4096
	// busyTimeout is how long a connection waits for another process's lock, such as a backup tool's, in ms.
	busyTimeout = 5000
	// walPages is when the journal is copied back: every 32 MiB. Less often means fewer writes of the same page.
	walPages = 8192
	// walKept is how many octets of journal stay on disk after that.
	walKept = 64 << 20
	// writeCache and readCache bound the pages a connection keeps, in KiB. Readers go through much and come back to
	// little; what they come back to, the system keeps.
	writeCache = 32 << 10
	readCache  = 256
	// readers is how many connections read one file at a time.
	readers = 4
)

// database is one SQLite file: a connection for writing, used by one transaction at a time, and some for reading.
type database struct {
	path string
	db   *sql.DB

	mu     sync.Mutex // held by the writer
	writer *sql.Conn  // nil until first used
	wstmts map[string]*sql.Stmt
	multis map[string]driver.StmtExecContext // of multi
	bound  []driver.NamedValue               // what they are run with, numbered
	// erasures counts the transactions that may have erased something.
	erasures int

	rmu    sync.Mutex
	rstmts map[string]*sql.Stmt
}

// openDatabase opens or makes the file and brings its schema up to date. set names the folder of migrations.
func openDatabase(ctx context.Context, path, set string) (*database, error) {
	pragmas := []string{
		"busy_timeout(" + strconv.Itoa(busyTimeout) + ")",
		"page_size(" + strconv.Itoa(pageSize) + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)", // a commit is on disk when it returns; NORMAL would lose the last ones with the power
		"wal_autocheckpoint(" + strconv.Itoa(walPages) + ")",
		"journal_size_limit(" + strconv.Itoa(walKept) + ")",
		"cache_size(-" + strconv.Itoa(readCache) + ")",
		"temp_store(MEMORY)",
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(readers + 1)
	db.SetMaxIdleConns(readers / 2)
	d := &database{path: path, db: db, wstmts: map[string]*sql.Stmt{}, multis: map[string]driver.StmtExecContext{}, rstmts: map[string]*sql.Stmt{}}
	if err := d.migrate(ctx, set); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// migrate applies what is missing of the schema. The number of the last migration is kept in the file's user_version
// too, because asking there takes microseconds, and day files are opened often.
func (d *database) migrate(ctx context.Context, set string) error {
	files, err := fs.ReadDir(migrations, "migrations/"+set)
	if err != nil {
		return fmt.Errorf("sqlite: migrations: %w", err)
	}
	latest, err := versionOf(files[len(files)-1])
	if err != nil {
		return err
	}
	var have int64
	if err := d.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return d.fail("read schema version", err)
	}
	switch {
	case have == latest:
		return nil
	case have > latest:
		return fmt.Errorf("sqlite: %s has schema %d, written by a newer version; this one knows up to %d", d.path, have, latest)
	}
	// As functions: SQLite reads several statements by itself, and goose's parser takes 4 MiB for a line of a file.
	var steps []*goose.Migration
	for _, f := range files {
		version, err := versionOf(f)
		if err != nil {
			return err
		}
		text, err := fs.ReadFile(migrations, "migrations/"+set+"/"+f.Name())
		if err != nil {
			return fmt.Errorf("sqlite: migrations: %w", err)
		}
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, string(text))
			return err
		}}, nil))
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, d.db, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...))
	if err != nil {
		return fmt.Errorf("sqlite: migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return d.fail("migrate", err)
	}
	if _, err := d.db.ExecContext(ctx, "PRAGMA user_version = "+strconv.FormatInt(latest, 10)); err != nil {
		return d.fail("migrate", err)
	}
	return syncDir(filepath.Dir(d.path))
}

// versionOf is the number of a migration, which its file's name begins with.
func versionOf(f fs.DirEntry) (int64, error) {
	number, _, _ := strings.Cut(f.Name(), "_")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("sqlite: migrations: %s: %w", f.Name(), err)
	}
	return version, nil
}

// close gives everything back. Nobody may be using the database.
func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.closeWriting()
	for _, s := range d.rstmts {
		err = errors.Join(err, s.Close())
	}
	if d.writer != nil {
		err = errors.Join(err, d.writer.Close())
	}
	return errors.Join(err, d.db.Close())
}

// closeWriting closes the writer's statements.
func (d *database) closeWriting() error {
	var err error
	for _, s := range d.wstmts {
		err = errors.Join(err, s.Close())
	}
	if len(d.multis) > 0 {
		err = errors.Join(err, d.writer.Raw(func(any) error {
			var err error
			for _, s := range d.multis {
				err = errors.Join(err, s.(driver.Stmt).Close())
			}
			return err
		}))
	}
	clear(d.wstmts)
	clear(d.multis)
	d.bound = nil
	return err
}

// rest gives back what the writer keeps in memory. The next write takes it up again.
func (d *database) rest(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writer == nil {
		return nil
	}
	err := d.closeWriting()
	// The connection goes back to the readers', and should be like theirs.
	for _, pragma := range []string{"PRAGMA cache_size = -" + strconv.Itoa(readCache), "PRAGMA shrink_memory"} {
		_, e := d.writer.ExecContext(ctx, pragma)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, d.writer.Close())
	d.writer = nil
	return d.fail("rest", err)
}

// tx is a write transaction in hand.
type tx struct {
	d   *database
	ctx context.Context
}

// write runs fn in a transaction and commits it, synced. A context that has ended starts none; one begun is finished
// whatever happens to the context, for it is short. fn must not keep the tx.
func (d *database) write(ctx context.Context, verb string, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sqlite: %s: %w", verb, err)
	}
	ctx = context.WithoutCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writer == nil {
		c, err := d.db.Conn(ctx)
		if err != nil {
			return d.fail(verb, err)
		}
		d.writer = c
		if _, err := c.ExecContext(ctx, "PRAGMA cache_size = -"+strconv.Itoa(writeCache)); err != nil {
			return d.fail(verb, err)
		}
	}
	if _, err := d.writer.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return d.fail(verb, err)
	}
	err := fn(&tx{d, ctx})
	if err == nil {
		if _, err = d.writer.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	// SQLite has rolled back by itself after some errors; a second rollback then fails, and that says nothing new.
	_, _ = d.writer.ExecContext(ctx, "ROLLBACK")
	return d.fail(verb, err)
}

// stmt returns the writer's prepared statement for the query.
func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s := t.d.wstmts[query]; s != nil {
		return s, nil
	}
	s, err := t.d.writer.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	t.d.wstmts[query] = s
	return s, nil
}

func (t *tx) exec(query string, args ...any) (affected int64, err error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row reads one row; it returns sql.ErrNoRows when there is none.
func (t *tx) row(query string, args []any, dest ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(t.ctx, args...).Scan(dest...)
}

// prepared returns the readers' statement for the query. The number of different queries is bounded by their callers.
func (d *database) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	d.rmu.Lock()
	defer d.rmu.Unlock()
	if s := d.rstmts[query]; s != nil {
		return s, nil
	}
	s, err := d.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	d.rstmts[query] = s
	return s, nil
}

// query calls scan for every row until it returns an error; errStop ends the reading early without being one.
func (d *database) query(ctx context.Context, verb, query string, args []any, scan func(rowScanner) error) error {
	s, err := d.prepared(ctx, query)
	if err != nil {
		return d.fail(verb, err)
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return d.fail(verb, err)
	}
	for err == nil && rows.Next() {
		err = scan(rows)
	}
	if closeErr := rows.Close(); err == nil {
		err = closeErr
	}
	if errors.Is(err, errStop) {
		return nil
	}
	if err == nil {
		err = rows.Err()
	}
	return d.fail(verb, err)
}

// rowScanner is the row query is at.
type rowScanner interface{ Scan(dest ...any) error }

// errStop ends query early.
var errStop = errors.New("stop")

// row reads one row; it returns store.ErrNotFound when there is none.
func (d *database) row(ctx context.Context, verb, query string, args []any, dest ...any) error {
	s, err := d.prepared(ctx, query)
	if err != nil {
		return d.fail(verb, err)
	}
	return d.fail(verb, s.QueryRowContext(ctx, args...).Scan(dest...))
}

// SQLite's primary result codes that mean: not now (https://sqlite.org/rescode.html).
const (
	codeBusy     = 5
	codeLocked   = 6
	codeNoMem    = 7
	codeReadOnly = 8
	codeIO       = 10
	codeFull     = 13
	codeCantOpen = 14
)

// fail turns err into the store's words; nil stays nil.
func (d *database) fail(verb string, err error) error {
	var se *sqlite3.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("sqlite: %s: %w", verb, store.ErrNotFound)
	case errors.As(err, &se):
		switch se.Code() & 0xff {
		case codeBusy, codeLocked, codeNoMem, codeReadOnly, codeIO, codeFull, codeCantOpen:
			return fmt.Errorf("sqlite: %s: %w: %s: %w", verb, store.ErrUnavailable, filepath.Base(d.path), err)
		}
		return fmt.Errorf("sqlite: %s: %s: %w", verb, filepath.Base(d.path), err)
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone), strings.Contains(err.Error(), "database is closed"):
		return fmt.Errorf("sqlite: %s: %w: %w", verb, store.ErrUnavailable, err)
	case isOwn(err):
		return err
	}
	return fmt.Errorf("sqlite: %s: %w", verb, err)
}

// SQLite's codes that mean: what lies in the file is not what was written. The disk says so itself, or the pages do.
const (
	codeCorrupt   = 11
	codeNotADB    = 26
	codeRead      = 10 | 1<<8
	codeShortRead = 10 | 2<<8
	codeCorruptFS = 10 | 33<<8
)

// isDamage reports whether a file cannot be read, now or later.
func isDamage(err error) bool {
	var se *sqlite3.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code() {
	case codeRead, codeShortRead, codeCorruptFS:
		return true
	}
	return se.Code()&0xff == codeCorrupt || se.Code()&0xff == codeNotADB
}

// isOwn reports whether err says already which package failed.
func isOwn(err error) bool { return strings.HasPrefix(err.Error(), "sqlite: ") }

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sqlite: sync %s: %w", dir, err)
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sqlite: sync %s: %w", dir, err)
	}
	return nil
}
