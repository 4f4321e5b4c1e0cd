package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestTold: what the API tells is printed as it came, also what this program has no use for.
func TestTold(t *testing.T) {
	const in = `{"id":"evt_1","type":"bounced","late":true,"new_field":{"a":1}}`
	var e event
	if err := json.Unmarshal([]byte(in), &e); err != nil || e.ID != "evt_1" || !e.Late {
		t.Fatalf("%+v, %v", e, err)
	}
	if out, err := json.Marshal([]event{e}); err != nil || string(out) != "["+in+"]" {
		t.Errorf("%s, %v", out, err)
	}
	var d delivery
	if err := json.Unmarshal([]byte(`{"id":"dlv_1","site":"x"}`), &d); err != nil || d.ID != "dlv_1" {
		t.Fatalf("%+v, %v", d, err)
	}
	if out, err := json.Marshal(map[string]delivery{"d": d}); err != nil || string(out) != `{"d":{"id":"dlv_1","site":"x"}}` {
		t.Errorf("%s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"id":7}`), &d); err == nil {
		t.Error("a number is no id")
	}
}

// TestExpiredPrinted: the end of a delivery that was tried until its deadline is no attempt.
func TestExpiredPrinted(t *testing.T) {
	var e event
	const in = `{"id":"evt_1","type":"expired","class":"expired","reason":"its deadline passed; the last answer was: 451 later",
		"attempt":{"n":5,"at":"2026-07-01T10:00:00Z","stage":"rcpt","reply":"451 later","mx":"mx.dest.example"}}`
	if err := json.Unmarshal([]byte(in), &e); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	e.print(&b, true)
	if out := b.String(); strings.Contains(out, "attempt") || strings.Count(out, "451 later") != 1 {
		t.Errorf("%s", out)
	}
}

// TestBehindPrinted: a timeline that may lack its end says from when on.
func TestBehindPrinted(t *testing.T) {
	for asOf, want := range map[time.Time]bool{{}: false, time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC): true} {
		var b strings.Builder
		(&timeline{AsOf: asOf}).print(&b, false)
		if got := strings.Contains(b.String(), "the record is behind: what happened since "+clock(asOf)); got != want {
			t.Errorf("as of %s: %q", asOf, b.String())
		}
	}
}

// TestStanding: what came back after a delivery is told with its state.
func TestStanding(t *testing.T) {
	for in, want := range map[string]string{
		`{"state":"delivered"}`:                                       "delivered",
		`{"state":"bounced","late":true}`:                             "bounced (late)",
		`{"state":"delivered","complained":true,"auto_replied":true}`: "delivered, complained, auto_replied",
	} {
		var d delivery
		if err := json.Unmarshal([]byte(in), &d); err != nil || d.standing() != want {
			t.Errorf("%s stands as %q, %v; want %q", in, d.standing(), err, want)
		}
	}
}

// TestAddressOrID: what cannot be meant is said before the platform is asked.
func TestAddressOrID(t *testing.T) {
	for _, c := range []struct {
		cmd  *cobra.Command
		args []string
	}{
		{newSearchCmd(), []string{"ann"}},
		{newSearchCmd(), []string{"ann@example.com", "--recipient", "bob@example.com"}},
		{newTraceCmd(), []string{"ann@example.com"}},
	} {
		c.cmd.SetArgs(c.args)
		c.cmd.SilenceErrors, c.cmd.SilenceUsage = true, true
		var usage usageError
		if err := c.cmd.Execute(); !errors.As(err, &usage) {
			t.Errorf("%s %v: %v", c.cmd.Name(), c.args, err)
		}
	}
}
