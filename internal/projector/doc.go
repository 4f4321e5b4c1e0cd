// Package projector moves events from a spool's outbox into the store, in order, each once. It decides in how large
// steps, what happens while the store fails, and when the outbox may be trimmed.
//
// Its door is New; Run does the work until its context ends. A Projector serves one spool; with several spools there
// is one for each, on the same store.
//
// Guarantees: no event is skipped and none is recorded twice, whenever the process dies: the store's watermark moves in
// step with the events, and the outbox is trimmed only well behind it. While the store fails, mail goes on, the
// outbox grows, and the projector tries again with growing pauses.
//
// Event files, when asked for, are a second, independent reader of the outbox; they are written at least once. Each
// file set is its own position: the last whole line of the newest file says where to go on. EraseFiles rewrites them.
//
// Files: events/events-SPOOL-DATE-NNNN.jsonl below the folder named in FileOptions.
//
// # Not here
//
// How events are stored: store. Telling customers: webhook. Deciding anything from events: suppression and reputation
// follow the settle stream in memory, not the projector.
package projector
