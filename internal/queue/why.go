package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// Why says in words what a live delivery waits for. The error wraps spool.ErrNotFound once it is over.
func (q *Queue) Why(ctx context.Context, id mail.DeliveryID) (string, error) {
	for _, sp := range q.opt.Spools {
		d, err := sp.Delivery(ctx, id)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("queue: why %s: %w", id, err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.core.why(d), nil
	}
	return "", fmt.Errorf("queue: why %s: %w", id, spool.ErrNotFound)
}

// Stats returns the queue's counters and gauges.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.core.statistics()
}

func (c *core) statistics() Stats {
	s := c.stats
	s.Queues, s.Lanes, s.Loaded, s.Sessions = len(c.queues), len(c.lanes), len(c.entries), len(c.sessions)
	s.Places = len(c.places)
	for _, g := range c.gates {
		if !g.open(c) {
			s.Resting++
		}
	}
	for _, l := range c.lanes {
		s.InFlight += l.busy
	}
	s.Settling = c.writing
	return s
}

// why says what a delivery waits for; d is its record as the spool has it.
func (c *core) why(d *mail.Delivery) string {
	e := c.entries[d.ID]
	if e == nil {
		return c.whyRecord(d)
	}
	switch e.state {
	case stParked:
		return "waiting: " + e.why
	case stLocating:
		if g := e.place.gate; g != nil && !g.open(c) {
			return g.why()
		}
		return "waiting: asking where mail for " + e.q.id.key.Domain + " goes"
	case stAsking:
		return "waiting: asking whether its address has come on the suppression list"
	case stLane:
		l := e.flow.lane
		if g := c.restsFlow(e.flow); g != nil {
			return g.why()
		}
		switch {
		case l.suspended != "":
			return "waiting: lane " + l.name + " is suspended by hold " + l.suspended
		case l.sessions == 0:
			return fmt.Sprintf("waiting: for a connection of lane %s (%d of %d in use)", l.name, l.group.sessions, l.group.limit(c))
		}
		return fmt.Sprintf("waiting: its turn in lane %s (%d waiting, %d connections)", l.name, l.waiting, l.sessions)
	case stFlight:
		return fmt.Sprintf("in flight: attempt %d by lane %s since %s", e.d.Attempts, e.sess.lane.name, e.picked.Format(time.RFC3339))
	}
	return "its outcome is being written"
}

func (c *core) whyRecord(d *mail.Delivery) string {
	switch {
	case d.Held != "":
		return "held by " + d.Held + "; it expires at " + d.ExpiresAt.UTC().Format(time.RFC3339)
	case d.Mark != nil:
		return "in flight"
	case d.Due.After(c.now):
		s := "next attempt at " + d.Due.UTC().Format(time.RFC3339)
		if d.Attempts == 0 && d.Last == nil {
			return "scheduled: first attempt at " + d.Due.UTC().Format(time.RFC3339)
		}
		if d.Last != nil && d.Last.Reply != "" {
			s += "; the last answer was: " + d.Last.Reply
		}
		return s
	}
	for i := range c.opt.Spools {
		if q := c.queues[queueID{i, d.Queue}]; q != nil {
			if why := c.whyQueue(q); why != "" {
				return why
			}
		}
	}
	return "waiting: due, behind others of its queue"
}

// whyQueue says why a queue's mail is not loaded, or "".
func (c *core) whyQueue(q *queue) string {
	switch {
	case q.gate != nil && !q.gate.open(c):
		return q.gate.why()
	case q.blocked && q.why != "":
		return "waiting: " + q.why
	}
	return ""
}
