// Package queue decides when each delivery is tried next: due times, expiry, fairness between accounts, holds, and
// how much goes on at one time towards each receiver. It owns lanes and their limits.
//
// Its door is New; then Run, and Add for mail that was accepted just now. A delivery's way through it is a chain of
// small files: add.go and page.go bring it into memory when it is due, dispatch.go finds its route, place and
// lane, lane.go and drr.go deal it to a session, suppress.go asks once more whether it may go at all, settle.go writes
// what became of it, gate.go makes lanes rest.
//
// The decisions are taken by core, a deterministic state machine: step(now, input) gives actions. It holds no
// goroutine, no clock and does no I/O, so tests drive it in virtual time. Queue is the thin shell around it: one
// mutex, under which nothing waits, and goroutines that carry the actions out: one per open session, a few for pages
// and for locating, two per spool for commits.
//
// Guarantees: a delivery is in one place at any moment and ends exactly once; it is never tried early, never after
// its deadline, never while held; its attempt mark is queued for commit before a session sees it; a delivery that
// was settled is not taken up again before that settlement is on disk. An account with one message waits at most one
// round behind any other. What waits costs memory only inside bounded windows; the rest is in the spool, one cursor
// per queue.
//
// All methods of Queue are safe for concurrent use.
//
// # Not here
//
// The dialogue with the peer, connections and signing: delivery. What is written and how: spool. Which route and
// source: route and egress. What a reply means: bounce.
package queue
