package storetest

import (
	"context"
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
	// Transcripts is how long dialogues are kept, Held whether a day must stay.
	Transcripts time.Duration
	Held        func(ctx context.Context, day string) (bool, error)
	// Step is called between any two steps of a write; an error must end the write there.
	Step func(name string) error
}

// Opener opens the store that lives in dir, a folder of the test, or makes it. Called again with the same dir after
// Close, it opens the same store.
type Opener func(t *testing.T, dir string, o Options) store.Store

// Run runs the whole contract.
func Run(t *testing.T, opener Opener) {
	open := func(t *testing.T, dir string, o Options) store.Store {
		t.Helper()
		if o.Now == nil {
			o.Now = Still()
		}
		return opener(t, dir, o)
	}
	tests := map[string]func(*testing.T, Opener){
		"State":            testState,
		"StateAtomic":      testStateAtomic,
		"Audit":            testAudit,
		"Alerts":           testAlerts,
		"Suppressions":     testSuppressions,
		"SuppressionBulk":  testSuppressionBulk,
		"Failures":         testFailures,
		"EraseSuppressed":  testEraseSuppressed,
		"LastAccepted":     testLastAccepted,
		"Ledger":           testLedger,
		"Meta":             testMeta,
		"Webhooks":         testWebhooks,
		"WebhookLog":       testWebhookLog,
		"WebhooksAtomic":   testWebhooksAtomic,
		"Timeline":         testTimeline,
		"Summaries":        testSummaries,
		"OutOfOrder":       testOutOfOrder,
		"Repeats":          testRepeats,
		"Events":           testEvents,
		"EventsTime":       testEventsTime,
		"EventsWhileAhead": testEventsWhileAhead,
		"MessageReads":     testMessageReads,
		"Resends":          testResends,
		"Transcripts":      testTranscripts,
		"Held":             testHeld,
		"Erase":            testErase,
		"EraseSpellings":   testEraseSpellings,
		"EraseCrash":       testEraseCrash,
		"Erasures":         testErasures,
		"Search":           testSearch,
		"SearchTime":       testSearchTime,
		"SearchHosts":      testSearchHosts,
		"Stats":            testStats,
		"Outcomes":         testOutcomes,
		"OutcomeCaps":      testOutcomeCaps,
		"Replies":          testReplies,
		"Sites":            testSites,
		"WaitFor":          testWaitFor,
		"Retention":        testRetention,
		"Floor":            testFloor,
		"Closed":           testClosed,
		"Backup":           testBackup,
		"Reports":          testReports,
		"ReportsTime":      testReportsTime,
		"ReportsCrash":     testReportsCrash,
		"ReportsFloor":     testReportsFloor,
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

// Still is a clock that stands still: no page of a search ends early because the machine is slow (store.MaxScan).
func Still() func() time.Time {
	now := time.Now()
	return func() time.Time { return now }
}

// stride is 1 in tests that die at every step of a write; where time is short, they die at every third.
func stride() int {
	if testing.Short() {
		return 3
	}
	return 1
}

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
