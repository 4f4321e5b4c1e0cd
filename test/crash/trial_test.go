package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRounds is the crash test in small: four kills and a stop.
func TestRounds(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some 10 seconds")
	}
	binary := filepath.Join(t.TempDir(), "postroad")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/postroad").CombinedOutput(); err != nil {
		t.Fatalf("build postroad: %v\n%s", err, out)
	}
	if err := run(t.Context(), options{rounds: 5, graceful: 5, postroad: binary, seed: 5}); err != nil {
		t.Error(err)
	}
}
