// Package practice is a small internet on loopback to send mail into: a name server, and receivers that behave as
// receivers do on good days and on bad ones. It decides how each sample address and domain answers, and it keeps count
// of everything it took, so that an audit can tell a lost or doubled message from a refused one.
//
// Its door is Start. Samples then lists an address for every behaviour, with the outcome a sender should come to, and
// Received what arrived. The local part chooses what a receiver does with a message (busy@…), the domain chooses what
// its hosts are like (brokentls.test); both work together, and every other local part is accepted.
//
// # Guarantees
//
//   - It listens on loopback addresses only, and its name server answers for no name outside its own zone.
//   - Receivers follow RFC 5321 to the letter unless told to misbehave: they complain of every client's fault (bare line
//     ends, pipelining that was not offered, octets that were not announced), and Violations lists the complaints.
//   - Memory is bounded: old records and contents are dropped first, and Counters says how many.
//   - A message is recorded before its final reply is written. One whose reply is withheld is recorded too: the next copy
//     is a duplicate.
//
// # Concurrency
//
// All methods are safe for concurrent use. Close ends every goroutine and returns when they have.
//
// # Not here
//
// The platform's own receiving side: smtpserver and smtpd, which share no code with this on purpose. Which samples are
// shown, and how: the demo command.
package practice
