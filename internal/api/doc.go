// Package api is the HTTP door: it authenticates a request, checks its form, calls the works, and writes what they
// answered, or what went wrong, in the words of docs/api.md. It decides nothing about mail itself.
//
// Its door is New; Handler serves the public listeners, LocalHandler the admin socket, whose file permissions stand
// for the operator's credential.
//
// Errors are problem details (RFC 9457) that name the field and say what to do; they repeat no value a client sent, so
// that no secret comes back in a log. The contract is served as OpenAPI 3.1 at /openapi.json.
//
// # Not here
//
// SMTP: smtpd. The Go client of this API: client. Other vendors' APIs: compat.
package api
