// Package spool keeps accepted mail until its fate is settled. It is the only place a delivery lives while it is
// live, and it decides when something counts as durable.
//
// Its door is Open; then Commit and Enqueue take a Batch of changes. One committer merges what waits into a frame,
// numbers it, gives every event its sequence number, and commits it with a sync. Commit order is sequence order.
//
// Guarantees: when Commit or Ticket.Wait returns nil, the batch survives a power loss; a batch is in one frame and
// therefore there as a whole or not at all; events come out of the outbox in the order of their frames, each once.
// A delivery has exactly one schedule key for as long as it is live. All methods are safe for concurrent use; a batch
// that was handed in is read-only from then on, but for the ids of its events.
//
// When a write or sync fails, the spool stops: Failed is closed, everything waiting gets ErrFailed, and the process
// must end and open it again. What was acknowledged is then there. Some failures (in the middle of changing Pebble's
// log, or of its manifest) end the process at once.
//
// Files: everything below the spool's folder; see FORMAT.md.
//
// # Not here
//
// When a delivery is tried: queue. The lasting record of what happened: store.
package spool
