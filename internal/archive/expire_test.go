package archive

import (
	"errors"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// archivedAt archives a message accepted n days ago.
func (b *bed) archivedAt(a *Archive, account string, daysAgo, recipients int) mail.MessageID {
	b.t.Helper()
	now := b.now
	// The ids of a process only rise: messages must be made in order of time.
	b.now = now.AddDate(0, 0, -daysAgo)
	m, ds := b.accept(account, recipients, []byte("content"), true)
	b.now = now
	b.deliver(ds)
	b.run(a, "archived", func() bool { return b.owed() == 0 })
	return m.ID
}

// future is so far ahead that ids made by other tests of the process are long behind it: those of a process only rise.
func (b *bed) future() { b.now = mail.NewMessageID(b.now).Time().UTC().AddDate(0, 0, 100) }

// TestExpire: files go when the account's time is over; those of an account that keeps nothing any more by the time that
// was promised; what a legal hold covers stays, and of its file only that.
func TestExpire(t *testing.T) {
	b := newBed(t)
	b.future()
	a := b.room(nil)
	b.state.Accounts = append(b.state.Accounts, platform.Account{Name: "ended", Archive: platform.Archive{Days: 5}})
	old := b.archivedAt(a, "acme", 31, 1)
	ended := b.archivedAt(a, "ended", 4, 1)
	young := b.archivedAt(a, "acme", 3, 1)
	begin := b.now
	has := func(id mail.MessageID) bool {
		_, err := a.Content(t.Context(), "", id)
		if err != nil && !errors.Is(err, ErrNotArchived) {
			t.Fatal(err)
		}
		return err == nil
	}
	expire := func(after time.Duration) {
		t.Helper()
		if err := a.Expire(t.Context(), begin.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	b.state.Accounts[2].Archive.Days = 0
	expire(0)
	if has(old) || !has(ended) || !has(young) {
		t.Errorf("now: old %v, ended %v, young %v", has(old), has(ended), has(young))
	}
	expire(3 * day)
	if has(ended) || !has(young) {
		t.Errorf("in 3 days: ended %v, young %v", has(ended), has(young))
	}
	b.state.LegalHolds = []platform.LegalHold{{Name: "case", Account: "acme", Reason: "r", Author: "a"}}
	expire(100 * day)
	if !has(young) {
		t.Error("it expired under a legal hold")
	}
	b.state.LegalHolds = nil
	expire(100 * day)
	if has(young) {
		t.Error("it did not expire after the hold")
	}
}

func TestExpireAroundHold(t *testing.T) {
	b := newBed(t)
	b.future()
	a := b.room(nil)
	one := b.archivedAt(a, "acme", 0, 1)
	two := b.archivedAt(a, "acme", 0, 2) // to user0 and user1
	three := b.archivedAt(a, "acme", 0, 1)
	b.state.LegalHolds = []platform.LegalHold{
		{Name: "person", Recipient: "user1@example.net", Reason: "r", Author: "a"},
		{Name: "message", Message: three.String(), Reason: "r", Author: "a"},
		{Name: "another account", Account: "beta", Reason: "r", Author: "a"},
	}
	if err := a.Expire(t.Context(), b.now.AddDate(0, 0, 40)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[mail.MessageID]bool{one: false, two: true, three: true} {
		if _, err := a.Content(t.Context(), "", id); (err == nil) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestHeldDay(t *testing.T) {
	b := newBed(t)
	b.future()
	a := b.room(nil)
	id := b.archivedAt(a, "acme", 0, 1)
	today, tomorrow := b.now.Format(dayLayout), b.now.AddDate(0, 0, 1).Format(dayLayout)
	for name, tt := range map[string]struct {
		h    platform.LegalHold
		want bool
	}{
		"account":           {platform.LegalHold{Account: "acme"}, true},
		"another account":   {platform.LegalHold{Account: "beta"}, false},
		"recipient":         {platform.LegalHold{Recipient: "user0@example.net"}, true},
		"another recipient": {platform.LegalHold{Recipient: "user9@example.net"}, false},
		"message":           {platform.LegalHold{Message: id.String()}, true},
		"message, account":  {platform.LegalHold{Message: id.String(), Account: "beta"}, false},
	} {
		b.state.LegalHolds = []platform.LegalHold{tt.h}
		if held, err := a.HeldDay(t.Context(), today); err != nil || held != tt.want {
			t.Errorf("%s: %v, %v", name, held, err)
		}
		if held, err := a.HeldDay(t.Context(), tomorrow); err != nil || held {
			t.Errorf("%s, on another day: %v, %v", name, held, err)
		}
	}
}
