// Package archive keeps what was sent after it has been sent, for the accounts that ask for it, and takes away what must
// not be kept: it copies content from the spool into the archive, lets it expire, reads it and writes it out for others,
// and erases a person from archive and record. It decides when content is safe enough to leave the spool, what a legal hold
// covers, and what an erasure may touch.
//
// Its door is New; Run copies and expires, Content and Export read, Erase begins an erasure that Run finishes.
//
// Guarantees: acceptance never waits for the archive. A content that is to be archived stays in the spool until the archive
// has it on disk (spool.Acceptance.Archive); a crash in between copies it again, to the same place. What is archived opens
// only under the account's own key. Nothing that a legal hold covers expires or is erased. An erasure that was begun is
// finished after a crash, and doing a part of it twice is doing it once.
//
// All methods are safe for concurrent use. The room owns the goroutine of Run and no files: those are the adapter's of
// store.Archive.
//
// # Not here
//
// Files, sealing and compression: store and its adapters. Sending an archived message again: submission. What is kept of
// messages besides their content: projector and store.
package archive
