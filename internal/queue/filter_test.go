package queue

import (
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

// A filter finds a recipient however the submitter wrote it.
func TestFilterRecipient(t *testing.T) {
	d := &mail.Delivery{Recipient: mail.Address{Local: "Ünal", Domain: "example.net"}}
	for local, want := range map[string]bool{"Ünal": true, "ÜNAL": true, "u\u0308nal": true, "unal": false} {
		f := Filter{Recipient: mail.Address{Local: local, Domain: "example.net"}}
		if got := f.matchesDelivery(d); got != want {
			t.Errorf("%q: %v, want %v", local, got, want)
		}
	}
}
