package queue

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// accounts makes accounts of names and weights in turn.
func accounts(pairs ...any) (as []platform.Account) {
	for i := 0; i < len(pairs); i += 2 {
		as = append(as, platform.Account{Name: pairs[i].(string), Weight: pairs[i+1].(int), State: platform.AccountActive})
	}
	return as
}

func slowDialogue(what string) time.Duration {
	if what == "dialogue" {
		return 100 * time.Millisecond
	}
	return 0
}

func restoredKey(key string, l mail.Lane) gateKey {
	k, _ := restoreKey(spool.LaneRecord{Key: key, Lane: l})
	return k
}
