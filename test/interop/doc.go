// Package interop proves Postroad against mail software that others wrote. Its tests need root on Debian and the
// programs test/interop/run.sh installs, so they hide behind the build tag "interop"; `make interop` runs them.
//
// One world serves all tests: a `postroad serve`, NSD for the DNS, and Postfix, Exim, OpenSMTPD and go-smtp as
// receivers, a Postfix with Dovecot as an authenticated relay. Clients are swaks, smtp-source, msmtp, go-mail and
// go-smtp. What became of each message is asked of the platform (GET /v1/messages/{id}) and held against what arrived.
//
// # Not here
//
// How peers are started: test/interop/peer. Misbehaviour no real peer shows on demand: internal/practice.
package interop
