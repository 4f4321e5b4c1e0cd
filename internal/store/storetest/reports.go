package storetest

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// reportID makes the i-th id of a moment: those of mail.NewReportID rise with every one made.
func reportID(at time.Time, i int) (id mail.ReportID) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:], ms[2:])
	id[15] = byte(i)
	return id
}

// newReport makes the i-th report of the suite.
func newReport(i int, at time.Time) *store.StoredReport {
	r := &store.StoredReport{
		ID: reportID(at, i), Received: at, Door: "return-path", Kind: "bounce", Account: "acme", Outcome: store.ReportActed,
		To: "b1-x@bounces.example.org", Client: "192.0.2.1", Author: "MAILER-DAEMON@mx.example.net", Subject: "Undelivered mail",
		DKIM: "none", Evidence: mail.EvidenceToken, MTA: "mx.example.net", Size: 5,
		Recipients: []store.ReportRecipient{{Address: "user@example.com", Action: "failed", Status: "5.1.1", Class: mail.ClassInvalidRecipient}},
		Deliveries: []store.ReportDelivery{{
			Delivery: mail.NewDeliveryID(at), Message: mail.NewMessageID(at), Recipient: "user@example.com", Event: mail.EventBounced, Outcome: store.ReportActed,
		}},
		Raw: []byte(strings.Repeat("mail ", 1+i)),
	}
	return r
}

// testReports: what was put is read, once by id; lists are newest first, filtered and paged, and go over days.
func testReports(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{Retention: 2 * day})
	var all []*store.StoredReport
	for i := range 12 {
		all = append(all, newReport(i, Day0.Add(time.Duration(i)*6*time.Hour)))
	}
	all[1].Account, all[2].Kind, all[3].Door, all[4].Outcome = "rival", "complaint", "imap", store.ReportForged
	all[5].Mailbox, all[5].Author, all[5].Account = "postmaster", "Asker@example.net", ""
	all[6].Mailbox, all[6].Account = "abuse", ""
	must(t, s.PutReports(ctx, all))
	must(t, s.PutReports(ctx, nil))
	must(t, s.Close())
	s = open(t, dir, Options{Retention: 2 * day})
	defer s.Close()

	// Put again, a report is replaced.
	all[0].Why = "read again"
	must(t, s.PutReports(ctx, all[:1]))
	for _, want := range all {
		got, err := s.Report(ctx, want.ID)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}
	_, err := s.Report(ctx, reportID(Day0, 99))
	wantErr(t, err, store.ErrNotFound)
	_, err = s.Report(ctx, reportID(Day0.Add(-30*day), 1))
	wantErr(t, err, store.ErrNotFound)

	for name, test := range map[string]struct {
		q    store.ReportQuery
		want []int
	}{
		"all":           {store.ReportQuery{}, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"paged":         {store.ReportQuery{Max: 5}, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"account":       {store.ReportQuery{Account: "rival"}, []int{1}},
		"account paged": {store.ReportQuery{Account: "acme", Max: 1}, []int{11, 10, 9, 8, 7, 4, 3, 2, 0}},
		"kind":          {store.ReportQuery{Kind: "complaint"}, []int{2}},
		"door":          {store.ReportQuery{Door: "imap"}, []int{3}},
		"outcome":       {store.ReportQuery{Outcome: store.ReportForged}, []int{4}},
		"mailbox":       {store.ReportQuery{Mailbox: "abuse"}, []int{6}},
		"any mailbox":   {store.ReportQuery{Mailbox: store.AnyMailbox}, []int{6, 5}},
		"text":          {store.ReportQuery{Text: "asker@EXAMPLE"}, []int{5}},
		"delivery":      {store.ReportQuery{Delivery: all[8].Deliveries[0].Delivery}, []int{8}},
		"time":          {store.ReportQuery{From: all[3].Received, To: all[6].Received}, []int{5, 4, 3}},
		"nothing":       {store.ReportQuery{Account: "acme", Mailbox: "abuse"}, nil},
	} {
		var want, got []mail.ReportID
		for _, i := range test.want {
			want = append(want, all[i].ID)
		}
		for pages := 0; ; pages++ {
			page, err := s.ListReports(ctx, test.q)
			must(t, err)
			for _, r := range page.Reports {
				if r.Raw != nil {
					t.Errorf("%s: a list brings mails", name)
				}
				got = append(got, r.ID)
			}
			if test.q.Cursor = page.Next; page.Next == "" || pages > 100 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"x", "AQ", store.EncodeCursor(make([]byte, 17))} {
		_, err := s.ListReports(ctx, store.ReportQuery{Cursor: bad})
		wantErr(t, err, store.ErrBadCursor)
	}

	// They go with their day.
	done, err := s.Maintain(ctx, Day0.Truncate(day).Add(3*day))
	must(t, err)
	if len(done.Days) != 1 {
		t.Fatalf("removed %v", done.Days)
	}
	_, err = s.Report(ctx, all[0].ID)
	wantErr(t, err, store.ErrNotFound)
}

// testReportsCrash: a crash at any step leaves each report as a whole or not at all, and putting them again makes it good.
func testReportsCrash(t *testing.T, open Opener) {
	list := []*store.StoredReport{newReport(0, Day0), newReport(1, Day0), newReport(2, Day0.Add(day))}
	for k := 0; ; k += stride() {
		dir := t.TempDir()
		steps := 0
		s := open(t, dir, Options{Step: func(string) error {
			if steps++; steps > k {
				return errCrash
			}
			return nil
		}})
		err := s.PutReports(t.Context(), list)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		must(t, s.Close())
		s = open(t, dir, Options{})
		for _, r := range list {
			got, err := s.Report(t.Context(), r.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			must(t, err)
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("after a crash at step %d (-want +got):\n%s", k, diff)
			}
		}
		must(t, s.PutReports(t.Context(), list))
		page, listErr := s.ListReports(t.Context(), store.ReportQuery{})
		must(t, listErr)
		if len(page.Reports) != len(list) {
			t.Errorf("%d reports after a crash at step %d", len(page.Reports), k)
		}
		must(t, s.Close())
		if err == nil {
			return
		}
	}
}

// testReportsFloor: reports stop where the record stops growing.
func testReportsFloor(t *testing.T, open Opener) {
	var full error
	s := fresh(t, open, Options{MayGrow: func() error { return full }})
	full = errors.New("full")
	wantErr(t, s.PutReports(t.Context(), []*store.StoredReport{newReport(0, Day0)}), store.ErrUnavailable)
	full = nil
	must(t, s.PutReports(t.Context(), []*store.StoredReport{newReport(0, Day0)}))
}
