// Package smtpclient is the client side of the mail dialogue, over one connection. It decides how the octets of a
// transaction are laid out in as few writes and round trips as the peer's extensions allow (PIPELINING, CHUNKING), and
// which reply belongs to which command; it does not decide what a reply means for the mail.
//
// Its door is Connect. Then Hello, StartTLS and Auth as the caller's policy asks, Send for each transaction, Quit.
//
// Guarantees:
//   - The octets that end the content are written only after Transaction.Durable has returned nil.
//   - From then on the context cancels nothing: the reply is awaited for smtp.DataDoneTimeout. When it does not come,
//     Error.Uncertain is set, and only then.
//   - A transaction that fails midway never ends with a final dot: the connection is dropped instead.
//   - Nothing of the caller's can add a command: addresses are typed and checked again, parameters are encoded.
//   - What a peer sends is bounded in octets, lines and time, and control characters in it are made harmless.
//
// Every failure is an *Error.
//
// Concurrency: a Conn belongs to one goroutine. It starts none.
//
// # Not here
//
// Where to connect to: mx. Which connection, route, TLS policy and signature, and what the outcome is: delivery. What
// a reply means: bounce. The server side: smtpserver.
package smtpclient
