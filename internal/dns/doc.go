// Package dns asks the domain name system and remembers the answers. It decides what an answer means: records, "no
// such name", "no such record", or "ask again later"; nothing above it sees a reply code or a DNS message.
//
// Its door is Resolver. Client is the one that asks name servers; Fake answers from a map, for tests.
//
// # Guarantees
//
//   - Only two kinds of error are final: ErrNotExist and ErrNoData. Time-outs, SERVFAIL, REFUSED, referrals and answers
//     that make no sense are ErrTemporary or ErrMalformed, and say nothing about the name.
//   - Answer.Authentic is set only if the name server validated every record of the answer (AD bit, RFC 4035 §3.2.3)
//     and is trusted to say so: it is on loopback, or marked trusted.
//   - An answer is taken only if it comes from the address asked, with the id and the question that were sent.
//   - Names go in and come out in lower-case A-labels without a trailing dot.
//   - A name that many ask for at once is asked for once, and the memory of the cache is bounded in octets.
//
// # Concurrency
//
// A Client is safe for concurrent use. Each question runs in a goroutine of the Client, so that a caller who gives up
// does not spoil it for the others who wait; Close ends them all. The slices in an Answer are shared with the cache and
// must not be changed.
//
// # Not here
//
// Where a domain takes mail: mx. What SPF, DMARC and blocklist records mean: authcheck. The name server of the practice
// internet: practice.
package dns
