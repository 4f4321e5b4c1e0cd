// Package smtpserver is the server's side of the SMTP dialogue (RFC 5321): it reads commands, keeps their order and
// limits, reads contents, and answers. It decides what is a correct dialogue; whose mail is taken is decided by the
// Session it calls.
//
// Its door is Server.Run, which serves one listener; serveConn in conn.go is one dialogue from greeting to end.
//
// Guarantees: the end of a content is CRLF.CRLF and nothing else, and a content with a fault is never handed to a
// session as a whole one. Nothing that was sent before TLS began is believed after it. Every wait for the client has
// a deadline that its octets do not extend. The reply to a content leaves before the next command is looked at.
//
// Concurrency: one goroutine per connection, which makes all calls of its Session, one at a time. Run returns when
// all have ended.
//
// # Not here
//
// Listeners, PROXY headers, certificates and what submission answers: smtpd. The client's side: smtpclient. Reply
// codes, the reader of contents: smtp.
package smtpserver
