package submission

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/postroad/postroad/internal/spool"
)

// MaxIdempotencyKey is the longest Idempotency-Key, in octets.
const MaxIdempotencyKey = 256

// keyLocks holds the idempotency keys of requests that are running. The lock is memory: after a crash nothing runs.
type keyLocks struct {
	mu      sync.Mutex
	running map[[32]byte]bool
}

func newKeyLocks() *keyLocks { return &keyLocks{running: map[[32]byte]bool{}} }

func (k *keyLocks) lock(h [32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running[h] {
		return false
	}
	k.running[h] = true
	return true
}

func (k *keyLocks) unlock(h [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.running, h)
}

// idempotent looks an account's idempotency key up and locks it. If the key was used before with the same body, it
// returns the earlier response; otherwise the record to commit with the acceptance (Response still empty) and a
// function that frees the lock. Its errors are of kind BadRequest, InProgress, KeyReused and Unavailable.
func (s *Service) idempotent(ctx context.Context, account, key string, part int, body [32]byte) (earlier []byte, rec *spool.IdempotencyRecord, unlock func(), err error) {
	if len(key) > MaxIdempotencyKey {
		return nil, nil, nil, refuse(BadRequest, "Idempotency-Key", "it is longer than %d octets", MaxIdempotencyKey)
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", account, key, part))
	if !s.keys.lock(h) {
		return nil, nil, nil, refuse(InProgress, "Idempotency-Key", "the first request with this key is still running; try again in a moment")
	}
	unlock = func() { s.keys.unlock(h) }
	now := s.now()
	old, err := s.o.Spool.Idempotency(ctx, account, h, now)
	switch {
	case err != nil:
		unlock()
		return nil, nil, nil, &Error{Kind: Unavailable, Detail: "the idempotency key could not be checked; try again later", Err: err}
	case old != nil && old.BodyHash != body:
		unlock()
		return nil, nil, nil, refuse(KeyReused, "Idempotency-Key", "this key was used with another request body in the last 24 hours")
	case old != nil:
		unlock()
		return old.Response, nil, nil, nil
	}
	return nil, &spool.IdempotencyRecord{Account: account, KeyHash: h, BodyHash: body, At: now}, unlock, nil
}
