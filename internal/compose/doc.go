// Package compose decides what the header of accepted mail must and may hold, and writes RFC 5322 messages.
//
// Its door is Prepare: the header policy every accepted message passes, from SMTP and HTTP alike. It removes Bcc,
// Return-Path and our control fields (read into Controls), adds Date and Message-ID where they are missing, puts
// Received on top, and refuses what makes a message ambiguous; every field it keeps stands byte for byte as it came,
// but for lines too long for SMTP. Build writes a message from its parts. To7Bit and ShortenLines re-encode bodies that a
// peer, or SMTP itself, could not carry.
//
// What a submission without From means: it is refused. RFC 6409 §8 lets a submission server add Sender, Date and
// Message-ID, and names no way to invent an author; From is what the sender's right to send is checked against, and
// what DMARC looks at. A Sender or Resent-From field does not replace it. From with more than one address is refused
// too: receivers with DMARC do the same (RFC 7489 §6.6.1).
//
// Every refusal is an *Error that names the field and the enhanced status code. Functions are pure; time and ids come
// from the caller, boundaries from a seed.
//
// # Not here
//
// Reading headers and MIME: message. Whether From may be used by this account: tenant. Fields that bulk mail needs:
// compliance. Signatures: dkim.
package compose
