// Package store keeps what outlives a delivery: the platform's own state (accounts, routes, suppressions, quotas,
// alerts, audit) and the record of what happened to every delivery (events, summaries, hourly rollups). It decides
// what is kept, under which keys it can be found again, and when an event counts as recorded.
//
// Its doors are the interfaces in store.go, small and grouped by use, so that a room asks for no more than it needs:
// Platform for manage, Suppressions for suppression look-ups, Ledger for quotas, Recorder for the projector, Record
// for everyone who reads, Webhooks for webhook. Store is all of them; an adapter implements Store with one type.
//
// Guarantees, which the contract suite in storetest checks for every adapter: ApplyState changes everything it is
// given, with the audit entries, or nothing. WriteEvents never applies an event twice and never moves the watermark
// past an event that is not on disk, however it is interrupted. A cursor never passes an event that could still appear
// behind it. All methods are safe for concurrent use.
//
// How the record's files and watermarks fit together is told in DESIGN.md.
//
// # Not here
//
// The delivery itself while it is live: spool. Moving events from spool to store: projector. Whether a change of
// platform state makes sense: manage.
package store
