package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

func testReplies(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	note := func(seq uint64, print, host string) store.ReplyNote {
		return store.ReplyNote{
			Event: mail.EventID{Spool: spool, Seq: seq}, Fingerprint: print, At: Day0.Add(time.Duration(seq) * time.Second), Host: host,
			Stage: mail.StageRcpt, Code: "550 5.0.0", Reply: "550 " + print + " \xff",
		}
	}
	list := []store.ReplyNote{note(1, "purple", "mx.a.example"), note(2, "purple", "mx.b.example"), note(5, "green", "mx.a.example"), note(6, "purple", "mx.a.example")}
	must(t, s.NoteReplies(ctx, list))
	must(t, s.NoteReplies(ctx, list))                                                        // told again after a crash
	must(t, s.NoteReplies(ctx, append(list[2:], note(7, "purple", strings.Repeat("x", 5))))) // a page cut otherwise
	must(t, s.NoteReplies(ctx, nil))
	must(t, s.Close())
	s = open(t, dir, Options{})
	defer s.Close()
	want := []store.UnknownReply{
		{
			Fingerprint: "purple", Count: 4, First: Day0.Add(time.Second), Last: Day0.Add(7 * time.Second), Hosts: []string{"mx.a.example", "mx.b.example", "xxxxx"},
			Stages: []string{"rcpt"}, Codes: []string{"550 5.0.0"}, Sample: "550 purple \uFFFD",
		},
		{
			Fingerprint: "green", Count: 1, First: Day0.Add(5 * time.Second), Last: Day0.Add(5 * time.Second), Hosts: []string{"mx.a.example"},
			Stages: []string{"rcpt"}, Codes: []string{"550 5.0.0"}, Sample: "550 green \uFFFD",
		},
	}
	got, err := s.UnknownReplies(ctx, store.RepliesQuery{})
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("replies (-want +got):\n%s", diff)
	}

	prints := func(q store.RepliesQuery) (list []string) {
		t.Helper()
		got, err := s.UnknownReplies(ctx, q)
		must(t, err)
		for _, x := range got {
			list = append(list, x.Fingerprint)
		}
		return list
	}
	must(t, s.MarkReply(ctx, "purple", "operator/local", Day0.Add(time.Hour), store.AuditEntry{At: Day0, Actor: "operator/local", Action: "reply.done", Name: "purple"}))
	wantErr(t, s.MarkReply(ctx, "blue", "operator/local", Day0), store.ErrNotFound)
	if got := prints(store.RepliesQuery{}); len(got) != 1 || got[0] != "green" {
		t.Errorf("what was dealt with is still listed: %v", got)
	}
	if got := prints(store.RepliesQuery{Done: true}); len(got) != 2 {
		t.Errorf("all of them: %v", got)
	}
	audit, err := s.ListAudit(ctx, store.AuditQuery{Max: 1})
	must(t, err)
	if len(audit) != 1 || audit[0].Action != "reply.done" {
		t.Errorf("audit: %+v", audit)
	}
	must(t, s.NoteReplies(ctx, []store.ReplyNote{note(4000, "purple", "mx.c.example")}))
	if got := prints(store.RepliesQuery{}); len(got) != 2 {
		t.Errorf("what comes again after it was dealt with is not listed: %v", got)
	}
	must(t, s.MarkReply(ctx, "green", "", Day0.Add(time.Hour)))
	must(t, s.MarkReply(ctx, "green", "", time.Time{}))
	if got := prints(store.RepliesQuery{}); len(got) != 2 {
		t.Errorf("what is open again is not listed: %v", got)
	}

	var many []store.ReplyNote
	for i := range store.MaxUnknownReplies + 50 {
		many = append(many, note(uint64(5000+i), fmt.Sprintf("wording %d", i), fmt.Sprintf("mx%d.example", i)))
	}
	must(t, s.NoteReplies(ctx, many))
	got, err = s.UnknownReplies(ctx, store.RepliesQuery{Done: true, Max: store.MaxPage})
	must(t, err)
	if len(got) != store.MaxUnknownReplies || got[0].Fingerprint != "purple" || got[1].Fingerprint != fmt.Sprintf("wording %d", len(many)-1) {
		t.Errorf("%d are kept, first %q and %q", len(got), got[0].Fingerprint, got[1].Fingerprint)
	}
}
