package submission

import (
	"context"
	"errors"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

const letterText = "From: Postmaster <postmaster@mail.example.org>\nTo: info@shop.example\nSubject: not delivered\n\nSorry.\n"

// TestLetter: the platform's own mail needs no credential, no sender and no quota, and written twice goes out once.
func TestLetter(t *testing.T) {
	b := newTestbed(t, nil)
	to := []mail.Address{{Local: "info", Domain: "shop.example"}, {Local: "info", Domain: "shop.example"}}
	l := Letter{Account: "small", Writer: "notice", To: to, Content: []byte(letterText), Key: "dlv_1"}
	r, err := b.Letter(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != 1 || r.Replayed {
		t.Errorf("receipt %+v", r)
	}
	m := b.added[0].m
	if m.Account != "small" || m.Credential != "notice" || m.Stream != mail.Transactional || !m.From.IsZero() || m.Verified {
		t.Errorf("message %+v", m)
	}
	if b.ledger.asked != 0 {
		t.Errorf("it was charged to the account")
	}
	l.Content = []byte("Date: Mon, 2 Mar 2026 10:00:00 +0000\n" + letterText)
	if again, err := b.Letter(t.Context(), l); err != nil || !again.Replayed || again.Message != r.Message {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if len(b.added) != 1 {
		t.Errorf("%d messages went out", len(b.added))
	}
	l.Account, l.Key = "", ""
	if _, err := b.Letter(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if m := b.added[1].m; m.Account != platform.SystemAccount {
		t.Errorf("the platform's own letter is of account %q", m.Account)
	}
	// An account that is paused is told about it by mail all the same.
	l.Account = "stopped"
	if _, err := b.Letter(t.Context(), l); err != nil {
		t.Error(err)
	}
	for _, bad := range []Letter{
		{Account: "nobody", To: to, Content: l.Content},
		{Account: "shop", Content: l.Content},
		{Account: "shop", To: to, Content: []byte("no header\n")},
	} {
		var e *Error
		if _, err := b.Letter(t.Context(), bad); !errors.As(err, &e) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestLetterToContact: the list holds for letters too, but not for the contact of the account they concern.
func TestLetterToContact(t *testing.T) {
	b := newTestbed(t, func(o *Options) {
		snap := o.Snapshot()
		st := snap.State()
		for i := range st.Accounts {
			if st.Accounts[i].Name == "small" {
				st.Accounts[i].Contact = "Owner@small.example"
			}
		}
		changed := platform.NewSnapshot(st, snap.Hostname)
		o.Snapshot = func() *platform.Snapshot { return changed }
		o.Suppressed = func(context.Context, string, mail.Stream, mail.Address) (platform.Suppression, bool, error) {
			return platform.Suppression{Reason: "complaint"}, true, nil
		}
	})
	owner, other := mail.Address{Local: "owner", Domain: "small.example"}, mail.Address{Local: "other", Domain: "small.example"}
	for account, want := range map[string]string{"small": StatusQueued, "shop": StatusSuppressed, "": StatusQueued} {
		r, err := b.Letter(t.Context(), Letter{Account: account, Writer: "notice", To: []mail.Address{owner, other}, Content: []byte(letterText)})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Recipients[0].Status; got != want {
			t.Errorf("in the name of %q, the contact of small: %s, want %s", account, got, want)
		}
		if got := r.Recipients[1].Status; got != StatusSuppressed {
			t.Errorf("in the name of %q, somebody else: %s", account, got)
		}
	}
}
