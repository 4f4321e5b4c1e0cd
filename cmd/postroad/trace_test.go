package main

import (
	"strings"
	"testing"
)

// TestTraceWaits: a delivery that waits says so once, with the reason.
func TestTraceWaits(t *testing.T) {
	line := timeline{Deliveries: []delivery{{ID: "dlv_1", Recipient: "ann@example.com", State: "deferred", Why: "waiting: its turn in lane direct > mx.example.com"}}}
	var b strings.Builder
	line.print(&b, false)
	if !strings.Contains(b.String(), "  waits: its turn in lane direct > mx.example.com\n") {
		t.Error(b.String())
	}
}
