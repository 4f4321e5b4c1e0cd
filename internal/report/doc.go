// Package report reads what comes back after a message has left: delivery status notifications in the standard form
// (RFC 3464, RFC 6533) and in the dialects older and odder systems write, complaints (ARF, RFC 5965), auto-replies
// (RFC 3834 and those that ignore it) and challenges. It says what kind of mail it is, whom it speaks of, and what
// it tells about each.
//
// Its door is Parse.
//
// Guarantees: Parse reads any bytes without an error; size, depth, parts and recipients are bounded by Limits, time
// is linear in the octets read. A mail is a bounce only if it shows the structure of a failure, never because of
// Auto-Submitted or an empty return path alone; an auto-reply is never a bounce, whatever it quotes. Every address
// in a Report stands in the mail, or is a local part that a mail system names of its own mailboxes, with that system's domain.
//
// Parse keeps no state; a Report is plain data and shares no memory with its input.
//
// # Not here
//
// What a diagnostic means (class, scope, action) is in bounce; whose delivery a report is about, in feedback.
package report
