// Package paper shows a report: on a page of its own (HTML with drawn charts), as CSV, in a terminal, and as the two
// bodies of a mail. It decides how figures look and in which words they are told; it adds nothing up.
//
// Its doors are HTML, CSV, Text and Letter. All are functions of the report. What peers and senders wrote (replies,
// domains) is theirs: it is escaped for where it is shown, control characters included.
//
// # Not here
//
// The figures: figures. Who gets a report by mail, and when: notify.
package paper
