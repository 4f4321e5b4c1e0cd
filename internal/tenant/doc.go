// Package tenant decides whether a credential may send a message: whether it may send at all, from where, and as
// whom. It keeps one account from writing in another's name.
//
// Its doors are MaySend and Identify. Every function is pure: facts in, decision out.
//
// # Not here
//
// Proving who the client is (passwords, keys) and counting quotas: submission. What an account has and owns:
// platform.
package tenant
