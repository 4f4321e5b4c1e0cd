package feedback

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// How long figures are believed, and how often open spikes are looked at again.
const (
	recentFor   = 10 * time.Second
	baselineFor = time.Hour
	// unlookedAnswers is how many failures of one receiver may pass before its figures are read again, however young.
	unlookedAnswers = 20
	spikeEvery      = time.Minute
)

// watch is the shell around guard: it reads the figures from the record's rollups. Safe for concurrent use.
type watch struct {
	store ActorStore
	tell  func(platform.Alert)
	now   func() time.Time

	mu       sync.Mutex
	guard    *guard
	recent   rates
	baseline rates
	unlooked map[string]int
	marks    map[string]mark
}

// mark is what a receiver had answered in the hours looked at when its answers were last judged by themselves.
type mark struct {
	hour time.Time
	at   time.Time
	of   sample
}

// rates is what the rollups said of all receivers.
type rates struct {
	hour time.Time // it is for
	read time.Time // when it was read
	by   map[string]sample
}

func newWatch(s ActorStore, r GuardRules, tell func(platform.Alert), now func() time.Time) *watch {
	return &watch{store: s, tell: tell, now: now, guard: newGuard(r), unlooked: map[string]int{}, marks: map[string]mark{}}
}

// restore takes up the doubts that stood when the process ended, so that their alerts are cleared some day.
func (w *watch) restore(ctx context.Context) error {
	list, err := w.store.ListAlerts(ctx, store.AlertQuery{Kind: AlertSpike, Max: store.MaxPage})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range list {
		if receiver, ok := strings.CutPrefix(a.Scope, spikeScope); ok {
			w.guard.spikes[receiver] = spike{since: a.Since}
		}
	}
	return nil
}

// doubts reports whether a receiver's word that a recipient is unknown is doubted at the time it was given.
func (w *watch) doubts(ctx context.Context, receiver string, at time.Time) (bool, error) {
	if receiver == "" {
		return false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlooked[receiver]++
	if err := w.look(ctx, receiver, at); err != nil {
		return false, err
	}
	return w.guard.doubts(receiver), nil
}

// look brings the guard up to date about one receiver.
func (w *watch) look(ctx context.Context, receiver string, at time.Time) error {
	hour := at.UTC().Truncate(time.Hour)
	begin := hour.Add(-w.guard.rules.Recent).Truncate(time.Hour)
	fresh := w.recent.hour.Equal(hour) && w.now().Sub(w.recent.read) < recentFor && w.unlooked[receiver] < unlookedAnswers
	if !fresh {
		by, err := w.read(ctx, begin, hour.Add(time.Hour))
		if err != nil {
			return err
		}
		w.recent = rates{hour: hour, read: w.now(), by: by}
		clear(w.unlooked)
	}
	if !w.baseline.hour.Equal(hour) || w.now().Sub(w.baseline.read) >= baselineFor {
		by, err := w.read(ctx, begin.Add(-w.guard.rules.Baseline), begin)
		if err != nil {
			return err
		}
		w.baseline = rates{hour: hour, read: w.now(), by: by}
	}
	in := figures{receiver: receiver, recent: w.recent.by[receiver], baseline: w.baseline.by[receiver]}
	in.burst, in.since = w.sinceMark(receiver, hour, at, in.recent)
	for _, a := range w.guard.step(at, in) {
		w.tell(a)
	}
	return nil
}

// maxWatched bounds the receivers that have a mark. What is forgotten is marked anew.
const maxWatched = 10_000

// sinceMark returns what a receiver answered since its mark, once that is enough to judge by, and moves the mark then. The
// figures begin anew every hour, and so does the mark.
func (w *watch) sinceMark(receiver string, hour, at time.Time, now sample) (burst sample, since time.Time) {
	m, ok := w.marks[receiver]
	burst = sample{now.answers - m.of.answers, now.invalid - m.of.invalid}
	if ok && m.hour.Equal(hour) && burst.answers < w.guard.rules.MinAnswers {
		return sample{}, m.at
	}
	if len(w.marks) >= maxWatched {
		clear(w.marks)
	}
	w.marks[receiver] = mark{hour, at, now}
	if !ok || !m.hour.Equal(hour) {
		return sample{}, at
	}
	return burst, m.at
}

// read sums the answers of all receivers over whole hours. A site whose receiver is not recognised stands for itself.
func (w *watch) read(ctx context.Context, from, to time.Time) (map[string]sample, error) {
	rows, err := w.store.Stats(ctx, store.StatsQuery{
		Of: store.PerSite, From: from, To: to, By: []store.Dimension{store.ByReceiver, store.BySite, store.ByType, store.ByClass},
	})
	if err != nil {
		return nil, err
	}
	by := map[string]sample{}
	for _, r := range rows {
		name := r.Receiver
		if name == "" {
			name = r.Site
		}
		s := by[name]
		switch r.Type {
		case mail.EventDelivered, mail.EventRelayed, mail.EventBounced:
			s.answers += r.Count
		case store.TypeLateBounce: // the mail was counted when it was taken
		default:
			continue
		}
		if r.Class == mail.ClassInvalidRecipient {
			s.invalid += r.Count
		}
		by[name] = s
	}
	return by, nil
}

// run looks at open spikes until ctx ends: one may pass without another failure.
func (w *watch) run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(spikeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.mu.Lock()
			for _, receiver := range w.guard.open() {
				if err := w.look(ctx, receiver, w.now()); err != nil && ctx.Err() == nil {
					log.Warn("the figures of a receiver cannot be read", mail.LogEvent, "guard_unread", mail.LogErr, err)
					break
				}
			}
			w.mu.Unlock()
		}
	}
}

// open is how many receivers are doubted.
func (w *watch) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.guard.spikes)
}
