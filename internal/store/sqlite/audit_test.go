package sqlite

import (
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestAuditPlans: whoever asks the audit log for something does not go through all of it.
func TestAuditPlans(t *testing.T) {
	s := open(t, t.TempDir(), storetest.Options{}).(*Store)
	defer s.Close()
	for name, c := range map[string]struct {
		q    store.AuditQuery
		want string
	}{
		"newest": {store.AuditQuery{}, "SCAN audit"},
		"behind": {store.AuditQuery{Before: 7}, "USING INTEGER PRIMARY KEY (rowid<?)"},
		"entry":  {store.AuditQuery{Kind: store.KindAccount, Name: "acme"}, "audit_entry (kind=? AND name=?)"},
		"kind":   {store.AuditQuery{Kind: store.KindAccount, Before: 7}, "audit_kind (kind=?"},
		"actor":  {store.AuditQuery{Actor: "operator/ada", Before: 7}, "audit_actor (actor=?"},
		"since":  {store.AuditQuery{Since: day0}, "USING INTEGER PRIMARY KEY (rowid>?)"},
		"recent": {store.AuditQuery{Since: day0, Kind: store.KindAccount}, "audit_kind (kind=? AND id>?)"},
		"day":    {store.AuditQuery{Since: day0, Until: day0.AddDate(0, 0, 1), Before: 7}, "audit_at (at>? AND at<?"},
	} {
		query, args := auditQuery(c.q)
		var plan []string
		err := s.platform.query(t.Context(), "explain", "EXPLAIN QUERY PLAN "+query, args, func(r rowScanner) error {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			plan = append(plan, detail)
			return err
		})
		text := strings.Join(plan, "\n")
		if err != nil || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v, want %s in the plan:\n%s", name, err, c.want, text)
		}
		if sorted := strings.Contains(text, "TEMP B-TREE"); sorted && c.q.Until.IsZero() {
			t.Errorf("%s is sorted:\n%s", name, text)
		}
	}
}
