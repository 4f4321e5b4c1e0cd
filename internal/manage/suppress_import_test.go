package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

func (b *listBed) all(t testing.TB) []platform.Suppression {
	t.Helper()
	list, _, err := b.List(context.Background(), store.SuppressionQuery{Max: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestImportForms: lists as we and others write them. What is wanted is address, class, stream, reason and date.
func TestImportForms(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"addresses alone": {"Ann@Example.com\nbob@example.com\n", []string{
			"ann@example.com manual  | ", "bob@example.com manual  | ",
		}},
		"no header, a reason": {"ann@example.com,asked by phone\n", []string{"ann@example.com manual  |asked by phone "}},
		"our own names": {"address,class,reason,stream,account,since,expires\nann@example.com,inactive,closed,transactional,acme,2026-01-02T03:04:05Z,2026-12-31\n", []string{
			"ann@example.com inactive transactional |closed 2026-01-02",
		}},
		// Exports by others: status, reason, email and a date in seconds.
		"bounces of one": {"status,reason,email,created\n5.1.1,550 5.1.1 unknown,ann@example.com,1764547200\n", []string{"ann@example.com manual  |550 5.1.1 unknown 2025-12-01"}},
		"suppressions of another": {"EmailAddress,SuppressionReason,Origin,CreatedAt\nann@example.com,HardBounce,Recipient,2025-12-01T10:00:00-05:00\nbob@example.com,SpamComplaint,Recipient,2025-12-01T10:00:00-05:00\neve@example.com,ManualSuppression,Customer,2025-12-01\n", []string{
			"ann@example.com invalid-recipient  | 2025-12-01", "bob@example.com complaint bulk | 2025-12-01", "eve@example.com manual  | 2025-12-01",
		}},
		"bounces of a third": {"address,code,error,created_at\nann@example.com,550,\"550 5.1.1, unknown\",\"Mon, 01 Dec 2025 10:00:00 UTC\"\n", []string{
			"ann@example.com manual  |550 5.1.1, unknown 2025-12-01",
		}},
		"destinations of a fourth": {"EmailAddress,Reason,LastUpdateTime\nann@example.com,BOUNCE,2025-12-01T10:00:00Z\nbob@example.com,COMPLAINT,2025-12-01T10:00:00Z\n", []string{
			"ann@example.com invalid-recipient  |BOUNCE 2025-12-01", "bob@example.com complaint bulk |COMPLAINT 2025-12-01",
		}},
		"semicolons, blanks, brackets": {"E-Mail; Note\n <ann@example.com> ; \"a; b\" \n", []string{"ann@example.com manual  |a; b "}},
		"an unknown type":              {"email,type,description\nann@example.com,SMTPApiError,broken\n", []string{"ann@example.com manual  |SMTPApiError: broken "}},
		"both streams":                 {"email,class,stream\nann@example.com,unsubscribe,both\n", []string{"ann@example.com unsubscribe  | "}},
		"a hash":                       {"address\n" + suppression.Hash("ann@example.com") + "\n", []string{suppression.Hash("ann@example.com") + " manual  | "}},
		"international":                {"email\nann@bücher.example\n", []string{"ann@xn--bcher-kva.example manual  | "}},
	} {
		t.Run(name, func(t *testing.T) {
			b := openList(t, t.TempDir())
			rep, err := b.Import(t.Context(), strings.NewReader(c.in), Import{Actor: "operator/local", Account: "acme"})
			if err != nil || rep.Refused != 0 || int(rep.Added) != len(c.want) || rep.Incomplete != "" {
				t.Fatalf("%+v, %v", rep, err)
			}
			var got []string
			for _, x := range b.all(t) {
				since := x.Since.Format(time.DateOnly)
				if x.Since.Equal(listDay) {
					since = ""
				}
				got = append(got, fmt.Sprintf("%s %s %s |%s %s", x.Address, x.Class, x.Stream, x.Reason, since))
				if x.Account != "acme" || x.Actor != "operator/local" {
					t.Errorf("entry %+v", x)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportReport(t *testing.T) {
	b := openList(t, t.TempDir())
	ctx := t.Context()
	_, err := b.Add(ctx, "operator/local", "", []platform.Suppression{
		{Account: "acme", Address: "stays@example.com", Reason: "for ever"},
		{Account: "acme", Address: "longer@example.com", Expires: listDay.Add(time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	const list = "email,stream,account,expires,since\n" +
		"ann@example.com,bulk,,,\n" + // 2
		"not an address,,,,\n" +
		"stays@example.com,,,2026-12-31,\n" + // 4
		"longer@example.com,,,,\n" +
		"bob@example.com,news,,,\n" + // 6
		"eve@example.com,,beta,,\n" +
		"old@example.com,,,2020-01-01,\n" + // 8
		"odd@example.com,,,,yesterday\n" +
		",,acme,,\n" + // 10
		"\"open@example.com,,,,\n" +
		"ann@example.com,bulk,acme,,\n" // 12: once more
	in := Import{Actor: "operator/local", Note: "from the old platform", Account: "acme"}
	in.DryRun = true
	rep, err := b.Import(ctx, strings.NewReader(list), in)
	if err != nil || rep.Added != 4 || rep.Refused != 7 || !rep.DryRun || len(b.all(t)) != 2 {
		t.Fatalf("dry run: %+v, %v", rep, err)
	}
	in.DryRun = false
	rep, err = b.Import(ctx, strings.NewReader(list), in)
	if err != nil {
		t.Fatal(err)
	}
	want := ImportReport{
		Columns: []string{"address", "stream", "account", "expires", "since"}, Lines: 11, Added: 1, Replaced: 1, Unchanged: 2, Refused: 7,
		Problems: []LineProblem{{3, ""}, {6, ""}, {7, ""}, {8, ""}, {9, ""}, {10, ""}, {11, ""}},
	}
	if diff := cmp.Diff(want, rep, cmpopts.IgnoreFields(LineProblem{}, "Detail")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, p := range rep.Problems {
		if p.Detail == "" || strings.Contains(p.Detail, "not an address") {
			t.Errorf("line %d: %q", p.Line, p.Detail)
		}
	}
	got := b.all(t)
	if len(got) != 3 || got[2].Reason != "for ever" || !got[2].Expires.IsZero() || !got[1].Expires.IsZero() {
		t.Errorf("the list: %+v", got)
	}
	if !b.is(t, "acme", mail.Bulk, "ann@example.com") || b.is(t, "acme", mail.Transactional, "ann@example.com") {
		t.Error("an imported entry does not hold as it says")
	}
	audit, err := b.store.ListAudit(ctx, store.AuditQuery{Kind: store.KindSuppression})
	if err != nil || len(audit) != 3 || audit[0].Action != ActionImport || audit[0].Note != "from the old platform" || !strings.Contains(audit[0].After, `"refused":7`) {
		t.Errorf("audit %+v, %v", audit, err)
	}

	// Whose list it is has to be said.
	rep, err = b.Import(ctx, strings.NewReader("ann@example.com\n"), Import{Actor: "operator/local"})
	if err != nil || rep.Refused != 1 {
		t.Errorf("nobody's list: %+v, %v", rep, err)
	}
	rep, err = b.Import(ctx, strings.NewReader("email,account\nann@example.com,\nann@example.com,beta\n"), Import{Actor: "operator/local", Platform: true})
	if err != nil || rep.Added != 2 {
		t.Errorf("the platform's list: %+v, %v", rep, err)
	}
	var invalid *Invalid
	if _, err := b.Import(ctx, strings.NewReader("ann@example.com\n"), Import{Account: "nobody"}); !errors.As(err, &invalid) {
		t.Errorf("an unknown account: %v", err)
	}
}

// brokenReader ends with an error after its text.
type brokenReader struct{ io.Reader }

func (r brokenReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// TestImportBreaksOff: what came before the break is stored and told; a store that fails is told as well.
func TestImportBreaksOff(t *testing.T) {
	b := openList(t, t.TempDir())
	var list strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&list, "user%d@example.com\n", i)
	}
	in := Import{Actor: "operator/local", Account: "acme"}
	rep, err := b.Import(t.Context(), brokenReader{strings.NewReader(list.String())}, in)
	if err != nil || rep.Added != 2500 || rep.Incomplete == "" {
		t.Errorf("%+v, %v", rep, err)
	}
	rep, err = b.Import(t.Context(), strings.NewReader(list.String()), in)
	if err != nil || rep.Unchanged != 2500 || rep.Added != 0 || rep.Incomplete != "" {
		t.Errorf("once more: %+v, %v", rep, err)
	}
	_ = b.store.Close()
	if _, err = b.Import(t.Context(), strings.NewReader(list.String()), in); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("into a closed store: %v", err)
	}
}

// TestExportImport: an export imported elsewhere gives the same list.
func TestExportImport(t *testing.T) {
	b, other := openList(t, t.TempDir()), openList(t, t.TempDir())
	ctx := t.Context()
	list := []platform.Suppression{
		{Address: "trap@example.com", Class: platform.CauseManual, Reason: `quoted "words", commas` + "\nand lines"},
		{Account: "acme", Address: `"odd, one"@example.com`, Class: platform.CauseInactive, Receiver: "bigmail", Expires: listDay.Add(1000 * time.Hour)},
		{Account: "acme", Stream: mail.Bulk, Address: "bob@example.com", Class: platform.CauseComplaint},
		{Account: "beta", Address: "bob@example.com", Class: platform.CauseUnsubscribe},
		{Account: "beta", Stream: mail.Transactional, Address: suppression.Hash("eve@example.com"), Class: platform.CauseManual, Since: listDay.Add(-time.Hour)},
	}
	for i := range 1500 { // more than a page
		list = append(list, platform.Suppression{Account: "acme", Address: fmt.Sprintf("user%04d@example.com", i)})
	}
	if _, err := b.Add(ctx, "operator/local", "", list); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := b.Export(ctx, &out, store.SuppressionQuery{}); err != nil || int(n) != len(list) {
		t.Fatal(n, err)
	}
	rep, err := other.Import(ctx, bytes.NewReader(out.Bytes()), Import{Actor: "operator/local", Platform: true})
	if err != nil || int(rep.Added) != len(list) || rep.Refused != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	want := b.all(t)
	for i := range want {
		want[i].Reason = strings.ReplaceAll(want[i].Reason, "\n", " ") // comes on one line
	}
	if diff := cmp.Diff(want, other.all(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var own bytes.Buffer
	if n, err := b.Export(ctx, &own, store.SuppressionQuery{Account: "beta"}); err != nil || n != 2 || strings.Contains(own.String(), "acme") {
		t.Errorf("%d of beta, %v:\n%s", n, err, own.String())
	}
}

// lines is a list of n addresses that takes no memory.
type lines struct {
	n, at int
	rest  []byte
}

func (l *lines) Read(p []byte) (int, error) {
	for len(l.rest) < len(p) && l.at < l.n {
		l.rest = fmt.Appendf(l.rest, "customer%07d@bigmail%d.example,550 5.1.1 no such user,2025-12-01T10:00:00Z\r\n", l.at*7919%l.n, l.at%97)
		l.at++
	}
	n := copy(p, l.rest)
	l.rest = l.rest[:copy(l.rest, l.rest[n:])]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// BenchmarkImport: a list of a million lines, in no order. POSTROAD_IMPORT_LINES sets another number.
func BenchmarkImport(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("POSTROAD_IMPORT_LINES"); s != "" {
		_, _ = fmt.Sscan(s, &n)
	}
	for b.Loop() {
		l := openList(b, b.TempDir())
		rep, err := l.Import(b.Context(), io.MultiReader(strings.NewReader("email,reason,created\n"), &lines{n: n}), Import{Actor: "operator/local", Account: "acme"})
		if err != nil || rep.Added != int64(n) {
			b.Fatalf("%+v, %v", rep, err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		_ = l.store.Close()
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				var kib float64
				_, _ = fmt.Sscan(v, &kib)
				b.ReportMetric(kib/1024, "MiB-peak")
			}
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
