// Package mail holds the words every other room uses about mail: ids, addresses, envelopes, deliveries, jobs,
// attempts, outcomes and events, and the keys they are logged under. It decides nothing; it only names things.
//
// Its door is Message: one accepted content with its envelope. A Delivery is one Message to one recipient, the unit
// that is queued, tried and reported. An Outcome is what became of one try, an Event the immutable fact made of it.
//
// Values are plain data. A Message or Delivery that has been handed to another room is read-only from then on, so
// that rooms may share pointers without locks.
//
// # Not here
//
// Reply codes and the bytes of the dialogue are in smtp; header and MIME reading in message; accounts, sources and
// routes in platform.
package mail
