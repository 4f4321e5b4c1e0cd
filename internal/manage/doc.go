// Package manage makes every change of platform state: it validates what is asked, works out the difference to what
// is there, stores it together with its audit entry, and tells the rest of the platform.
//
// Its door is Manager.Apply, which makes the running platform match a declared state; single changes go through the
// same path. Manager.Snapshot is the state as the hot path reads it.
//
// Guarantees: a state that is stored is valid; a change is stored with who made it or not at all; a secret is stored
// sealed under the master key or as a hash, is shown once when it is made here, and is in no export, log or audit
// entry. All methods are safe for concurrent use; changes are made one at a time.
//
// # Not here
//
// What the data means for a message: tenant, route, egress. The tables: store.
package manage
