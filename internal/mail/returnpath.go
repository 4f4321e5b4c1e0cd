package mail

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// returnPathMark begins every signed return path. The digit is the format: a later one can be told apart.
const returnPathMark = "b1-"

const returnPathMAC = 10 // octets of HMAC-SHA256 kept: 80 bits, with 16 of the id 42 characters, under the 64 allowed

// ReturnPathKey signs return paths. It must be the same for as long as bounces are accepted.
type ReturnPathKey [32]byte

// ReturnPath is the per-delivery return path (VERP) in domain. It is the same on every attempt, holds only lower-case
// letters, digits and a hyphen, and survives hosts that change the case of a local part.
func (k *ReturnPathKey) ReturnPath(id DeliveryID, domain string) Address {
	mac := k.mac(id)
	b := append(make([]byte, 0, 48), returnPathMark...)
	var raw [len(id) + returnPathMAC]byte
	copy(raw[:], id[:])
	copy(raw[len(id):], mac[:returnPathMAC])
	return Address{Local: string(appendBase32(b, raw[:])), Domain: domain}
}

// Delivery returns the delivery a return path was made for. It reports false for a local part that is none of ours
// or whose signature does not fit.
func (k *ReturnPathKey) Delivery(local string) (id DeliveryID, ok bool) {
	if len(local) < len(returnPathMark) || !strings.EqualFold(local[:len(returnPathMark)], returnPathMark) {
		return DeliveryID{}, false
	}
	var raw [len(id) + returnPathMAC]byte
	if !decodeBase32(raw[:], local[len(returnPathMark):]) {
		return DeliveryID{}, false
	}
	copy(id[:], raw[:])
	mac := k.mac(id)
	if subtle.ConstantTimeCompare(mac[:returnPathMAC], raw[len(id):]) != 1 {
		return DeliveryID{}, false
	}
	return id, true
}

func (k *ReturnPathKey) mac(id DeliveryID) [32]byte {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte("postroad return path\x00"))
	h.Write(id[:])
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}
