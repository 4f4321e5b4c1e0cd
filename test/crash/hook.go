package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// hook is a customer's webhook receiver: it lives through the platform's crashes and remembers in which order it was told
// of which events.
type hook struct {
	server *http.Server
	socket net.Listener

	mu    sync.Mutex
	order []string       // webhook-id, at its first time
	times map[string]int // how often each came
	done  chan struct{}
}

func newHook() (*hook, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("webhook receiver: %w", err)
	}
	h := &hook{socket: socket, times: map[string]int{}, done: make(chan struct{})}
	h.server = &http.Server{Handler: http.HandlerFunc(h.take), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(h.done)
		_ = h.server.Serve(socket) // ends by close
	}()
	return h, nil
}

func (h *hook) url() string { return "http://" + h.socket.Addr().String() + "/events" }

func (h *hook) take(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // cut off by a kill: it comes again
	}
	h.note(r.Header.Get("webhook-id"))
	w.WriteHeader(http.StatusNoContent)
}

func (h *hook) note(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.times[id]++; h.times[id] == 1 {
		h.order = append(h.order, id)
	}
}

// count is how many events it was told of.
func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.order)
}

// told returns the ids in the order in which they came first, and how many came more than once.
func (h *hook) told() (order []string, again int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.times {
		if n > 1 {
			again++
		}
	}
	return append([]string(nil), h.order...), again
}

func (h *hook) close(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	<-h.done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
