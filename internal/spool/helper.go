package spool

import "sync"

// helper does, in order and in one goroutine, what follows a frame but must not hold up the next: removing content
// files, publishing stages. What it has not done at the end is found again at the next open.
type helper struct {
	mu   sync.Mutex
	todo []func()
	stop bool
	wake chan struct{} // capacity 1
	done chan struct{}
}

func (h *helper) start() {
	h.wake = make(chan struct{}, 1)
	h.done = make(chan struct{})
	go h.loop()
}

func (h *helper) loop() {
	defer close(h.done)
	for range h.wake {
		for {
			h.mu.Lock()
			if h.stop {
				h.mu.Unlock()
				return
			}
			todo := h.todo
			h.todo = nil
			h.mu.Unlock()
			if len(todo) == 0 {
				break
			}
			for _, f := range todo {
				f()
			}
		}
	}
}

func (h *helper) add(f func()) {
	h.mu.Lock()
	h.todo = append(h.todo, f)
	h.mu.Unlock()
	h.signal()
}

func (h *helper) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// close waits for what is being done and drops the rest.
func (h *helper) close() {
	h.mu.Lock()
	h.stop = true
	h.mu.Unlock()
	h.signal()
	<-h.done
}
