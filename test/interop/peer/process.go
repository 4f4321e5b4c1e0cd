package peer

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Time limits of a child.
const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 10 * time.Second
)

// start runs a program in the foreground until the test ends, and returns when somebody listens at each address. Its
// output goes to name.log in dir, and to the test's log when the test fails.
func start(t testing.TB, dir, name string, listens []string, env []string, program string, args ...string) {
	t.Helper()
	file := filepath.Join(dir, name+".log")
	log, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), env...)
	// A process group of its own: some of these fork, and all of the group is ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter: it was told to, or the wait below sees it
		log.Close()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // ESRCH: it has ended
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-exited
		}
		showLog(t, name, file)
	})
	for _, a := range listens {
		if err := awaitListener(a, exited); err != nil {
			showLog(t, name, file)
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// awaitListener returns when a TCP connection to addr succeeds.
func awaitListener(addr string, exited <-chan struct{}) error {
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-exited:
			return fmt.Errorf("it ended at its start")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nobody listens at %s: %w", addr, err)
		}
	}
}

// showLog puts the end of a log into a failed test's output.
func showLog(t testing.TB, name, file string) {
	if !t.Failed() {
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Logf("%s: no log: %v", name, err)
		return
	}
	const most = 6 << 10
	if len(b) > most {
		b = b[len(b)-most:]
	}
	t.Logf("the log of %s ends with:\n%s", name, b)
}

// write writes a file of a child's configuration.
func write(t testing.TB, file string, mode os.FileMode, format string, args ...any) string {
	t.Helper()
	if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), mode); err != nil {
		t.Fatal(err)
	}
	// The umask may have taken bits away that another user needs.
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// folder makes a folder of a child that other users may enter.
func folder(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// cached is a program that was unpacked from its Debian package into the cache folder of run.sh, with the environment
// that lets it find its libraries.
func cached(t testing.TB, path string) (program string, env []string) {
	t.Helper()
	root := os.Getenv("POSTROAD_INTEROP_CACHE")
	if root == "" {
		t.Fatal("POSTROAD_INTEROP_CACHE is not set: run test/interop/run.sh")
	}
	return filepath.Join(root, "root", path), []string{"LD_LIBRARY_PATH=" + filepath.Join(root, "root/usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "root/usr/lib/aarch64-linux-gnu")}
}
