package report

import (
	"strings"
	"testing"
)

// The tests of this file each hold a defect found in other systems.

// TestDefectThreeRecipientsMiddleExpanded: every recipient of a report counts, also those around one that was expanded.
func TestDefectThreeRecipientsMiddleExpanded(t *testing.T) {
	r := Parse(named(t, "bounces.txt", "dsn three recipients, the middle one expanded"), Limits{})
	var got []string
	for _, rc := range r.Recipients {
		got = append(got, rc.Address+" "+string(rc.Action))
	}
	if s := strings.Join(got, ", "); s != "one@example.com failed, list@example.com expanded, three@example.com delayed" {
		t.Error(s)
	}
	if r.Kind != Bounce {
		t.Error(r.Kind)
	}
}

// TestDefectAutoReplyQuotesOurMessage: an out-of-office mail that quotes our whole header is no bounce, and names no
// failing recipient.
func TestDefectAutoReplyQuotesOurMessage(t *testing.T) {
	for _, s := range samples(t, "autoreplies.txt") {
		r := Parse(s.raw, Limits{})
		if r.Kind != AutoReply || len(r.Recipients) > 0 {
			t.Errorf("%s: %s with %d recipients", s.name, r.Kind, len(r.Recipients))
		}
		quoted := append(append([]byte(nil), s.raw...), "\n\n----- Original message -----\n\nReturn-Path: <bounce@shop.example.org>\nReceived: from x by y\nMessage-ID: <m2@shop.example.org>\nFrom: shop@shop.example.org\nTo: user@example.com\nSubject: hello\n\nText.\n"...)
		if r = Parse(quoted, Limits{}); r.Kind != AutoReply {
			t.Errorf("%s, quoting us: %s", s.name, r.Kind)
		}
	}
}

// TestDefectComplaintWithoutRecipientAndBody: a complaint with nothing but our header in it still leads to the
// delivery.
func TestDefectComplaintWithoutRecipientAndBody(t *testing.T) {
	r := Parse(named(t, "complaints.txt", "no recipient and no body"), Limits{})
	if r.Kind != Complaint || r.Original.Get("X-Postroad-Token") != "tok5" || r.Original.MessageID != "c5@shop.example.org" {
		t.Errorf("%s, token %q, message %q", r.Kind, r.Original.Get("X-Postroad-Token"), r.Original.MessageID)
	}
}

// TestAutoSubmittedAloneDecidesNothing holds both directions: bounces carry it, and auto-replies lack it.
func TestAutoSubmittedAloneDecidesNothing(t *testing.T) {
	strip := func(raw []byte) []byte {
		var keep []string
		for line := range strings.Lines(string(raw)) {
			if !strings.HasPrefix(line, "Auto-Submitted:") {
				keep = append(keep, line)
			}
		}
		return []byte(strings.Join(keep, ""))
	}
	for _, s := range samples(t, "bounces.txt") {
		want := Kind(s.want["kind"][0])
		if want == Other || want == AutoReply {
			continue
		}
		for _, value := range []string{"auto-replied", "auto-generated", "no"} {
			raw := append([]byte("Auto-Submitted: "+value+"\n"), strip(s.raw)...)
			if got := Parse(raw, Limits{}).Kind; got != want {
				t.Errorf("%s with Auto-Submitted: %s: %s, want %s", s.name, value, got, want)
			}
		}
	}
	plain := []byte("From: user@example.com\nSubject: hello\nAuto-Submitted: auto-generated\n\nThe report of the day.\n")
	if r := Parse(plain, Limits{}); r.Kind != Other {
		t.Errorf("a machine's mail that answers nothing: %s", r.Kind)
	}
}

func named(t *testing.T, file, name string) []byte {
	t.Helper()
	for _, s := range samples(t, file) {
		if s.name == name {
			return s.raw
		}
	}
	t.Fatalf("%s has no sample %q", file, name)
	return nil
}
