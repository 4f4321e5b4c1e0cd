// Package bounce decides what a refusal means: from the reply of a peer, or from what a report says about one
// recipient, to class, scope, result and action. docs/bounces.md tells the taxonomy and how a decision is made.
//
// Its door is Ruleset.Reply; Ruleset.Report does the same for every recipient of a parsed report, and
// Ruleset.Explain says which rules matched and why one of them won. Fingerprint gives the template of a wording, by
// which replies no rule knows are grouped.
//
// The knowledge is in rule files (rules/*.toml), each rule with its provenance and with samples that prove it is
// reached. Default is the built-in set; Load lays an operator's folder over it, rule by rule.
//
// Guarantees: the same input and rules give the same verdict; no clock, no I/O. A 4xx is never made final and a 5xx
// never retried except by a rule or a scope row that has a name. What no rule knows stays other, and other never
// suppresses anybody.
//
// A Ruleset is read-only once made and safe for any number of goroutines; to reload, make a new one and swap it.
//
// # Not here
//
// What a scope does to hosts, lanes and sources is in egress; whether an address is suppressed, given its history,
// in suppression; reading reports in report.
package bounce
