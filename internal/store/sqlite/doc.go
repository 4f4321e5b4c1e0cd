// Package sqlite is the store on SQLite files, the default: one file for the platform's state and one per day for the
// record. Its door is Open.
//
// Guarantees are those of package store; every transaction is synced before it counts (journal WAL, synchronous FULL).
// One process writes; the write lock of each file is held for one short transaction at a time. Readers never wait for
// writers.
//
// Files: platform.db and record/YYYY-MM-DD.db in Options.Dir, each with its -wal and -shm while open.
//
// # Not here
//
// What the methods promise: store, and its DESIGN.md for how files and watermarks fit together.
package sqlite
