// Package figures adds up what a report says: of the mail an account handed in during a period, how much was taken by
// its receivers, how much came back and why, how soon it went, and where it fails worst. It decides what the words of a
// report mean, and that they add up: accepted is delivered, relayed, bounced, expired, suppressed, cancelled and waiting.
//
// Its door is New, which takes counts, and Builder.Report, which gives the Report. ParsePeriod reads the time a report
// is about. Everything is plain data and arithmetic; a Builder is used by one goroutine.
//
// # Not here
//
// Asking the record for the counts: reporting. How a report looks on a page, in a terminal or in a mail: paper.
package figures
