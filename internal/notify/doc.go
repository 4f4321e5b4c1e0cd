// Package notify writes mail to people: digests to an account's contact, and at once what must not wait for one (a
// complaint, an account paused or throttled, a quota used up, trouble with its DNS), and alerts to the
// operators. It decides who is told what, when, and how often.
//
// Its door is New; Run works until its context ends. Whatever was sent is remembered in the store: a restart neither sends
// twice nor skips a digest. A mail is handed in under a key that makes handing it in again harmless, and is remembered
// afterwards; only a crash between the two that lasts longer than such keys are kept (24 h) can repeat one.
// Quota may be called by any number of goroutines and never blocks.
//
// # Not here
//
// What a report says: reporting and figures. How it looks: paper. Taking mail in: submission. Notices of failed mail to
// its sender: feedback.
package notify
