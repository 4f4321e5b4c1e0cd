package queue

import "time"

// waker is what a timer wakes; core.now is the time then, at or after the one it was set to.
type waker interface{ wake(c *core) }

// timer is part of what it wakes. The zero value but for its waker is off.
type timer struct {
	at   time.Time
	pos  int // place in the heap, from 1; 0: off
	wake waker
}

// timers is a heap, the earliest first.
type timers struct{ heap []*timer }

// set turns t on, or moves it.
func (h *timers) set(t *timer, at time.Time) {
	if t.pos == 0 {
		h.heap = append(h.heap, t)
		t.pos = len(h.heap)
	} else if t.at.Equal(at) {
		return
	}
	t.at = at
	h.up(t.pos)
	h.down(t.pos)
}

func (h *timers) stop(t *timer) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos, len(h.heap)
	h.swap(i, last)
	h.heap[last-1] = nil
	h.heap = h.heap[:last-1]
	t.pos = 0
	if i < last {
		h.up(i)
		h.down(i)
	}
}

// due removes and returns the earliest timer that is due at now, or nil.
func (h *timers) due(now time.Time) *timer {
	if len(h.heap) == 0 || h.heap[0].at.After(now) {
		return nil
	}
	t := h.heap[0]
	h.stop(t)
	return t
}

// next returns when the earliest timer is due.
func (h *timers) next() (time.Time, bool) {
	if len(h.heap) == 0 {
		return time.Time{}, false
	}
	return h.heap[0].at, true
}

func (h *timers) swap(i, j int) {
	a, b := h.heap[i-1], h.heap[j-1]
	h.heap[i-1], h.heap[j-1] = b, a
	a.pos, b.pos = j, i
}

func (h *timers) up(i int) {
	for i > 1 && h.heap[i-1].at.Before(h.heap[i/2-1].at) {
		h.swap(i, i/2)
		i /= 2
	}
}

func (h *timers) down(i int) {
	for {
		least := i
		for _, k := range [2]int{2 * i, 2*i + 1} {
			if k <= len(h.heap) && h.heap[k-1].at.Before(h.heap[least-1].at) {
				least = k
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
