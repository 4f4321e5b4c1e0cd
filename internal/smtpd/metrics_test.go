package smtpd

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/smtpserver"
)

// TestCountersFromTheStart: counters with fixed labels are there before anything happened, so that a rate sees the first one.
func TestCountersFromTheStart(t *testing.T) {
	_, registry := startReturn(t, openSpool(t, vfs.NewMem(), nil), nil)
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.observer("submission")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if have[f.GetName()]++; m.GetCounter().GetValue() != 0 {
				t.Errorf("%s counts already: %v", f.GetName(), m)
			}
		}
	}
	for name, want := range map[string]int{
		"postroad_smtpd_refused_total": len(smtpserver.RefusedReasons), "postroad_return_path_refused_total": 10, "postroad_return_path_taken_total": 3,
	} {
		if have[name] != want {
			t.Errorf("%s has %d series, want %d", name, have[name], want)
		}
	}
}
