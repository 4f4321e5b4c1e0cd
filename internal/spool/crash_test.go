package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/postroad/postroad/internal/spool/spooltest"
)

// proof runs the long form of the tests.
func proof() bool { return os.Getenv("POSTROAD_PROOF") != "" }

func scriptOptions(fs vfs.FS) Options {
	o := testOptions(fs)
	o.MemTable, o.MaxInline, o.MaxFrame = 64<<10, scriptInline, 8<<10
	return o
}

// run makes steps until n are done or one fails. started and acked are the numbers of the last step begun and the
// last one known to be durable; models has the model after each.
type run struct {
	sc      script
	mu      sync.Mutex
	models  []*model
	names   []string
	started atomic.Int64
	acked   atomic.Int64
}

func newRun(seed uint64) *run {
	r := &run{sc: script{rng: rand.New(rand.NewPCG(seed, 7)), m: newModel()}}
	r.models = []*model{r.sc.m}
	r.names = []string{"start"}
	return r
}

func (r *run) model(n int64) (*model, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.models[n], r.names[n]
}

func (r *run) steps(ctx context.Context, s *Spool, n int) error {
	var waiting []*Ticket
	for range n {
		st := r.sc.next()
		r.mu.Lock()
		r.models = append(r.models, st.next)
		r.names = append(r.names, st.name)
		r.mu.Unlock()
		r.sc.m = st.next
		i := r.started.Add(1)
		t, err := st.run(ctx, s)
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", i, st.name, err)
		}
		if t != nil {
			waiting = append(waiting, t)
			if r.sc.rng.IntN(3) > 0 {
				continue
			}
		}
		// A synced step is after all that were handed in before it.
		for _, t := range waiting {
			if err := t.Wait(ctx); err != nil {
				return fmt.Errorf("step %d or before: %w", i, err)
			}
		}
		waiting = waiting[:0]
		r.acked.Store(i)
	}
	for _, t := range waiting {
		if err := t.Wait(ctx); err != nil {
			return err
		}
	}
	r.acked.Store(r.started.Load())
	return nil
}

// examine opens what a crash left and compares it with the models of the steps that may have been its last.
func (r *run) examine(fs vfs.FS, acked, started int64) error {
	ctx := context.Background()
	s, err := Open(ctx, scriptOptions(fs))
	if err != nil {
		return fmt.Errorf("open after the crash: %w", err)
	}
	defer s.Close()
	for _, id := range s.stages.ids() {
		if err := s.Published(ctx, id); err != nil {
			return err
		}
	}
	var differences string
	match := int64(-1)
	for n := started; n >= acked; n-- {
		m, name := r.model(n)
		diff, err := m.differs(ctx, s, true)
		if err != nil {
			return err
		}
		if diff == "" {
			match = n
			break
		}
		differences += fmt.Sprintf("\nafter step %d (%s) it would differ in %s", n, name, diff)
	}
	if match < 0 {
		return fmt.Errorf("the spool is as after none of the steps %d to %d:%s", acked, started, differences)
	}
	m, _ := r.model(match)
	for id, want := range m.bodies {
		b, err := s.Body(ctx, id)
		if err != nil {
			return fmt.Errorf("content of %s: %w", id, err)
		}
		got, err := readAll(b)
		if err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("content of %s differs (%v)", id, err)
		}
	}
	rep, err := s.check(ctx)
	if err != nil {
		return err
	}
	if len(rep.Problems) > 0 {
		return fmt.Errorf("audit: %s", rep.Problems[0])
	}
	return nil
}

// TestCrashAtEveryWrite runs scripts of random changes and lets the power fail before every k-th write, with some of
// the unsynced data lost. What was acknowledged must be there, each batch as a whole or not at all.
func TestCrashAtEveryWrite(t *testing.T) {
	seeds, every, steps := uint64(2), int64(6), 300
	if testing.Short() {
		seeds, every, steps = 1, 12, 150
	}
	if proof() {
		seeds, every = 20, 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			r := newRun(seed)
			mem := spooltest.NewCrashFS()
			var writes, crashes atomic.Int64
			var mu sync.Mutex
			var failure error
			rng := rand.New(rand.NewPCG(seed, 8))
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || writes.Add(1)%every != 0 {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				if failure != nil {
					return nil
				}
				acked := r.acked.Load()
				clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				started := r.started.Load()
				crashes.Add(1)
				if err := r.examine(clone, acked, started); err != nil {
					failure = fmt.Errorf("crash before write %d (%v of %s): %w", writes.Load(), op.Kind, op.Path, err)
				}
				return nil
			}))
			s := mustOpen(t, scriptOptions(fs))
			err := r.steps(t.Context(), s, steps)
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if failure != nil {
				t.Fatal(failure)
			}
			if err := r.examine(mem, int64(steps), int64(steps)); err != nil {
				t.Fatal("after the end: ", err)
			}
			t.Logf("%d writes, %d crashes, %d events", writes.Load(), crashes.Load(), len(r.sc.m.events))
			if crashes.Load() < 20 {
				t.Error("too few crashes to prove anything")
			}
		})
	}
}

// TestFailedWrite makes a write or sync of the log fail, and all after it: from then on nothing is acknowledged, and
// after a crash all that was acknowledged is there. The scripts fit one memtable: a failure in the middle of changing
// logs ends the process (Pebble panics with a lock it does not hold), which a test cannot survive.
func TestFailedWrite(t *testing.T) {
	tries := 40
	if testing.Short() {
		tries = 15
	}
	if proof() {
		tries = 1500
	}
	var stopped int
	for i := range tries {
		r := newRun(uint64(i % 10))
		r.sc.tiny = true
		mem := spooltest.NewCrashFS()
		var writes atomic.Int64
		target := int64(10 + i*97%150)
		var broken atomic.Bool
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			default:
				return nil
			}
			if !bytes.HasSuffix([]byte(op.Path), []byte(".log")) {
				return nil
			}
			if writes.Add(1) == target {
				broken.Store(true)
			}
			if broken.Load() {
				return errorfs.ErrInjected
			}
			return nil
		}))
		o := scriptOptions(fs)
		o.MemTable = 4 << 20
		s := mustOpen(t, o)
		err := r.steps(t.Context(), s, 80)
		acked, started := r.acked.Load(), r.started.Load()
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: i % 101, RNG: rand.New(rand.NewPCG(uint64(i), 1))})
		if broken.Load() {
			stopped++
			select {
			case <-s.Failed():
			default:
				t.Fatalf("try %d: write %d failed and the spool goes on (%v)", i, target, err)
			}
			if !errors.Is(err, ErrFailed) || !errors.Is(s.Err(), ErrFailed) {
				t.Fatalf("try %d: %v, %v", i, err, s.Err())
			}
			if err := s.Enqueue(&Batch{Accept: []*Acceptance{r.sc.small()}}).Wait(t.Context()); !errors.Is(err, ErrFailed) {
				t.Fatalf("try %d: the stopped spool took a batch: %v", i, err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if err := r.examine(clone, acked, started); err != nil {
			t.Fatalf("try %d: write %d failed: %v", i, target, err)
		}
	}
	if stopped < tries/2 {
		t.Errorf("only %d of %d tries met the failing write", stopped, tries)
	}
}
