package manage

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// memory is the part of a store Manager needs, kept in memory.
type memory struct {
	store.Platform
	state   platform.State
	version int64
	fail    error
	updates []store.Update
}

func (m *memory) LoadState(context.Context) (platform.State, int64, error) {
	return m.state, m.version, nil
}

func (m *memory) ApplyState(_ context.Context, u store.Update) (int64, error) {
	if m.fail != nil {
		return 0, m.fail
	}
	if u.Expect != m.version {
		return 0, store.ErrConflict
	}
	m.version++
	m.updates = append(m.updates, u)
	return m.version, nil
}

func newManager(t *testing.T, db *memory) *Manager {
	t.Helper()
	m, err := New(t.Context(), Options{
		Store: db, MasterKey: MasterKey{1}, Hostname: "mail.example",
		HashSecret:  func(_ platform.CredentialKind, s string) string { return "hash of " + s },
		MatchSecret: func(_ platform.CredentialKind, h, s string) bool { return h == "hash of "+s },
		NewSecret:   func() string { return "made-up-secret" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const declared = `
[[accounts]]
name = "shop"
contact = "mail@shop.example"
archive = {days = 30, streams = ["transactional"]}

  [[accounts.senders]]
  name = "shop.example"
  verified = true

    [[accounts.senders.keys]]
    selector = "pr1"
    algorithm = "ed25519"
    active = true

  [[accounts.credentials]]
  name = "web"
  kind = "smtp"

  [[accounts.credentials]]
  name = "app"
  kind = "api"
  secret = "chosen by the operator"

[[legal_holds]]
name = "case-17"
recipient = "Ann@Example.net"
reason = "a claim is pending"
author = "legal department"

[[routes]]
name = "gateway"
kind = "relay"
host = "gw.example"
tls = "verify"
auth = "plain"
username = "postroad"
password = "relay secret"

[[policies]]
name = "default"
  [[policies.rules]]
  route = "gateway"
`

func apply(t *testing.T, m *Manager, doc string) StateReport {
	t.Helper()
	s, kinds, err := ParseState([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Apply(t.Context(), Request{Actor: "test", State: s, Kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	db := &memory{}
	m := newManager(t, db)
	first := apply(t, m, declared)
	if len(first.Changes) != 4 || len(first.Secrets) != 1 || first.Secrets[0].Value != "made-up-secret" || first.Secrets[0].Login != "shop/web" {
		t.Fatalf("first apply: %+v", first)
	}
	if second := apply(t, m, declared); len(second.Changes) != 0 || len(second.Secrets) != 0 || len(db.updates) != 1 {
		t.Fatalf("second apply changed something: %+v, %d updates", second, len(db.updates))
	}
}

func TestExportApplies(t *testing.T) {
	m := newManager(t, &memory{})
	apply(t, m, declared)
	doc, err := FormatState(m.Snapshot().State())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"made-up-secret", "chosen by", "relay secret", "hash of"} {
		if strings.Contains(string(doc), secret) {
			t.Errorf("the export holds %q:\n%s", secret, doc)
		}
	}
	if r := apply(t, m, string(doc)); len(r.Changes) != 0 {
		t.Errorf("applying the export changed %+v\n%s", r.Changes, doc)
	}
}

func TestSecretsOpen(t *testing.T) {
	m := newManager(t, &memory{})
	apply(t, m, declared)
	snap := m.Snapshot()
	if pw, err := m.RoutePassword(snap.Route("gateway")); err != nil || pw != "relay secret" {
		t.Errorf("RoutePassword = %q, %v", pw, err)
	}
	key := &snap.Account("shop").Senders[0].Keys[0]
	signer, err := m.SigningKey("shop.example", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := signer.Public().(ed25519.PublicKey); !ok || !strings.Contains(key.Public, "k=ed25519") {
		t.Errorf("key is %T, record %q", signer.Public(), key.Public)
	}
	// Sealed for one place, it opens nowhere else, and not under another master key.
	if _, err := m.SigningKey("other.example", key); !errors.Is(err, ErrSealed) {
		t.Errorf("a key moved to another domain: %v, want ErrSealed", err)
	}
	m.o.MasterKey = MasterKey{2}
	if _, err := m.SigningKey("shop.example", key); !errors.Is(err, ErrSealed) {
		t.Errorf("another master key: %v, want ErrSealed", err)
	}
}

func TestKindsNotDeclaredStay(t *testing.T) {
	m := newManager(t, &memory{})
	apply(t, m, declared)
	r := apply(t, m, "[[sources]]\nname = \"a\"\nip = \"192.0.2.1\"\n")
	if len(r.Changes) != 1 || m.Snapshot().Account("shop") == nil {
		t.Fatalf("declaring sources changed %+v", r.Changes)
	}
	r = apply(t, m, "sources = []\n")
	if len(r.Changes) != 1 || r.Changes[0].Op != OpDelete || m.Snapshot().Source("a") != nil {
		t.Fatalf("declaring that there are no sources changed %+v", r.Changes)
	}
}

func TestFailedStoreChangesNothing(t *testing.T) {
	db := &memory{}
	m := newManager(t, db)
	apply(t, m, declared)
	db.fail = store.ErrUnavailable
	_, err := m.Edit(t.Context(), "test", "", func(s *platform.State) error {
		s.Accounts[0].State = platform.AccountPaused
		s.Accounts[0].Senders[0].Verified = false
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("err = %v", err)
	}
	if a := m.Snapshot().Account("shop"); a.State != platform.AccountActive || !a.Senders[0].Verified {
		t.Errorf("the snapshot changed though nothing was stored: %+v", a)
	}
}

func TestUpdateTellsWhatChanged(t *testing.T) {
	m := newManager(t, &memory{})
	apply(t, m, declared)
	r, err := m.Edit(t.Context(), "test", "", func(s *platform.State) error {
		s.Accounts[0].State = platform.AccountPaused
		s.Accounts[0].Credentials[1].Secret = "another secret"
		return nil
	})
	if err != nil || len(r.Changes) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	got := strings.Join(r.Changes[0].Fields, "\n")
	want := "credentials[app].secret: secret changed\nstate: \"active\" -> \"paused\""
	if got != want {
		t.Errorf("fields:\n%s\nwant:\n%s", got, want)
	}
}

// TestInvalid holds declarations that must be refused, each with words of its message.
func TestInvalid(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"syntax", "accounts = [", "1:"},
		{"unknown field", "[[accounts]]\nname = \"a\"\ncolour = \"red\"\n", "there is no field accounts.colour"},
		{"name", "[[accounts]]\nname = \"Big Corp\"\n", "lower-case letters"},
		{"twice", "[[accounts]]\nname = \"a\"\n[[accounts]]\nname = \"a\"\n", "there twice"},
		{"sender of two accounts", "[[accounts]]\nname = \"a\"\nsenders = [{name = \"x.example\"}]\n[[accounts]]\nname = \"b\"\nsenders = [{name = \"x.example\"}]\n", "account a has this sender"},
		{"sender in upper case", "[[accounts]]\nname = \"a\"\nsenders = [{name = \"X.example\"}]\n", "lower case"},
		{"open network", "[[accounts]]\nname = \"a\"\ncredentials = [{name = \"n\", kind = \"network\", networks = [\"0.0.0.0/0\"]}]\n", "whole world"},
		{"network without networks", "[[accounts]]\nname = \"a\"\ncredentials = [{name = \"n\", kind = \"network\"}]\n", "needs the networks"},
		{"admin over smtp", "[[accounts]]\nname = \"a\"\ncredentials = [{name = \"n\", kind = \"smtp\", scopes = [\"admin\"]}]\n", "api credentials only"},
		{"relay without host", "[[routes]]\nname = \"r\"\nkind = \"relay\"\n", "needs a host"},
		{"password in clear", "[[routes]]\nname = \"r\"\nkind = \"relay\"\nhost = \"h.example\"\ntls = \"opportunistic\"\nauth = \"plain\"\nusername = \"u\"\npassword = \"p\"\n", "in clear"},
		{"auth without password", "[[routes]]\nname = \"r\"\nkind = \"relay\"\nhost = \"h.example\"\nauth = \"plain\"\nusername = \"u\"\n", "password are needed"},
		{"unknown pool", "[[routes]]\nname = \"r\"\nkind = \"mx\"\npool = \"p\"\n", "no pool"},
		{"unknown route", "[[policies]]\nname = \"default\"\nrules = [{route = \"r\"}]\n", "no route"},
		{"hold of everything", "[[holds]]\nname = \"h\"\nreason = \"x\"\n", "at least one condition"},
		{"archive for a negative time", "[[accounts]]\nname = \"a\"\narchive = {days = -1}\n", "want the days"},
		{"archive for ever", "[[accounts]]\nname = \"a\"\narchive = {days = 99999}\n", "at most"},
		{"archive of streams without days", "[[accounts]]\nname = \"a\"\narchive = {streams = [\"bulk\"]}\n", "for how many days"},
		{"archive of an unknown stream", "[[accounts]]\nname = \"a\"\narchive = {days = 1, streams = [\"news\"]}\n", "none of transactional"},
		{"unknown scope", "[[accounts]]\nname = \"a\"\ncredentials = [{name = \"n\", kind = \"api\", scopes = [\"contents\"]}]\n", "none of send, read, content"},
		{"legal hold of everything", "[[legal_holds]]\nname = \"h\"\nreason = \"x\"\nauthor = \"y\"\n", "needs an account, a recipient or a message"},
		{"legal hold without reason", "[[legal_holds]]\nname = \"h\"\naccount = \"a\"\nauthor = \"y\"\n", "say why"},
		{"legal hold without author", "[[legal_holds]]\nname = \"h\"\naccount = \"a\"\nreason = \"x\"\n", "who answers for it"},
		{"legal hold of no address", "[[legal_holds]]\nname = \"h\"\nrecipient = \"nobody\"\nreason = \"x\"\nauthor = \"y\"\n", "legal_holds[h].recipient"},
		{"legal hold of no message", "[[legal_holds]]\nname = \"h\"\nmessage = \"dlv_1\"\nreason = \"x\"\nauthor = \"y\"\n", "legal_holds[h].message"},
		{"bad key", "[[accounts]]\nname = \"a\"\nsenders = [{name = \"x.example\", keys = [{selector = \"s\", algorithm = \"rsa-512\"}]}]\n", "rsa-2048"},
		{"private key", "[[accounts]]\nname = \"a\"\nsenders = [{name = \"x.example\", keys = [{selector = \"s\", algorithm = \"ed25519\", private_key = \"nonsense\"}]}]\n", "PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t, &memory{})
			s, kinds, err := ParseState([]byte(tt.doc))
			if err == nil {
				_, err = m.Apply(t.Context(), Request{State: s, Kinds: kinds})
			}
			var inv *Invalid
			if !errors.As(err, &inv) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want *Invalid with %q", err, tt.want)
			}
			if len(m.Snapshot().State().Accounts) != 0 {
				t.Error("something was applied")
			}
		})
	}
}

func TestMasterKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "master.key")
	key, made, err := LoadMasterKey(file)
	if err != nil || !made {
		t.Fatalf("LoadMasterKey = %v, %v", made, err)
	}
	if again, made, err := LoadMasterKey(file); err != nil || made || again != key {
		t.Fatalf("second LoadMasterKey = %v, %v", made, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadMasterKey(file); err == nil || !strings.Contains(err.Error(), "not a master key") {
		t.Errorf("damaged key file: %v", err)
	}
}
