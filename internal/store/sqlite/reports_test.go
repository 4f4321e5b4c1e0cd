package sqlite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// Lists of reports that each say much come in pages of bounded size, and nothing is left out.
func TestReportPages(t *testing.T) {
	s := open(t, t.TempDir(), storetest.Options{Now: storetest.Still()})
	defer s.Close()
	now := time.Now()
	want := map[mail.ReportID]bool{}
	var batch []*store.StoredReport
	for range 40 {
		r := &store.StoredReport{ID: mail.NewReportID(now), Received: now, Kind: "bounce", Outcome: store.ReportUnknown}
		for i := range 200 {
			r.Recipients = append(r.Recipients, store.ReportRecipient{Address: fmt.Sprintf("u%d@example.com", i), Diagnostic: strings.Repeat("no ", 600)})
		}
		want[r.ID] = true
		batch = append(batch, r)
	}
	if err := s.PutReports(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	q := store.ReportQuery{Max: 1000}
	for pages := 0; ; pages++ {
		page, err := s.ListReports(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(page.Reports); n > maxReportPage/(200*1800)+1 {
			t.Errorf("a page has %d reports", n)
		}
		for _, r := range page.Reports {
			if !want[r.ID] {
				t.Errorf("%s comes twice", r.ID)
			}
			delete(want, r.ID)
		}
		if q.Cursor = page.Next; page.Next == "" || pages > 100 {
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("%d reports are in no page", len(want))
	}
}
