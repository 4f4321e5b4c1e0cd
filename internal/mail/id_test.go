package mail

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIDText(t *testing.T) {
	now := NewMessageID(time.Now()).Time().UTC().Add(time.Hour) // ids of a process only rise: behind those of other tests
	m, d := NewMessageID(now), NewDeliveryID(now)
	if got, err := ParseMessageID(strings.ToUpper(m.String()[4:])); err == nil {
		t.Errorf("an id without prefix was read as %v", got)
	}
	got, err := ParseMessageID(PrefixMessage + strings.ToUpper(m.String()[4:]))
	if err != nil || got != m {
		t.Errorf("ParseMessageID(upper case %v) = %v, %v", m, got, err)
	}
	if !d.Time().Equal(now) {
		t.Errorf("time of %v = %v, want %v", d, d.Time(), now)
	}
	for _, bad := range []string{"", "msg_", "dlv_" + m.String()[4:], m.String() + "0", m.String()[:29], "msg_" + strings.Repeat("u", 26), "msg_" + strings.Repeat("z", 26)} {
		if id, err := ParseMessageID(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("ParseMessageID(%q) = %v, %v, want ErrBadID", bad, id, err)
		}
	}
	e := EventID{Spool: 0xfedcba98, Seq: 1 << 60}
	if got, err := ParseEventID(e.String()); err != nil || got != e {
		t.Errorf("ParseEventID(%v) = %v, %v", e, got, err)
	}
}

func TestIDOrder(t *testing.T) {
	// Ids of one process rise, also within a millisecond, past 4,096 of them, and when the clock goes back; and
	// their text sorts as they do.
	now := time.UnixMilli(1_764_000_000_123)
	last := NewDeliveryID(now)
	for i := range 10_000 {
		at := now
		if i%3 == 0 {
			at = now.Add(-time.Second)
		}
		id := NewDeliveryID(at)
		if bytes.Compare(id[:], last[:]) <= 0 || id.String() <= last.String() {
			t.Fatalf("id %d: %v is not after %v", i, id, last)
		}
		last = id
	}
}

func TestIDUnique(t *testing.T) {
	var mu sync.Mutex
	seen := map[MessageID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				id := NewMessageID(time.Now())
				mu.Lock()
				if seen[id] {
					t.Errorf("%v was made twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestReturnPath(t *testing.T) {
	k, other := ReturnPathKey{1}, ReturnPathKey{2}
	id := NewDeliveryID(time.Now())
	a := k.ReturnPath(id, "rp.example.com")
	if a != k.ReturnPath(id, "rp.example.com") {
		t.Error("the return path changed between two attempts")
	}
	if len(a.Local) > MaxLocalPart || a.localText() != a.Local {
		t.Errorf("local part %q is too long or needs quotes", a.Local)
	}
	for _, local := range []string{a.Local, strings.ToUpper(a.Local)} {
		if got, ok := k.Delivery(local); !ok || got != id {
			t.Errorf("Delivery(%q) = %v, %v", local, got, ok)
		}
	}
	if _, ok := other.Delivery(a.Local); ok {
		t.Error("a return path of another key was taken for ours")
	}
	for i := range a.Local {
		b := []byte(a.Local)
		if b[i] == '0' {
			b[i] = '1'
		} else {
			b[i] = '0'
		}
		if _, ok := k.Delivery(string(b)); ok {
			t.Errorf("forged return path %q was taken for ours", b)
		}
	}
}
