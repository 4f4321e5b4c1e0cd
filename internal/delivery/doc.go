// Package delivery makes one attempt: it connects to where the mail goes, says so in the way the peer understands, and
// turns what comes back into an Outcome. It decides the order of hosts and addresses, when TLS is good enough, which
// form the content takes for this peer, and what each recipient's outcome is. It owns connections and pulls jobs.
//
// Its door is Delivery.Session: one lane, one connection at a time, job after job. Delivery.Locate says beforehand where
// a domain's mail goes.
//
// # Guarantees
//
//   - Each delivery of each job taken from next is settled exactly once.
//   - The end of a content is not sent before the job's Durable has returned nil. After it nothing is cancelled; when
//     no reply comes the outcome is Deferred and Uncertain, and no other host or route is tried.
//   - A message, route or domain that demands TLS is never sent in clear, and a relay that no longer offers the TLS or
//     the AUTH it is set up with gets neither mail nor password.
//   - A connection is used for a job only if it satisfies the TLS policy of that job's domain.
//   - Stored bytes are sent as they are: signatures go before them, and only a peer without 8BITMIME gets a converted
//     copy. What is signed already is never converted.
//   - Loopback, private, link-local, multicast and our own addresses are not connected to unless the route allows it.
//   - Only a peer's 5xx that a rule or the default classifies as final, the limits a peer states, and DNS saying that a
//     domain takes no mail bounce a delivery. Everything else defers it.
//
// # Concurrency
//
// A Delivery is safe for concurrent use; a Session runs in its caller's goroutine and starts none.
//
// # Not here
//
// When and from which source a delivery is tried, and what an outcome does to its lane: queue. The dialogue:
// smtpclient. What a reply means: bounce. How far a failure reaches: egress.
package delivery
