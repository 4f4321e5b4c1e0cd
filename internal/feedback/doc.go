// Package feedback reads what comes back: it takes the reports the doors have put into the spool's inbox, finds the
// deliveries they are about, decides what follows, and writes the events. And it acts: it follows the events, its own and
// those of the dialogue, and keeps the suppression list by them.
//
// Its doors are New; Reader.Run reads the inbox until it is stopped, Reader.Wake tells it that something came in; and
// NewActor with Actor.Run, in the files act*.go, for the acting.
//
// What ties a report to a delivery is ranked: the signed return path it came to, a signed header of ours in what it
// returns, and last a match in the account's own bounce mailbox. Text in a report is never trusted over a token of ours.
// A report that is forged, replayed, too late, or tells of what cannot have been changes nothing; it is recorded with the
// reason.
//
// Guarantees: a report is removed from the inbox in the frame that writes its events, so that a crash at any point
// loses no event and writes none twice. Its row in the record is written before, under the report's id: reading it again
// replaces the row. While the record cannot be written the reader waits and the inbox keeps everything. A report that
// cannot be read (a panic, an endless loop) is set aside with its mail, an alert tells of it, and the others go on.
// Memory is bounded by a page of the inbox.
//
// The actor follows with a cursor of its own and sees an event again after a crash; what an event says against an address
// is remembered under the event's id, together with the entry that follows from it, so that it counts once.
//
// Run has one goroutine that decides, in the order of the inbox, and some that parse beside it.
//
// # Not here
//
// What a report says is in report, what that means in bounce. How mail comes in is in smtpd and api. Whether an address
// is suppressed is decided by suppression; the list itself is kept by manage.
package feedback
