// Package egress decides how mail leaves: from which source of a pool, how much at one time towards a receiver, and
// what a failure of each scope does to everything else that waits. It is pure: facts and the time in, decision out.
//
// Its door is EffectOf, the one table that says what a failure's scope does; delivery and queue both read it. Then
// Sources (which addresses a delivery may leave from), Limits (connections, messages per connection, rate) and
// Backoff (how long a lane rests after it failed).
//
// Everything here is free of state but Rotation, whose owner calls it from one goroutine at a time.
//
// # Not here
//
// Which route a delivery takes: route. When it is tried: queue. What a reply means: bounce.
package egress
