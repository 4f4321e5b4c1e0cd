// Package reporting asks the record, and the queue, what a report tells: what became of the mail of a period, what has no
// final outcome yet and why, and which replies no rule has understood. It decides which counts make which figure.
//
// Its door is New. Service.Report makes a report; Service.Unfinished lists what is not over. Run follows the recorded
// events and collects unknown replies; what it does is the same done twice. A Service may be used by many goroutines at
// once.
//
// # Not here
//
// Adding up, and what the words mean: figures. How it looks: paper. Sending it by mail: notify.
package reporting
