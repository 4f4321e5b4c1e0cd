// Package dkim signs and verifies messages (RFC 6376) with RSA-SHA256 (RFC 8301) and Ed25519-SHA256 (RFC 8463).
//
// Its door is Sign. It needs the header and the hash of the body only: BodyHasher makes that hash while the content
// streams in, it is kept in mail.Content.BodyHash, and a message can be signed at send time, with the keys of that
// moment, without its body being read again. Verify checks all signatures of a message.
//
// Signatures are relaxed/relaxed, have no l=, over-sign the fields whose addition would change what a reader sees, and
// are a function of their input: the same header, hash, keys and time give the same octets. Verify takes all four
// pairs of canonical forms, and tells of l= and of test keys rather than deciding about them.
//
// Sign and Verify may be called concurrently; a BodyHasher serves one stream. Keys hold parsed private keys: whoever
// owns them caches them. Verify asks for keys through a function of the caller; nothing here uses the network.
//
// # Not here
//
// Which keys sign a message, and whether DNS shows them: delivery and authcheck. What a header must hold: compose.
package dkim
