// Package smtpd is the door of SMTP: it opens the listeners, learns the client's address behind a proxy, keeps the
// certificate, and turns the calls of a dialogue into calls of submission and submission's errors into replies. It
// decides which reply belongs to which error (replies.go), and how many connections an address and an account may
// have.
//
// Its door is New; Submission makes the sessions of mail that comes in, ReturnPath those of what comes back: it puts
// each report as it came into the spool's inbox. Another kind of session is another smtpserver.Handler in another
// Listener.
//
// Guarantees: an address from a PROXY header is believed only from the proxies named, and then in every place. 250
// after a content is written only after submission, or the inbox, has said that it is on disk. A log-in that could not
// be checked is never called wrong.
//
// Concurrency: Run owns all goroutines and returns when they have ended.
//
// # Not here
//
// The dialogue: smtpserver. Who may send what: submission. What a report means: feedback. HTTP: api.
package smtpd
