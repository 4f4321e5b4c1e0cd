//go:build openssl && cgo

package openssl

/*
#cgo LDFLAGS: -lcrypto
#include <openssl/evp.h>
#include <openssl/x509.h>

static EVP_PKEY *load(const unsigned char *der, long n) {
	return d2i_AutoPrivateKey(NULL, &der, n);
}

// sign writes the PKCS #1 v1.5 signature of a SHA-256 digest and returns its length, 0 for an error.
static size_t sign(EVP_PKEY *key, const unsigned char *digest, unsigned char *out, size_t room) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t n = room;
	if (ctx == NULL) return 0;
	if (EVP_PKEY_sign_init(ctx) <= 0 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0 ||
	    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) <= 0 || EVP_PKEY_sign(ctx, out, &n, digest, 32) <= 0)
		n = 0;
	EVP_PKEY_CTX_free(ctx);
	return n;
}
*/
import "C"

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"
	"unsafe"
)

var (
	errLoad   = errors.New("dkim/openssl: libcrypto does not take the key")
	errSign   = errors.New("dkim/openssl: libcrypto could not sign")
	errDigest = errors.New("dkim/openssl: only SHA-256 digests are signed")
)

// signer is an RSA key held by libcrypto.
type signer struct {
	key    *C.EVP_PKEY
	public *rsa.PublicKey
}

// Accelerate returns a signer for an RSA key that uses libcrypto, for SHA-256 digests with PKCS #1 v1.5; any other key
// comes back itself.
func Accelerate(key crypto.Signer) (crypto.Signer, error) {
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		return key, nil
	}
	der := x509.MarshalPKCS1PrivateKey(k)
	pkey := C.load((*C.uchar)(unsafe.Pointer(unsafe.SliceData(der))), C.long(len(der)))
	clear(der)
	if pkey == nil {
		return nil, errLoad
	}
	s := &signer{key: pkey, public: &k.PublicKey}
	runtime.AddCleanup(s, func(p *C.EVP_PKEY) { C.EVP_PKEY_free(p) }, pkey)
	return s, nil
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts.HashFunc() != crypto.SHA256 || len(digest) != 32 {
		return nil, errDigest
	}
	out := make([]byte, s.public.Size())
	n := C.sign(s.key, (*C.uchar)(unsafe.Pointer(unsafe.SliceData(digest))), (*C.uchar)(unsafe.Pointer(unsafe.SliceData(out))), C.size_t(len(out)))
	runtime.KeepAlive(s)
	if int(n) != len(out) {
		return nil, fmt.Errorf("%w: %d octets", errSign, n)
	}
	return out, nil
}
