package smtpserver

import (
	"context"
	"io"
	"testing"
)

// breaking is a session whose Reset and Close are faulty.
type breaking struct {
	Session
	closed *int
}

func (breaking) Reset() { panic("in Reset") }
func (b breaking) Close() {
	*b.closed++
	panic("in Close")
}

// Faults in the last calls of a session are no more the end of the program than those in the others.
func TestFaultsAtTheEnd(t *testing.T) {
	closed := 0
	var c counts
	handler := func(ctx context.Context, info *ConnInfo) (Session, error) {
		s, err := (&recorder{}).session(ctx, info)
		return breaking{s, &closed}, err
	}
	addr, stop := start(t, Options{Handler: handler, Observer: c.observer(), Caps: NewCaps(1, 1)})
	for range 2 { // the second finds room: the caps were told
		nc := dial(t, addr)
		greeting(t, nc)
		if _, err := io.WriteString(nc, "HELO x\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(nc); err != nil {
			t.Fatal(err)
		}
		waitFree(t, addr)
	}
	stop()
	if closed < 2 || c.open != 0 || c.refused["panic"] < 2 {
		t.Errorf("closed %d, observed %+v", closed, &c)
	}
}

// waitFree returns once the server takes a connection again.
func waitFree(t *testing.T, addr string) {
	t.Helper()
	for {
		nc := dial(t, addr)
		g := greeting(t, nc)
		_, _ = io.WriteString(nc, "QUIT\r\n")
		_, _ = io.ReadAll(nc)
		_ = nc.Close()
		if g[:3] == "220" {
			return
		}
	}
}
