package egress

import (
	"testing"

	"github.com/postroad/postroad/internal/mx"
)

// TestReceiversAreKnown: a limit for a receiver that mx never names would hold for nobody.
func TestReceiversAreKnown(t *testing.T) {
	table, err := mx.DefaultReceivers()
	if err != nil {
		t.Fatal(err)
	}
	for name := range receivers {
		if _, ok := table.Get(name); !ok {
			t.Errorf("there is a limit for %q, and no such receiver in the table of mx", name)
		}
	}
}
