// Package smtp holds what both sides of the mail dialogue share: replies and enhanced codes, the limits of RFC 5321,
// and the reader and writer of the DATA phase. It decides nothing about mail and holds no connection.
//
// Its door is Reply.
//
// # Not here
//
// The dialogue itself: smtpserver and smtpclient. What a reply means for a delivery: bounce.
package smtp
