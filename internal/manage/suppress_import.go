package manage

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Limits of an import.
const (
	// importBatch is how many entries are stored at one time, in order of address: the more there are, the fewer pages of
	// the table each touches. A batch takes about a second and 10 MiB, and other changes of the platform wait for it.
	importBatch = 20_000
	// maxImportProblems is how many refused lines a report lists; all are counted.
	maxImportProblems = 1000
)

// Import is how a list is to be read.
type Import struct {
	Actor, Note string
	// Account is whose list it goes on; "": the one each line names.
	Account string
	// Platform puts lines that name no account on the platform's list; without it they are refused.
	Platform bool
	Stream   mail.Stream    // of lines that name none
	Class    platform.Cause // of lines that name none; "": manual
	Reason   string         // of lines that give none
	DryRun   bool           // store nothing
}

// ImportReport is what came of an import.
type ImportReport struct {
	Columns []string `json:"columns" doc:"What each column was taken for; empty: ignored."`
	Lines   int64    `json:"lines" doc:"Records read, the header not among them."`
	Added   int64    `json:"added"`
	// Replaced and Unchanged are entries that were there: those that did not last as long, and the others.
	Replaced  int64 `json:"replaced"`
	Unchanged int64 `json:"unchanged"`
	Refused   int64 `json:"refused"`
	// Problems are the first refused lines.
	Problems []LineProblem `json:"problems"`
	DryRun   bool          `json:"dry_run,omitempty" doc:"Nothing was stored; added counts what would be, or is there already."`
	// Incomplete says why the end of the list was not reached: what stands before was stored.
	Incomplete string `json:"incomplete,omitempty"`
}

// LineProblem is what is wrong with one line of a list.
type LineProblem struct {
	Line   int    `json:"line"`
	Detail string `json:"detail"`
}

// importing is an import in hand.
type importing struct {
	s      *Suppressions
	in     Import
	report ImportReport
	cols   []column
	batch  []platform.Suppression
}

// Import reads a list in CSV, with or without a header, and merges it into the list: an entry that lasts longer than the
// one of the list stays. Memory does not grow with the list, but for the keys. Batches are stored as they come: where the
// list breaks off, or the store fails, the report says so, and importing it again does no harm. The error is one of
// settings, or *Invalid for a list that is none.
func (s *Suppressions) Import(ctx context.Context, r io.Reader, in Import) (ImportReport, error) {
	i := &importing{s: s, in: in, report: ImportReport{DryRun: in.DryRun, Problems: []LineProblem{}, Columns: []string{}}}
	if in.Class == "" {
		i.in.Class = platform.CauseManual
	}
	if in.Account != "" && !s.o.Known(in.Account) {
		return i.report, &Invalid{[]Problem{{"account", "there is no account " + in.Account}}}
	}
	err := i.run(ctx, r)
	var invalid *Invalid
	if errors.As(err, &invalid) {
		return i.report, err
	}
	if err != nil {
		i.report.Incomplete = fmt.Sprintf("it broke off after %d records: %v", i.report.Lines, err)
	}
	if !in.DryRun && i.report.Lines > 0 {
		audit := bulkAudit(ActionImport, in.Actor, in.Note, s.o.Now().UTC(), map[string]any{
			"account": in.Account, "lines": i.report.Lines, "added": i.report.Added, "replaced": i.report.Replaced, "unchanged": i.report.Unchanged,
			"refused": i.report.Refused, "incomplete": i.report.Incomplete,
		})
		// Also when the client is gone: what was stored was stored.
		if _, err := s.o.Store.MergeSuppressions(context.WithoutCancel(ctx), nil, audit); err != nil {
			return i.report, fmt.Errorf("manage: audit an import: %w", err)
		}
		s.o.Logger.Info("suppressions imported", mail.LogEvent, "suppressions_imported", "actor", in.Actor, "added", i.report.Added, "refused", i.report.Refused)
	}
	return i.report, nil
}

func (i *importing) run(ctx context.Context, r io.Reader) error {
	c, err := newCSVReader(r)
	if err != nil {
		return err
	}
	for {
		record, line, err := c.read()
		var bad csvError
		switch {
		case errors.Is(err, io.EOF):
			return i.flush(ctx)
		case errors.As(err, &bad):
			i.report.Lines++
			i.refuse(line, string(bad))
			continue
		case err != nil:
			return errors.Join(err, i.flush(ctx))
		}
		if i.cols == nil {
			var header bool
			if i.cols, header = columnsOf(record); !header {
				i.cols = withoutHeader(record)
			}
			for _, col := range i.cols {
				i.report.Columns = append(i.report.Columns, string(col))
			}
			if header {
				continue
			}
		}
		i.report.Lines++
		if problem := i.take(record); problem != "" {
			i.refuse(line, problem)
		}
		if len(i.batch) == importBatch {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// take adds a record to the batch.
func (i *importing) take(record []string) (problem string) {
	x, problem := entryOf(i.cols, record, platform.Suppression{
		Account: i.in.Account, Stream: i.in.Stream, Class: i.in.Class, Reason: i.in.Reason, Actor: i.in.Actor,
	})
	switch {
	case problem != "":
		return problem
	case x.Address == "":
		return "it has no address"
	case x.Account == "" && !i.in.Platform:
		return "it names no account, and the import neither names one nor says that it is for the whole platform"
	}
	if problem := i.s.prepare(&x, i.s.o.Now().UTC()); problem != "" {
		return problem
	}
	i.batch = append(i.batch, x)
	return ""
}

func (i *importing) refuse(line int, problem string) {
	i.report.Refused++
	if len(i.report.Problems) < maxImportProblems {
		i.report.Problems = append(i.report.Problems, LineProblem{line, problem})
	}
}

// flush stores the batch.
func (i *importing) flush(ctx context.Context) error {
	if len(i.batch) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	n := int64(len(i.batch))
	if i.in.DryRun {
		i.report.Added += n
		i.batch = i.batch[:0]
		return nil
	}
	i.s.change.RLock()
	defer i.s.change.RUnlock()
	slices.SortStableFunc(i.batch, func(x, y platform.Suppression) int { return strings.Compare(x.Address, y.Address) })
	i.s.note(i.batch...)
	done, err := i.s.o.Store.MergeSuppressions(ctx, i.batch)
	if err != nil {
		return err
	}
	i.report.Added += done.Added
	i.report.Replaced += done.Replaced
	i.report.Unchanged += n - done.Added - done.Replaced
	i.s.counts.Added.Add(uint64(done.Added + done.Replaced))
	i.batch = i.batch[:0]
	return nil
}

// Export writes all entries a query selects as CSV with a header, in order of address. It can be imported again. Memory
// does not grow with the list.
func (s *Suppressions) Export(ctx context.Context, w io.Writer, q store.SuppressionQuery) (n int64, err error) {
	buffered := bufio.NewWriterSize(w, 64<<10)
	out := csv.NewWriter(buffered)
	head := make([]string, len(exported))
	for i, c := range exported {
		head[i] = string(c)
	}
	if err := out.Write(head); err != nil {
		return 0, fmt.Errorf("manage: export suppressions: %w", err)
	}
	q.Cursor, q.Max = "", store.MaxPage
	for {
		list, next, err := s.o.Store.ListSuppressions(ctx, q)
		if err != nil {
			return n, fmt.Errorf("manage: export suppressions: %w", err)
		}
		for i := range list {
			if err := out.Write(recordOf(&list[i])); err != nil {
				return n, fmt.Errorf("manage: export suppressions: %w", err)
			}
			n++
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	out.Flush()
	if err := errors.Join(out.Error(), buffered.Flush()); err != nil {
		return n, fmt.Errorf("manage: export suppressions: %w", err)
	}
	return n, nil
}
