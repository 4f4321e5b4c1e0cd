// Package node is the house: it makes every room from one configuration, joins the seams between rooms of one floor,
// and starts and stops them in order.
//
// Its door is Open; Run works until its context ends, then stops: no new mail is taken in, the dialogues in hand are
// finished within a bound, what happened is recorded, the spool is closed last. Nothing accepted is lost by a stop, or
// by the lack of one.
//
// # Not here
//
// Every decision: the rooms. What a setting means: config.
package node
