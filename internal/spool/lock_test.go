package spool

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestAnotherProcess opens a spool that another process holds; the error says who.
func TestAnotherProcess(t *testing.T) {
	const env = "SPOOL_TEST_LOCKED_DIR"
	if dir := os.Getenv(env); dir != "" {
		_, err := Open(t.Context(), Options{Dir: dir})
		t.Log("child: ", err)
		return
	}
	dir := t.TempDir()
	openTest(t, Options{Dir: dir, MinFree: 1})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnotherProcess$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := ErrLocked.Error() + ": " + dir + " is in use by process " + strconv.Itoa(os.Getpid()) + " on "
	if !strings.Contains(string(out), want) {
		t.Errorf("the child says %s, want %s", out, want)
	}
}
