// Package webhook tells customers' systems of events: each event an HTTP POST with a signature of Standard Webhooks
// (https://www.standardwebhooks.com), sent again until it is taken. It decides what is sent when, what an answer means,
// when a webhook is given up, and which addresses may be connected to.
//
// Its door is New; Run does the work until its context ends. A Service serves every webhook of the platform's state and
// follows its changes.
//
// # Guarantees
//
//   - A webhook gets the events it wants in commit order, the next one only when the one before was taken. Webhooks do not
//     wait for each other. One in the order of deliveries (platform.OrderDelivery) gets those of each delivery so, and of
//     different deliveries several at one time.
//   - Nothing is passed over: the place of each webhook is on disk before the next event is sent that has to wait for it. It
//     never passes an event that was not taken, and what was taken behind it is written with it. After a crash at most the
//     events in hand are sent again, with the same webhook-id.
//   - A webhook that takes nothing for GiveUp, or answers 410, is stopped, loudly, and keeps its place.
//   - No connection is made to an address that is not of the public Internet unless that is allowed. The address is checked
//     when the socket is connected, so no answer of a name server can change it afterwards. Proxies of the environment are
//     not used, redirects not followed.
//   - Memory does not grow with what waits: a webhook has at most maxQueued events in memory, one that fails has one; in the
//     order of deliveries those in hand or failing (maxOpen) and some for each request.
//
// # How events reach webhooks
//
// One reader follows the event stream and hands each event to the webhooks that are up to date and want it. A webhook that
// fails, or is slower than its events, leaves that company and reads the stream by itself from its own place, until it is
// there again. So hundreds of idle webhooks cost one reader, and a slow one delays nobody.
//
// # Concurrency
//
// Each webhook has a goroutine, which alone begins with events, and one for each request; the reader, the committer that writes positions and log in
// shared transactions, and replays have one each. Run ends when all have. Methods of Service are safe for concurrent use.
//
// # Not here
//
// The events themselves: projector writes them, store keeps them. Whether a webhook may be declared: manage. Providers'
// webhooks that come in: inhook.
package webhook
