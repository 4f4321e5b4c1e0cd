package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

const (
	// rulesPoll is how often the folder of bounce rules is looked at.
	rulesPoll = 3 * time.Second
	// alertRules is raised while the folder does not load.
	alertRules      = "bounce-rules"
	alertRulesScope = "bounce/rules"
)

// ruleFolder keeps the bounce rules in use. Of a folder that does not load, the rules read before stay in use, at a
// start the built-in ones, and an alert says what is wrong. current may be called by any number of goroutines; look is
// called by one at a time.
type ruleFolder struct {
	dir    string // "": the built-in rules
	tell   func(platform.Alert)
	log    *slog.Logger
	poke   chan struct{}
	set    atomic.Pointer[bounce.Ruleset]
	looked string // what the folder held at the last look
	tried  string // what it held when it was last loaded, or failed to
	broken bool
}

func newRuleFolder(dir string, tell func(platform.Alert), log *slog.Logger) *ruleFolder {
	f := &ruleFolder{dir: dir, tell: tell, log: log, poke: make(chan struct{}, 1)}
	f.set.Store(bounce.Default())
	if dir != "" {
		f.look(true)
	}
	return f
}

// current are the rules in use.
func (f *ruleFolder) current() *bounce.Ruleset { return f.set.Load() }

// classify decides by the rules in use at this moment.
func (f *ruleFolder) classify(in bounce.Input) bounce.Verdict { return f.current().Reply(in) }

// reload asks for a look at the folder now, changed or not.
func (f *ruleFolder) reload() {
	select {
	case f.poke <- struct{}{}:
	default: // one is waiting
	}
}

// run looks at the folder until ctx ends.
func (f *ruleFolder) run(ctx context.Context) error {
	if f.dir == "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(rulesPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.look(false)
		case <-f.poke:
			f.look(true)
		}
	}
}

// look loads the folder if told to, or if it has changed since it was last loaded and not since the last look: files that
// are being written are left alone.
func (f *ruleFolder) look(force bool) {
	now, err := folderStamp(f.dir)
	if err != nil {
		now = err.Error()
	}
	settled := now == f.looked
	f.looked = now
	if !force && (now == f.tried || !settled) {
		return
	}
	f.tried = now
	var set *bounce.Ruleset
	if err == nil {
		set, err = bounce.Load(os.DirFS(f.dir))
	}
	if err != nil {
		f.broken = true
		f.tell(platform.Alert{
			Kind: alertRules, Scope: alertRulesScope,
			Message: fmt.Sprintf("the bounce rules in %s do not load, those read before stay in use: %v", f.dir, err),
		})
		return
	}
	f.set.Store(set)
	if f.broken {
		f.broken = false
		f.tell(platform.Alert{Kind: alertRules, Scope: alertRulesScope, Cleared: time.Now().UTC()})
	}
	f.log.Info("bounce rules loaded", mail.LogEvent, "rules_loaded", "folder", f.dir, "rules", len(set.Rules()))
}

// folderStamp tells two states of the rule files of a folder apart.
func folderStamp(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".toml") {
			continue
		}
		i, err := os.Stat(dir + string(os.PathSeparator) + e.Name()) // of what a link leads to
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since, or a link to nothing: the next look, or loading, will tell
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %d %d\n", e.Name(), i.Size(), i.ModTime().UnixNano())
	}
	return b.String(), nil
}

// ReloadRules asks for a look at the folder of bounce rules, as SIGHUP does. It does not wait for it.
func (n *Node) ReloadRules() { n.ruleFolder.reload() }
