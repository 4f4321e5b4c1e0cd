// Package client speaks the HTTP API. It is what the commands use, and is written as a customer would write one: it
// knows the words of mail and the documented JSON, nothing of the server's insides.
//
// Its door is New. A Client may be used by many goroutines at once; every method takes a context.
//
// # Not here
//
// Serving the API: api.
package client
