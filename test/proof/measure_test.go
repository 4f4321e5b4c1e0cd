package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestSmallScale is the proof at a fiftieth of its size: everything is there after a stop and after a kill. What a restart and an
// idle queue cost is held against goals with POSTROAD_PROOF=1 alone, for how busy a machine is with other things is nobody's
// fault here; those in memory and time are tighter than the full ones, but for what the process costs when it is empty.
func TestSmallScale(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory and time of a process are read from /proc")
	}
	if testing.Short() {
		t.Skip("it takes some 15 seconds")
	}
	binary := filepath.Join(t.TempDir(), "postroad")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/postroad").CombinedOutput(); err != nil {
		t.Fatalf("build postroad: %v\n%s", err, out)
	}
	f, err := measure(t.Context(), options{binary: binary, dir: t.TempDir(), deliveries: 2000, domains: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(f)
	if os.Getenv("POSTROAD_PROOF") == "" {
		return
	}
	if err := f.judge(goals{ready: 2 * time.Second, rss: 110 << 20, cpu: 0.05}); err != nil {
		t.Error(err)
	}
}
