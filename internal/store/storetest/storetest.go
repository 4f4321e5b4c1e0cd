package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/store"
)

// Options are what the suite asks of a store it opens.
type Options struct {
	Now       func() time.Time
	Retention time.Duration
	MayGrow   func() error
	// Step is called between any two steps of a write; an error must end the write there.
	Step func(name string) error
}

// Opener opens the store that lives in dir, a folder of the test, or makes it. Called again with the same dir after
// Close, it opens the same store.
type Opener func(t *testing.T, dir string, o Options) store.Store

// Run runs the whole contract.
func Run(t *testing.T, open Opener) {
	tests := map[string]func(*testing.T, Opener){
		"State":            testState,
		"StateAtomic":      testStateAtomic,
		"Audit":            testAudit,
		"Alerts":           testAlerts,
		"Suppressions":     testSuppressions,
		"Ledger":           testLedger,
		"Meta":             testMeta,
		"Timeline":         testTimeline,
		"Summaries":        testSummaries,
		"OutOfOrder":       testOutOfOrder,
		"Repeats":          testRepeats,
		"Events":           testEvents,
		"EventsWhileAhead": testEventsWhileAhead,
		"MessageReads":     testMessageReads,
		"Search":           testSearch,
		"SearchTime":       testSearchTime,
		"Stats":            testStats,
		"Sites":            testSites,
		"WaitFor":          testWaitFor,
		"Retention":        testRetention,
		"Floor":            testFloor,
		"Closed":           testClosed,
		"Backup":           testBackup,
		"Crash":            testCrash,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// Day0 is a morning the suite's mail is sent on.
var Day0 = time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// fresh opens a new store that is closed when the test ends.
func fresh(t *testing.T, open Opener, o Options) store.Store {
	t.Helper()
	s := open(t, t.TempDir(), o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks that err is want.
func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
