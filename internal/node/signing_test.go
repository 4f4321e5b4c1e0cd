package node

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/practice"
)

// newKey makes a signing key: its private half as a state file wants it, and its record.
func newKey(t *testing.T, ed bool) (private, record string) {
	t.Helper()
	var key crypto.Signer
	var err error
	if ed {
		key, err = dkim.GenerateEd25519()
	} else {
		key, err = dkim.GenerateRSA()
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := dkim.MarshalPrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), dkim.PublicRecord(key.Public())
}

// What goes out carries a signature for each key that DNS shows, which a receiver finds good; a key that DNS does not
// show signs nothing, and the operator is told.
func TestSignatures(t *testing.T) {
	rsa, rsaRecord := newKey(t, false)
	ed, edRecord := newKey(t, true)
	hidden, _ := newKey(t, true)
	zone := map[string]string{"s1._domainkey.shop.test": rsaRecord, "s2._domainkey.shop.test": edRecord}
	var records []string
	for name, text := range zone {
		line := name + ". 300 IN TXT"
		for chunk := range slices.Chunk([]byte(text), 255) {
			line += fmt.Sprintf(" %q", chunk)
		}
		records = append(records, line)
	}
	internet, err := practice.Start(context.Background(), practice.Options{Records: records})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { internet.Close() })

	keys := ""
	for _, k := range []struct{ selector, algorithm, private string }{{"s1", "rsa-2048", rsa}, {"s2", "ed25519", ed}, {"s3", "ed25519", hidden}} {
		keys += fmt.Sprintf("    [[accounts.senders.keys]]\n    selector = %q\n    algorithm = %q\n    active = true\n    private_key = '''\n%s'''\n", k.selector, k.algorithm, k.private)
	}
	state := strings.Replace(testAccounts, "  name = \"shop.test\"\n  verified = true\n", "  name = \"shop.test\"\n  verified = true\n"+keys, 1)
	r := start(t, testConfig(t, internet), state+testRoute)
	for name, body := range map[string]string{
		"small":    `{"from":"info@shop.test","to":"small@mailbox.test","subject":"Zürich","text":"It works."}`,
		"sub":      `{"from":"info@news.shop.test","to":"sub@mailbox.test","text":"from a subdomain"}`,
		"private":  `{"from":"info@shop.test","recipients":["private@mailbox.test","other@mailbox.test"],"text":"yours alone"}`,
		"large":    `{"from":"info@shop.test","to":"large@mailbox.test","text":"` + strings.Repeat(`some text\n`, 20000) + `"}`,
		"overlong": `{"from":"info@shop.test","to":"overlong@mailbox.test","text":"` + strings.Repeat("x", 5000) + `"}`,
	} {
		if status, b := r.request(testKey, "POST", "/v1/messages", body); status != 202 {
			t.Fatalf("%s: %d %s", name, status, b)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { return internet.Counters().Recipients == 6 }); err != nil {
		t.Fatal(err)
	}
	lookup := func(_ context.Context, name string) ([]string, error) { return []string{zone[name]}, nil }
	for _, m := range internet.All() {
		results, err := (&dkim.Verifier{LookupTXT: lookup}).Verify(t.Context(), bytes.NewReader(m.Content))
		if err != nil {
			t.Fatal(err)
		}
		good := map[string]bool{}
		for _, x := range results {
			if x.Status != dkim.Pass || x.Domain != "shop.test" {
				t.Errorf("mail to %s: signature %s of %s: %s, %v", m.Recipient, x.Selector, x.Domain, x.Status, x.Err)
			}
			good[x.Selector] = x.Status == dkim.Pass
		}
		if len(good) != 2 || !good["s1"] || !good["s2"] {
			t.Errorf("mail to %s: signatures %v, want good ones of s1 and s2 alone", m.Recipient, good)
		}
	}
	b := r.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), "dkim-not-published") })
	if !strings.Contains(string(b), "sender/shop.test/s3") || strings.Count(string(b), `"kind"`) != 1 {
		t.Errorf("%s", b)
	}
}
