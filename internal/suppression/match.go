package suppression

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// InForce reports whether an entry holds at a time.
func InForce(x *platform.Suppression, now time.Time) bool {
	return x.Expires.IsZero() || now.Before(x.Expires)
}

// Match returns the entry, of those there are for an address, that forbids an account's mail of a stream to it. Of
// several it is the widest: the platform's, then the account's for both streams, then the stream's.
func Match(list []platform.Suppression, account string, stream mail.Stream, now time.Time) (best platform.Suppression, ok bool) {
	rank := 0
	for i := range list {
		x := &list[i]
		if (x.Account != "" && x.Account != account) || (x.Stream != "" && x.Stream != stream) || !InForce(x, now) {
			continue
		}
		if n := width(x); n > rank {
			best, rank = *x, n
		}
	}
	return best, rank > 0
}

func width(x *platform.Suppression) int {
	n := 1
	if x.Stream == "" {
		n++
	}
	if x.Account == "" {
		n += 2
	}
	return n
}
