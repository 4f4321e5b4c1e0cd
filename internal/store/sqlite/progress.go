package sqlite

import (
	"context"
	"maps"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// progress holds the watermarks of all spools in memory and wakes who waits for them.
type progress struct {
	mu      sync.Mutex
	seq     map[mail.SpoolID]uint64
	changed chan struct{} // closed and replaced at each change
}

func (p *progress) init() {
	p.seq, p.changed = map[mail.SpoolID]uint64{}, make(chan struct{})
}

func (p *progress) publish(spool mail.SpoolID, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq <= p.seq[spool] {
		return
	}
	p.seq[spool] = seq
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) get(spool mail.SpoolID) (seq uint64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq[spool], p.changed
}

func (p *progress) all() store.Cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.seq)
}

// Watermark implements store.Recorder.
func (s *Store) Watermark(ctx context.Context, spool mail.SpoolID) (uint64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	seq, _ := s.progress.get(spool)
	return seq, nil
}

// WaitFor implements store.Record.
func (s *Store) WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, store.MaxWait)
	defer cancel()
	for {
		have, changed := s.progress.get(spool)
		if have >= seq {
			return have, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return have, nil
		}
	}
}

// Tail implements store.Record.
func (s *Store) Tail(ctx context.Context) (store.Cursor, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	return s.progress.all(), nil
}
