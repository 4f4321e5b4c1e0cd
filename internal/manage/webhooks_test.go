package manage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// webhookRig is a manager whose clock the test moves.
type webhookRig struct {
	*Manager
	t     *testing.T
	now   time.Time
	begun []string
}

func newWebhookRig(t *testing.T, rules WebhookRules) *webhookRig {
	t.Helper()
	r := &webhookRig{t: t, now: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)}
	var err error
	r.Manager, err = New(t.Context(), Options{
		Store: &memory{}, MasterKey: MasterKey{1}, Hostname: "mail.example", Webhooks: rules,
		HashSecret:  func(_ platform.CredentialKind, s string) string { return s },
		MatchSecret: func(_ platform.CredentialKind, h, s string) bool { return h == s },
		NewSecret:   func() string { return "made-up-secret" },
		BeginWebhook: func(_ context.Context, id string) error {
			r.begun = append(r.begun, id)
			return nil
		},
		Now: func() time.Time { return r.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *webhookRig) declare(doc string) (StateReport, error) {
	r.t.Helper()
	state, kinds, err := ParseState([]byte(doc))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.Apply(r.t.Context(), Request{Actor: "test", State: state, Kinds: kinds})
}

func (r *webhookRig) must(doc string) StateReport {
	r.t.Helper()
	report, err := r.declare(doc)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func (r *webhookRig) hook(name string) *platform.Webhook {
	r.t.Helper()
	w := r.Snapshot().Account("shop").Webhook(name)
	if w == nil {
		r.t.Fatalf("there is no webhook %s", name)
	}
	return w
}

func (r *webhookRig) secrets(name string) (list []string) {
	w := r.hook(name)
	for i := range w.Keys {
		raw, err := r.WebhookSecret(w, &w.Keys[i])
		if err != nil {
			r.t.Error(err)
		}
		list = append(list, formatWebhookSecret(raw))
	}
	return list
}

const shopWith = "[[accounts]]\nname = \"shop\"\n"

func webhookDoc(lines string) string { return shopWith + "  [[accounts.webhooks]]\n" + lines }

func TestWebhookDeclared(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	doc := webhookDoc("name = \"crm\"\nurl = \"https://example.com/events\"\ntypes = [\"delivered\", \"bounced\", \"bounced\"]\n")
	report := r.must(doc)
	if len(report.Secrets) != 1 || report.Secrets[0].Where != "accounts[shop].webhooks[crm]" || !slices.Equal(r.secrets("crm"), []string{report.Secrets[0].Value}) {
		t.Errorf("secrets %+v", report.Secrets)
	}
	w := r.hook("crm")
	if !slices.Equal(w.Types, []mail.EventType{"bounced", "delivered"}) || len(r.begun) != 1 || r.begun[0] != w.ID || w.Secret != "" {
		t.Errorf("%+v, begun %v", w, r.begun)
	}
	for range 2 { // a second time nothing changes, in another order neither
		if again := r.must(strings.Replace(doc, `"delivered", "bounced"`, `"bounced", "delivered"`, 1)); len(again.Changes) != 0 || len(r.begun) != 1 {
			t.Errorf("again: %+v", again)
		}
	}
	text, err := FormatState(r.Snapshot().State())
	if err != nil || strings.Contains(string(text), "whsec_") || !strings.Contains(string(text), "https://example.com/events") {
		t.Errorf("exported %s, %v", text, err)
	}
	if again := r.must(string(text)); len(again.Changes) != 0 {
		t.Errorf("the export applied: %+v", again)
	}
	if other := r.must(doc + "disabled = true\n"); len(other.Changes) != 1 || len(other.Secrets) != 0 || r.hook("crm").ID != w.ID {
		t.Errorf("disabled: %+v", other)
	}
	r.must(shopWith + "webhooks = []\n")
	r.must(doc)
	if again := r.hook("crm"); again.ID == w.ID || len(r.begun) != 2 {
		t.Errorf("made again it is the same: %+v", again)
	}
}

// TestWebhookUnmentioned: a customer's webhooks are not the business of whoever declares accounts and says nothing of webhooks.
func TestWebhookUnmentioned(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	r.must("[[accounts]]\nname = \"shop\"\n[[accounts]]\nname = \"rival\"\n")
	if _, err := r.Edit(t.Context(), "shop/key", "", func(s *platform.State) error {
		a := find(s.Accounts, func(x platform.Account) bool { return x.Name == "shop" })
		a.Webhooks = []platform.Webhook{{Name: "crm", URL: "https://crm.example/"}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	before := *r.hook("crm")
	if report := r.must("[[accounts]]\nname = \"shop\"\ncontact = \"ann@shop.example\"\n[[accounts]]\nname = \"rival\"\n"); len(report.Changes) != 1 {
		t.Errorf("changes %+v", report.Changes)
	}
	if got := r.hook("crm"); got.ID != before.ID || len(got.Keys) != 1 || !got.Keys[0].Since.Equal(before.Keys[0].Since) {
		t.Errorf("the webhook is %+v, was %+v", got, before)
	}
	r.must("[[accounts]]\nname = \"shop\"\n[[accounts.webhooks]]\nname = \"other\"\nurl = \"https://other.example/\"\n[[accounts]]\nname = \"rival\"\n")
	if w := r.Snapshot().Account("shop").Webhooks; len(w) != 1 || w[0].Name != "other" {
		t.Errorf("declared was one, there are %+v", w)
	}
	r.must("[[accounts]]\nname = \"shop\"\nwebhooks = []\n")
	if w := r.Snapshot().Account("shop").Webhooks; len(w) != 0 {
		t.Errorf("declared were none, there are %+v", w)
	}
}

// TestWebhookOrder: what order and concurrency may be, and that strict is the same as nothing.
func TestWebhookOrder(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	base := "name = \"crm\"\nurl = \"https://example.com/\"\n"
	r.must(webhookDoc(base))
	if again := r.must(webhookDoc(base + "order = \"strict\"\nconcurrency = 1\n")); len(again.Changes) != 0 || r.hook("crm").Parallel() != 1 {
		t.Errorf("strict: %+v", again)
	}
	for lines, want := range map[string]int{"": platform.DefaultWebhookConcurrency, "concurrency = 1\n": 1, "concurrency = 100\n": 100} {
		if r.must(webhookDoc(base + "order = \"delivery\"\n" + lines)); r.hook("crm").Parallel() != want {
			t.Errorf("%q: %d requests at one time, want %d", lines, r.hook("crm").Parallel(), want)
		}
	}
	for lines, where := range map[string]string{
		"order = \"message\"\n": ".order", "concurrency = 2\n": ".concurrency", "order = \"delivery\"\nconcurrency = 101\n": ".concurrency",
		"order = \"delivery\"\nconcurrency = -1\n": ".concurrency",
	} {
		var invalid *Invalid
		if _, err := r.declare(webhookDoc(base + lines)); !errors.As(err, &invalid) || !strings.HasSuffix(invalid.Problems[0].Where, where) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func TestWebhookSecretBroughtAlong(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	first, second := formatWebhookSecret([]byte(strings.Repeat("a", 24))), formatWebhookSecret([]byte(strings.Repeat("b", 64)))
	with := func(secret string) string {
		return webhookDoc("name = \"crm\"\nurl = \"https://example.com/\"\nsecret = \"" + secret + "\"\n")
	}
	if report := r.must(with(first)); len(report.Secrets) != 0 || !slices.Equal(r.secrets("crm"), []string{first}) {
		t.Errorf("%+v", report)
	}
	if report := r.must(with(first)); len(report.Changes) != 0 {
		t.Errorf("again: %+v", report)
	}
	r.now = r.now.Add(time.Hour)
	report := r.must(with(second))
	if !slices.Equal(r.secrets("crm"), []string{second, first}) || strings.Contains(fmt.Sprint(report), "whsec_") || !strings.Contains(fmt.Sprint(report), "secret changed") {
		t.Errorf("%+v", report)
	}
	if keys := r.hook("crm").Keys; !keys[0].Expires.IsZero() || !keys[1].Expires.Equal(r.now.Add(WebhookGrace)) {
		t.Errorf("%+v", keys)
	}
	other, _ := New(t.Context(), Options{
		Store: &memory{}, MasterKey: MasterKey{2}, HashSecret: r.o.HashSecret, MatchSecret: r.o.MatchSecret, NewSecret: r.o.NewSecret,
	})
	if _, err := other.WebhookSecret(r.hook("crm"), &r.hook("crm").Keys[0]); !errors.Is(err, ErrSealed) {
		t.Errorf("another master key: %v", err)
	}
}

func TestRotateWebhook(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	r.must(webhookDoc("name = \"crm\"\nurl = \"https://example.com/\"\n"))
	all := r.secrets("crm")
	for i := range 2 {
		r.now = r.now.Add(time.Minute)
		secret, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if all = append([]string{secret}, all...); !slices.Equal(r.secrets("crm"), all) || len(all) != i+2 {
			t.Errorf("secrets %v, want %v", r.secrets("crm"), all)
		}
	}
	// What has expired goes at the next rotation, and one in the same instant still has a key of its own.
	r.now = r.now.Add(2 * time.Hour)
	for range 2 {
		if _, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "", WebhookGrace); err != nil {
			t.Fatal(err)
		}
	}
	keys := r.hook("crm").Keys
	if len(keys) != 3 || !keys[0].Since.After(keys[1].Since) {
		t.Errorf("%+v", keys)
	}
	if _, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "", 0); err != nil || len(r.hook("crm").Keys) != 1 {
		t.Errorf("without grace: %v, %+v", err, r.hook("crm").Keys)
	}
	var invalid *Invalid
	for _, grace := range []time.Duration{-1, MaxWebhookGrace + 1} {
		if _, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "", grace); !errors.As(err, &invalid) {
			t.Errorf("grace %v: %v", grace, err)
		}
	}
	if _, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "whsec_", time.Hour); !errors.As(err, &invalid) {
		t.Errorf("an empty secret: %v", err)
	}
	for _, of := range [][2]string{{"shop", "none"}, {"none", "crm"}} {
		if _, err := r.RotateWebhook(t.Context(), "test", of[0], of[1], "", time.Hour); !errors.Is(err, ErrNoWebhook) {
			t.Errorf("%v: %v", of, err)
		}
	}
	for range 10 {
		r.now = r.now.Add(time.Second)
		if _, err := r.RotateWebhook(t.Context(), "test", "shop", "crm", "", time.Hour); err != nil {
			if !errors.As(err, &invalid) || len(r.hook("crm").Keys) != maxWebhookKeys {
				t.Errorf("%v with %d keys", err, len(r.hook("crm").Keys))
			}
			return
		}
	}
	t.Error("ten secrets sign at one time")
}

func TestWebhookRefused(t *testing.T) {
	strict := newWebhookRig(t, WebhookRules{})
	lax := newWebhookRig(t, WebhookRules{AllowHTTP: true, AllowPrivate: true})
	for url, tt := range map[string]struct {
		say     string // of the strict rules
		allowed bool   // by the lax ones
	}{
		"":                                     {"https://example.com/events", false},
		"example.com":                          {"https://example.com/events", false},
		"ftp://example.com/":                   {"https://example.com/events", false},
		"https:///events":                      {"https://example.com/events", false},
		"https://example.com:99999/":           {"1 to 65535", false},
		"https://example.com:0/":               {"1 to 65535", false},
		"https://user@example.com/":            {"user name", false},
		"https://user:pw@example.com/":         {"user name", false},
		"https://example.com/#top":             {"after #", false},
		"https://example.com/#":                {"after #", false},
		"https://example.com/a b":              {"no spaces", false},
		"https://example.com/\\u0000":          {"no spaces", false},
		"https://example.com/%zz":              {"https://example.com/events", false},
		"http://example.com/":                  {"over https only", true},
		"https://127.0.0.1/":                   {"loopback", true},
		"https://[::1]:8443/":                  {"loopback", true},
		"https://10.1.2.3/":                    {"private", true},
		"https://169.254.169.254/":             {"link-local", true},
		"https://[64:ff9b::10.0.0.1]/":         {"private", true},
		"https://localhost/":                   {"this machine", true},
		"https://a.localhost./":                {"this machine", true},
		"https://" + strings.Repeat("a", 2048): {"2048", false},
	} {
		doc := webhookDoc("name = \"crm\"\nurl = \"" + url + "\"\n")
		_, err := strict.declare(doc)
		var invalid *Invalid
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), tt.say) || invalid.Problems[0].Where != "accounts[shop].webhooks[crm].url" {
			t.Errorf("%q: %v", url, err)
		}
		if _, err := lax.declare(doc); (err == nil) != tt.allowed {
			t.Errorf("%q where it is allowed: %v", url, err)
		}
	}
	for lines, say := range map[string]string{
		"name = \"Crm\"\nurl = \"https://example.com/\"":                                                                      "lower-case",
		"name = \"crm\"\nurl = \"https://example.com/\"\ntypes = [\"exploded\"]":                                              "exploded",
		"name = \"crm\"\nurl = \"https://example.com/\"\nstreams = [\"slow\"]":                                                "transactional, bulk",
		"name = \"crm\"\nurl = \"https://example.com/\"\nsecret = \"correct-horse\"":                                          "whsec_",
		"name = \"crm\"\nurl = \"https://example.com/\"\nsecret = \"whsec_QUJD\"":                                             "24 to 64",
		"name = \"crm\"\nurl = \"https://example.com/\"\n[[accounts.webhooks]]\nname=\"crm\"\nurl = \"https://example.com/\"": "twice",
	} {
		if _, err := strict.declare(webhookDoc(lines + "\n")); err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "correct-horse") {
			t.Errorf("%s: %v", lines, err)
		}
	}
	many := shopWith
	for i := range MaxWebhooks + 1 {
		many += fmt.Sprintf("[[accounts.webhooks]]\nname = \"w%d\"\nurl = \"https://example.com/\"\n", i)
	}
	if _, err := strict.declare(many); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("many: %v", err)
	}
}

// TestStricterRulesLeaveTheRestAlone: a webhook that stands does not stop other changes after the rules got stricter.
func TestStricterRulesLeaveTheRestAlone(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{AllowHTTP: true})
	doc := webhookDoc("name = \"crm\"\nurl = \"http://example.com/\"\n")
	r.must(doc)
	r.o.Webhooks = WebhookRules{}
	if report := r.must(strings.Replace(doc, "name = \"shop\"", "name = \"shop\"\ncontact = \"ops@example.com\"", 1)); len(report.Changes) != 1 {
		t.Errorf("%+v", report)
	}
	if _, err := r.declare(strings.Replace(doc, "http://example.com/", "http://example.com/new", 1)); err == nil {
		t.Error("a new address in clear is taken")
	}
}

// TestWebhookNotBegun: one whose place cannot be kept is not made.
func TestWebhookNotBegun(t *testing.T) {
	r := newWebhookRig(t, WebhookRules{})
	r.o.BeginWebhook = func(context.Context, string) error { return store.ErrUnavailable }
	if _, err := r.declare(webhookDoc("name = \"crm\"\nurl = \"https://example.com/\"\n")); !errors.Is(err, store.ErrUnavailable) || len(r.Snapshot().State().Accounts) != 0 {
		t.Errorf("%v, %+v", err, r.Snapshot().State())
	}
}

// FuzzWebhookSecret: what is read is written the same again, and has a length the specification allows.
func FuzzWebhookSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Add("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 64)))
	f.Add("whsec_====")
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := parseWebhookSecret(text)
		if err != nil {
			return
		}
		if len(raw) < minWebhookSecret || len(raw) > maxWebhookSecret || formatWebhookSecret(raw) != text {
			t.Errorf("%q was read as %x", text, raw)
		}
	})
}

// FuzzWebhookURL: an address that passes has a host, and nothing that would be shown or lost.
func FuzzWebhookURL(f *testing.F) {
	for _, s := range []string{"https://example.com/events?x=1", "https://user@example.com/", "http://[::1]:80/", "https://example.com/#x", "https://\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, problem := parseWebhookURL(text)
		if problem != "" {
			return
		}
		if u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q passes as %+v", text, u)
		}
		if (WebhookRules{}).refuses(text) == "" && u.Scheme != "https" {
			t.Errorf("%q goes out in clear", text)
		}
	})
}
