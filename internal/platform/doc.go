// Package platform holds the nouns of the platform's own state: accounts, senders, credentials, pools, sources,
// routes, policies, holds, suppressions. They are plain data; who may change them and how is not decided here.
//
// Its door is State, all of it as the operator writes it; Snapshot is State made ready for look-ups on the hot path.
// A Snapshot never changes: a change makes a new one, and readers hold the one they began with.
//
// # Not here
//
// Checking and storing changes: manage. What follows from the data: tenant, route, egress, suppression.
package platform
