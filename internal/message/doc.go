// Package message reads RFC 5322 headers and MIME trees without rewriting a byte of them: what it returns are slices
// of what it was given, and every field can be put back exactly as it stood.
//
// Its door is ReadHeader. Walk goes through the parts of a whole message, ParseAddresses reads an address list,
// DecodeWords the encoded words of a value; EncodeWords is its counterpart, for whoever writes a header by hand.
//
// There are two ways of reading. The strict one is for mail submitted to us: whatever two readers could understand
// differently is refused with a HeaderError or AddressError that says what is wrong. The lenient one (ReadHeaderLenient,
// WalkOptions.Lenient, ParseAddressesLenient) is for mail that comes back from the world: bounces with bare LF,
// `\r\r\n`, missing end boundaries and unknown charsets must still be understood, so it takes what it can get. Both
// are bounded: header octets, fields, depth, parts.
//
// Nothing here keeps state; all functions may be called concurrently. Returned slices share the caller's memory, which
// must not change while they are in use.
//
// # Not here
//
// What a header must contain to be accepted, and writing messages: compose. Addresses of the envelope: mail. The
// content of a delivery report: report.
package message
