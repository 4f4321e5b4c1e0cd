package sqlite

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestOldDay opens a day file of the first schema: it must answer the questions that came later, and take more events.
func TestOldDay(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewMail(7, day0)
	sent := g.Sent("acme", 3)
	m, d := g.Message("acme"), g.Delivery()
	sent = append(sent, g.Accepted(m, d, "user@bigmail.example"))
	late := g.Event(mail.EventBounced, m, sent[1].Delivery, sent[1].Recipient)
	late.Late, late.Class = true, mail.ClassInactive
	complained := g.Event(mail.EventComplained, m, sent[1].Delivery, sent[1].Recipient)
	sent = append(sent, late, complained)
	if err := s.WriteEvents(ctx, 7, sent[len(sent)-1].ID.Seq, sent); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	downgrade(t, filepath.Join(dir, "record", dayName(day0)+".db"))

	if s, err = Open(ctx, Options{Now: storetest.Still(), Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkFilters(t, s)
	if err := s.makeFilters(ctx, day0.Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if checkFilters(t, s) == 0 {
		t.Error("the old file got no filter")
	}
	ask := func(of store.Question, by ...store.Dimension) []store.StatsRow {
		t.Helper()
		list, err := s.Stats(ctx, store.StatsQuery{Of: of, From: day0.Add(-24 * time.Hour), To: day0.Add(24 * time.Hour), By: by})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if diff := cmp.Diff([]store.StatsRow{
		{Account: "acme", Outcome: "bounced_late", Class: mail.ClassInactive, Count: 1},
		{Account: "acme", Outcome: "delivered", Count: 2},
		{Account: "acme", Outcome: "queued", Count: 1},
	}, ask(store.PerOutcome, store.ByAccount, store.ByOutcome, store.ByClass)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]store.StatsRow{{Mark: "complained", Count: 1}}, ask(store.PerMark, store.ByMark)); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]store.StatsRow{{Route: "direct", Type: "delivered", Count: 3}}, ask(store.PerRoute, store.ByRoute, store.ByType), cmpNoDelay); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	for _, of := range []store.Question{store.PerSenderOutcome, store.PerDomainOutcome} {
		if diff := cmp.Diff([]store.StatsRow{{Outcome: "bounced_late", Count: 1}, {Outcome: "delivered", Count: 2}}, ask(of, store.ByOutcome)[:2]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", of, diff)
		}
	}
	next := g.Tried(mail.EventDelivered, m, d, "user@bigmail.example", 1, 250, "ok")
	next.ID.Seq = sent[len(sent)-1].ID.Seq + 1
	if err := s.WriteEvents(ctx, 7, next.ID.Seq, []*mail.Event{next}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]store.StatsRow{{Outcome: "bounced_late", Count: 1}, {Outcome: "delivered", Count: 3}}, ask(store.PerOutcome, store.ByOutcome)); diff != "" {
		t.Errorf("after the waiting one was delivered (-want +got):\n%s", diff)
	}
}

// TestOldWebhooks opens a file of the first schema: a webhook that was trying an event goes on with it.
func TestOldWebhooks(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, webhookFile))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(migrations, "migrations/webhook")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(ctx, 1); err != nil {
		t.Fatal(err)
	}
	tried := mail.EventID{Spool: 7, Seq: 12}
	for webhook, event := range map[string]string{"whk_a": tried.String(), "whk_b": ""} {
		if _, err := db.Exec("INSERT INTO positions VALUES ($1, $2, 1, $3, 4, $4, $5, 0, '', $4)", webhook, store.Cursor{7: 9}.String(), event,
			micros(day0), micros(day0.Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.WebhookPositions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a := store.WebhookPosition{
		Webhook: "whk_a", At: store.Cursor{7: 9}, Lagging: true, Success: day0,
		Open: []store.WebhookOpen{{Event: tried, Attempts: 4, First: day0, Next: day0.Add(time.Minute)}},
	}
	if diff := cmp.Diff([]store.WebhookPosition{a, {Webhook: "whk_b", At: store.Cursor{7: 9}, Lagging: true, Success: day0}}, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	if at := got[0].Behind(); at[7] != 12 {
		t.Errorf("it reads on behind %v", at)
	}
}

var cmpNoDelay = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Delay" }, cmp.Ignore())

// downgrade makes a day file one of the first schema, with the events it has.
func downgrade(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sub, err := fs.Sub(migrations, "migrations/record")
	if err != nil {
		t.Fatal(err)
	}
	names, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{
		"applied": "*", "events": "*", "buckets": "*", "messages": "*", "deliveries": "*", "rollup_account": "*", "rollup_site": "*",
		"rollup_route": "hour, route, source, type, sum(n), sum(delay)",
	}
	exec := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	for _, name := range tables {
		if kept[name] != "" {
			exec("CREATE TABLE old_" + name + " AS SELECT * FROM " + name)
		}
		exec("DROP TABLE " + name)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for name, columns := range kept {
		group := ""
		if columns != "*" {
			group = " GROUP BY 1, 2, 3, 4"
		}
		exec("INSERT INTO " + name + " SELECT " + columns + " FROM old_" + name + group)
		exec("DROP TABLE old_" + name)
	}
	exec("PRAGMA user_version = 1")
}
