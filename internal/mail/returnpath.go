package mail

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// The marks that begin tokens: of a delivery, which is also the local part of its return path, and of a message. The
// digit is the format: a later one can be told apart.
const (
	deliveryMark = "b1-"
	messageMark  = "m1-"
)

// The labels that keep the signatures of the two kinds apart.
const (
	deliveryLabel = "postroad return path\x00"
	messageLabel  = "postroad message\x00"
)

const tokenMAC = 10 // octets of HMAC-SHA256 kept: 80 bits, with 16 of the id 42 characters, under the 64 allowed

// ReturnPathKey signs return paths and tokens. It must be the same for as long as bounces are accepted.
type ReturnPathKey [32]byte

// ReturnPath is the per-delivery return path (VERP) in domain. It is the same on every attempt, holds only lower-case
// letters, digits and a hyphen, and survives hosts that change the case of a local part.
func (k *ReturnPathKey) ReturnPath(id DeliveryID, domain string) Address {
	return Address{Local: k.Token(id), Domain: domain}
}

// Token is the signed name of a delivery: the local part of its return path, and what our header field says where a
// transaction has this delivery alone.
func (k *ReturnPathKey) Token(id DeliveryID) string { return k.token(deliveryMark, deliveryLabel, id) }

// MessageToken is the signed name of a message, for header fields that several deliveries share.
func (k *ReturnPathKey) MessageToken(id MessageID) string {
	return k.token(messageMark, messageLabel, id)
}

// Delivery returns the delivery a return path or token was made for. It reports false for a text that is none of ours
// or whose signature does not fit.
func (k *ReturnPathKey) Delivery(token string) (id DeliveryID, ok bool) {
	raw, ok := k.open(token, deliveryMark, deliveryLabel)
	return DeliveryID(raw), ok
}

// Message returns the message a token of MessageToken was made for.
func (k *ReturnPathKey) Message(token string) (id MessageID, ok bool) {
	raw, ok := k.open(token, messageMark, messageLabel)
	return MessageID(raw), ok
}

func (k *ReturnPathKey) token(mark, label string, id [16]byte) string {
	mac := k.mac(label, id)
	b := append(make([]byte, 0, 48), mark...)
	var raw [len(id) + tokenMAC]byte
	copy(raw[:], id[:])
	copy(raw[len(id):], mac[:tokenMAC])
	return string(appendBase32(b, raw[:]))
}

func (k *ReturnPathKey) open(token, mark, label string) (id [16]byte, ok bool) {
	if len(token) < len(mark) || !strings.EqualFold(token[:len(mark)], mark) {
		return id, false
	}
	var raw [len(id) + tokenMAC]byte
	if !decodeBase32(raw[:], token[len(mark):]) {
		return id, false
	}
	copy(id[:], raw[:])
	mac := k.mac(label, id)
	if subtle.ConstantTimeCompare(mac[:tokenMAC], raw[len(id):]) != 1 {
		return [16]byte{}, false
	}
	return id, true
}

func (k *ReturnPathKey) mac(label string, id [16]byte) [32]byte {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte(label))
	h.Write(id[:])
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}
