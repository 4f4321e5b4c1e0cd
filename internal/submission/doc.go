// Package submission is the only way mail gets in. It decides whether a client is who it says, whether it may send
// this message as these names to these recipients within its limits, puts the message into the form it will be kept
// in, and commits it to the spool. Whatever it answered with success is durable.
//
// Its doors are Service.Login and Service.Network (who is there), Service.Begin (one message, step by step, as SMTP
// brings it) and Service.Send (one structured request, as HTTP brings it).
//
// Guarantees: when Accept or Send returns without error, the message is on disk and has been handed to the queue;
// when it returns an error, nothing of the message is kept. A Transaction belongs to one goroutine; a Service to all.
//
// # Not here
//
// Replies and HTTP statuses: smtpd and api translate Error. When a delivery is tried: queue.
package submission
