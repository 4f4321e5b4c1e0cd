package sqlite

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// archiveChunk is how much content goes into one piece, in octets: what reading and writing have in memory.
const archiveChunk = 1 << 20

// archiveWindow is the window of the compressor, in octets: a piece is not larger.
const archiveWindow = archiveChunk

// sealer seals what an account's archive holds, and opens it again. It may be used by several at once.
type sealer struct {
	aead  cipher.AEAD
	index [32]byte // key of the hashes addresses are found by
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

// codec compresses for all accounts.
type codec struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newCodec() (c codec, err error) {
	c.zip, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(archiveWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return codec{}, fmt.Errorf("sqlite: archive compressor: %w", err)
	}
	// What is decompressed has been authenticated; the bound is against a key in wrong hands all the same.
	c.unzip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(archiveMaxAbout))
	if err != nil {
		return codec{}, fmt.Errorf("sqlite: archive decompressor: %w", err)
	}
	return c, nil
}

// archiveMaxAbout bounds one decompressed piece, in octets: a chunk, or a message without its content.
const archiveMaxAbout = 8 << 20

func (c codec) close() {
	if c.zip != nil {
		_ = c.zip.Close() // it writes nowhere
	}
	if c.unzip != nil {
		c.unzip.Close()
	}
}

func newSealer(key [32]byte, c codec) *sealer {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("recipient index"))
	return &sealer{aead: aead, index: [32]byte(mac.Sum(nil)), zip: c.zip, unzip: c.unzip}
}

// What a sealed value is; part of what authenticates it, so that none opens in the place of another.
const (
	sealProof     = 'p'
	sealAbout     = 'a'
	sealChunk     = 'c'
	sealRecipient = 'r'
)

// context is what a value is sealed for: its kind, the message and its place there.
func sealContext(kind byte, id []byte, place []byte) []byte {
	return append(append([]byte{kind}, id...), place...)
}

// seal compresses and encrypts.
func (s *sealer) seal(context, clear []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(clear)/2+s.aead.Overhead()+64)
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return s.aead.Seal(nonce, nonce, s.zip.EncodeAll(clear, nil), context)
}

// open reverses seal. It returns store.ErrArchiveKey.
func (s *sealer) open(context, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, store.ErrArchiveKey
	}
	packed, err := s.aead.Open(nil, sealed[:n], sealed[n:], context)
	if err != nil {
		return nil, store.ErrArchiveKey
	}
	clear, err := s.unzip.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrArchiveKey, err)
	}
	return clear, nil
}

// recipient is the keyed hash an address, however it is spelt (mail.Fold), is found by.
func (s *sealer) recipient(address string) int64 {
	mac := hmac.New(sha256.New, s.index[:])
	mac.Write([]byte(mail.Fold(address)))
	return int64(binary.BigEndian.Uint64(mac.Sum(nil)))
}
