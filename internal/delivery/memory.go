package delivery

import (
	"sync"
	"time"
)

// memory remembers keys until a time each. It is bounded: when it is full what is over goes, then anything.
type memory[K comparable] struct {
	max int
	mu  sync.Mutex
	at  map[K]time.Time
}

func newMemory[K comparable](max int) *memory[K] {
	return &memory[K]{max: max, at: make(map[K]time.Time)}
}

// until returns when k is forgotten; zero: it is not known.
func (m *memory[K]) until(k K, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.at[k]
	if ok && !now.Before(t) {
		delete(m.at, k)
		return time.Time{}
	}
	return t
}

func (m *memory[K]) add(k K, until, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.at) >= m.max {
		for old, t := range m.at {
			if !now.Before(t) {
				delete(m.at, old)
			}
		}
		for old := range m.at {
			if len(m.at) < m.max {
				break
			}
			delete(m.at, old)
		}
	}
	m.at[k] = until
}

func (m *memory[K]) forget(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.at, k)
}
