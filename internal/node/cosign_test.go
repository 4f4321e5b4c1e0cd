package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/practice"
)

const systemKey = "pr_system-system-system-system-system-s"

// Every message that goes out carries our token; with a key of the platform's own domain it is signed a second time, and
// complaints are asked for.
func TestCoSigning(t *testing.T) {
	shop, shopRecord := newKey(t, true)
	own, ownRecord := newKey(t, true)
	zone := map[string]string{"s1._domainkey.shop.test": shopRecord, "p1._domainkey.platform.test": ownRecord}
	var records []string
	for name, text := range zone {
		records = append(records, fmt.Sprintf("%s. 300 IN TXT %q", name, text))
	}
	internet, err := practice.Start(context.Background(), practice.Options{Records: records})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { internet.Close() })
	key := func(selector, private string) string {
		return fmt.Sprintf("    [[accounts.senders.keys]]\n    selector = %q\n    algorithm = \"ed25519\"\n    active = true\n    private_key = '''\n%s'''\n", selector, private)
	}
	state := strings.Replace(testAccounts, "  name = \"shop.test\"\n  verified = true\n", "  name = \"shop.test\"\n  verified = true\n"+key("s1", shop), 1)
	state += "[[accounts]]\nname = \"postroad\"\n  [[accounts.senders]]\n  name = \"platform.test\"\n  verified = true\n" + key("p1", own) + `
  [[accounts.credentials]]
  name = "api"
  kind = "api"
  secret = "` + systemKey + `"
`
	c := testConfig(t, internet)
	c.ReturnPath.Domain = "bounces.platform.test"
	r := start(t, c, state+`
[[routes]]
name = "direct"
kind = "mx"

[[routes]]
name = "together"
kind = "mx"
return_path = "sender"
max_recipients = 10

[[policies]]
name = "default"
  [[policies.rules]]
  recipient_domains = ["example.test"]
  route = "together"
  [[policies.rules]]
  route = "direct"
`)
	for to, body := range map[string]string{
		"one":   `{"from":"info@shop.test","to":"one@mailbox.test","subject":"Zürich","text":"It works.","tags":["spring"]}`,
		"two":   `{"from":"info@shop.test","recipients":["two@mailbox.test","three@mailbox.test"],"text":"yours alone"}`,
		"many":  `{"from":"info@shop.test","to":["many@example.test","more@example.test"],"text":"one transaction"}`,
		"admin": `{"from":"a@platform.test","to":"admin@mailbox.test","text":"the platform's own"}`,
	} {
		credential := testKey
		if to == "admin" {
			credential = systemKey
		}
		if status, b := r.request(credential, "POST", "/v1/messages", body); status != 202 {
			t.Fatalf("%s: %d %s", to, status, b)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { return internet.Counters().Recipients == 6 }); err != nil {
		t.Fatal(err)
	}
	lookup := func(_ context.Context, name string) ([]string, error) { return []string{zone[name]}, nil }
	for _, m := range internet.All() {
		header := string(m.Content[:bytes.Index(m.Content, []byte("\r\n\r\n"))+2])
		results, err := (&dkim.Verifier{LookupTXT: lookup}).Verify(t.Context(), bytes.NewReader(m.Content))
		if err != nil {
			t.Fatal(err)
		}
		var signed []string
		for _, x := range results {
			if x.Status != dkim.Pass {
				t.Errorf("mail to %s: signature of %s: %s, %v", m.Recipient, x.Domain, x.Status, x.Err)
			}
			signed = append(signed, x.Domain)
		}
		want := []string{"shop.test", "platform.test"}
		if strings.HasPrefix(m.Recipient, "admin@") {
			want = want[1:] // not twice by the same domain
		}
		if !slices.Equal(signed, want) {
			t.Errorf("mail to %s is signed by %v, want %v", m.Recipient, signed, want)
		}
		token, rest, _ := strings.Cut(strings.TrimPrefix(header, "X-Postroad-Token: "), "\r\n")
		id, _, _ := strings.Cut(value(t, header, "CFBL-Feedback-ID"), " ")
		if got := value(t, header, "CFBL-Address"); got != "fbl@bounces.platform.test; report=arf" {
			t.Errorf("CFBL-Address %q", got)
		}
		// What comes back may have no more than one of the two: both name the delivery where they can.
		_, single := r.returnKey.Delivery(token)
		_, shared := r.returnKey.Message(token)
		group := strings.HasSuffix(m.Recipient, "@example.test")
		if token != id || group && !shared || !group && (!single || m.Sender != token+"@bounces.platform.test") {
			t.Errorf("mail to %s from %s: token %q, CFBL-Feedback-ID %q", m.Recipient, m.Sender, token, id)
		}
		if strings.Contains(rest, "X-Postroad") {
			t.Errorf("a second field of ours: %q", rest)
		}
		first := "transactional:shop:"
		switch {
		case strings.HasPrefix(m.Recipient, "one@"):
			first = "spring:shop:"
		case strings.HasPrefix(m.Recipient, "admin@"):
			first = "transactional:postroad:"
		}
		if got := value(t, header, "Feedback-ID"); got != first+"transactional:postroad" {
			t.Errorf("mail to %s: Feedback-ID %q", m.Recipient, got)
		}
		// Both signatures cover what was added, and neither covers the token.
		if n := strings.Count(strings.NewReplacer("\r\n ", "", "\r\n\t", "").Replace(header), "feedback-id:cfbl-address:cfbl-feedback-id"); n != len(want) {
			t.Errorf("mail to %s: %d signatures cover the fields:\n%s", m.Recipient, n, header)
		}
	}
}

// value returns the value of the only field of that name.
func value(t *testing.T, header, name string) string {
	t.Helper()
	_, after, ok := strings.Cut("\r\n"+header, "\r\n"+name+": ")
	if !ok || strings.Contains(after, "\r\n"+name+":") {
		t.Errorf("no field %s, or two, in\n%s", name, header)
	}
	v, _, _ := strings.Cut(after, "\r\n")
	return v
}
