// Package rows turns events into the rows every adapter of store writes: the event itself as JSON, the summary of its
// delivery, and the hourly rollups. It decides what a delivery's summary says after a series of events.
//
// Its door is Fold, which reduces a batch of events; AppendEvent and DecodeEvent are the form one event is kept in.
// Everything is a pure function of its input.
//
// # Not here
//
// SQL, files and watermarks: the adapters.
package rows
