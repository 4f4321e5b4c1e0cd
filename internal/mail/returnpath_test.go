package mail

import (
	"strings"
	"testing"
	"time"
)

// TestToken: a token names what it was made for, survives a change of case, and neither kind passes for the other.
func TestToken(t *testing.T) {
	k, other := ReturnPathKey{1}, ReturnPathKey{2}
	d, m := NewDeliveryID(time.Now()), NewMessageID(time.Now())
	path := k.ReturnPath(d, "bounces.example.org")
	if len(path.Local) > 64 || path.Local != strings.ToLower(path.Local) || path.Local != k.Token(d) {
		t.Errorf("return path %s", path)
	}
	if got, ok := k.Delivery(strings.ToUpper(path.Local)); !ok || got != d {
		t.Errorf("Delivery: %v, %v", got, ok)
	}
	token := k.MessageToken(m)
	if got, ok := k.Message(token); !ok || got != m {
		t.Errorf("Message: %v, %v", got, ok)
	}
	forged := []byte(path.Local)
	forged[10] ^= 1
	for _, bad := range []string{"", "b1-", path.Local[:len(path.Local)-1], path.Local + "0", string(forged), token, deliveryMark + token[len(messageMark):]} {
		if id, ok := k.Delivery(bad); ok {
			t.Errorf("Delivery(%q) = %v", bad, id)
		}
	}
	for _, bad := range []string{"", messageMark, path.Local, messageMark + path.Local[len(deliveryMark):]} {
		if id, ok := k.Message(bad); ok {
			t.Errorf("Message(%q) = %v", bad, id)
		}
	}
	if _, ok := other.Delivery(path.Local); ok {
		t.Error("another key takes it")
	}
	if _, ok := other.Message(token); ok {
		t.Error("another key takes the message token")
	}
}
