// Package authcheck checks what receivers check of a sender. It decides whether a host may send for a domain (SPF, RFC
// 7208).
//
// Its door is SPF.Check.
//
// Guarantees: a check asks DNS at most as often as RFC 7208 §4.6.4 allows, whatever the records say, and ends with its
// context. What cannot be known at the moment is TempError, never a refusal.
//
// Concurrency: an SPF is immutable; Check may be called at once from anywhere.
//
// # Not here
//
// Signatures: dkim. Asking DNS: dns. What is done about a result: whoever asks.
package authcheck
