package feedback

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// TestReporter: who the author of a report is shows in the record, and decides nothing: a complaint with our token counts
// without a signature too (docs/decisions/0013).
func TestReporter(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(_ context.Context, name string) ([]string, error) {
		if strings.HasPrefix(name, "s._domainkey.") && strings.HasSuffix(name, "bigmail.example") {
			return []string{dkim.PublicRecord(key.Public())}, nil
		}
		return nil, errors.New("no answer")
	}
	sign := func(domain, raw string) string {
		raw = strings.ReplaceAll(raw, "\n", "\r\n")
		head, body, _ := strings.Cut(raw, "\r\n\r\n")
		h := dkim.NewBodyHasher()
		_, _ = h.Write([]byte(body))
		fields, err := dkim.Sign([]byte(head+"\r\n\r\n"), h.Sum(), []dkim.Key{{Domain: domain, Selector: "s", Signer: key}}, dkim.Options{Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return string(fields) + raw
	}
	for name, test := range map[string]struct {
		make           func(raw string) string
		dkim, verified string
		truncated      string
	}{
		"signed": {func(raw string) string { return sign("bigmail.example", raw) }, "pass bigmail.example", "bigmail.example", ""},
		"signed by the parent": {func(raw string) string {
			return sign("bigmail.example", strings.Replace(raw, "@bigmail.", "@fbl.bigmail.", 1))
		}, "pass bigmail.example", "fbl.bigmail.example", ""},
		"signed by another": {func(raw string) string { return sign("notbigmail.example", raw) }, "pass notbigmail.example", "", ""},
		"changed": {func(raw string) string {
			return strings.Replace(sign("bigmail.example", raw), "abuse report", "abuse re-port", 1)
		}, "fail bigmail.example", "", ""},
		"unsigned":  {func(raw string) string { return raw }, "none", "", ""},
		"cut":       {func(raw string) string { return sign("bigmail.example", raw) }, "unchecked", "", "99"},
		"no answer": {func(raw string) string { return sign("bigmail.test", raw) }, "temperror bigmail.test", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.send(mail.EventDelivered, "user@example.com")
			raw := test.make(arf("abuse", "From: news@shop.example\nCFBL-Feedback-ID: "+s.token()+"\n"))
			id := w.putBy(spool.InboxReturnPath, time.Now(), map[string]string{spool.MetaRecipient: "fbl@example.org", spool.MetaTruncated: test.truncated}, raw)
			o := w.options()
			o.LookupTXT = lookup
			w.readWith(o)
			row := w.want(id, store.ReportActed, "")
			if row.DKIM != test.dkim || row.Verified != test.verified {
				t.Errorf("signatures %q, verified %q; want %q, %q", row.DKIM, row.Verified, test.dkim, test.verified)
			}
			if list := w.events(s, 0); len(list) != 1 || list[0].Type != mail.EventComplained {
				t.Errorf("events %+v", list)
			}
		})
	}
}
