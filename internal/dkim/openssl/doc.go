// Package openssl makes RSA keys sign with OpenSSL's libcrypto, about 2.8 times faster than pure Go. It is built with
// the tag openssl, needs cgo and libssl-dev, and changes nothing without the tag.
//
// Its door is Accelerate. It may be called concurrently, and so may the signers it returns.
//
// # Not here
//
// Everything else about signatures: dkim.
package openssl
