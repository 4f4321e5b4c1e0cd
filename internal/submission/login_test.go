package submission

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/platform"
)

var here = netip.MustParseAddr("192.0.2.7")

func TestLogin(t *testing.T) {
	b := newTestbed(t, nil)
	ctx := t.Context()
	p, err := b.Login(ctx, "shop/smtp", testPassword, here)
	if err != nil || p.Account.Name != "shop" || p.Credential.Name != "smtp" {
		t.Fatalf("Login = %+v, %v", p, err)
	}
	for _, tt := range []struct{ name, password string }{
		{"shop/smtp", "wrong"},
		{"shop/smtp", ""},
		{"nobody", testPassword},
		{"shop/web", testKey}, // an API key is no SMTP password
	} {
		_, err := b.Login(ctx, tt.name, tt.password, netip.MustParseAddr("198.51.100.9"))
		wantKind(t, err, BadCredentials, "")
		if len(tt.password) > 8 && strings.Contains(err.Error(), tt.password) {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestLoginCache(t *testing.T) {
	b := newTestbed(t, nil)
	if _, err := b.Login(t.Context(), "shop/smtp", testPassword, here); err != nil {
		t.Fatal(err)
	}
	// With argon2 busy only what is known passes: the second log-in takes none of it.
	b.logins.argon <- struct{}{}
	b.logins.argon <- struct{}{}
	if _, err := b.Login(t.Context(), "shop/smtp", testPassword, here); err != nil {
		t.Errorf("a known password needs argon2: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Login(ctx, "shop/smtp", "other", here)
	wantKind(t, err, Unavailable, "") // nobody looked: never BadCredentials
	b.advance(loginCacheFor)
	_, err = b.Login(ctx, "shop/smtp", testPassword, here)
	wantKind(t, err, Unavailable, "")
	<-b.logins.argon
	<-b.logins.argon

	// A changed password is another one at once.
	if _, err := b.Login(t.Context(), "shop/smtp", testPassword, here); err != nil {
		t.Fatal(err)
	}
	s := testState()
	s.Accounts[0].Credentials[1].Hash = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	b.apply(s)
	_, err = b.Login(t.Context(), "shop/smtp", testPassword, here)
	wantKind(t, err, BadCredentials, "")
}

func TestLoginDamagedHash(t *testing.T) {
	b := newTestbed(t, nil)
	for _, hash := range []string{
		"", "plain", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$argon2id$v=1$m=8,t=1,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=8,t=0,p=1$AAAA$AAAA", "$argon2id$v=19$m=8,t=1,p=1$AAAA$", "$argon2id$v=19$m=8,t=1,p=1$*$AAAA",
	} {
		s := testState()
		s.Accounts[0].Credentials[1].Hash = hash
		b.apply(s)
		_, err := b.Login(t.Context(), "shop/smtp", testPassword, here)
		if KindOf(err) != Unavailable {
			t.Errorf("hash %q: %v, want %s: nobody could look", hash, err, Unavailable)
		}
	}
}

// fail makes n failed tries with unknown names, each of its own.
func (b *testbed) fail(n int, ip netip.Addr, name string) {
	b.t.Helper()
	for i := range n {
		if name == "" {
			b.logins.failed([]failKey{addressKey(ip), nameKey(fmt.Sprintf("x%d", i))})
		} else {
			b.logins.failed([]failKey{addressKey(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), nameKey(name)})
		}
	}
}

func TestLoginThrottle(t *testing.T) {
	b := newTestbed(t, nil)
	ctx := t.Context()
	b.fail(failFree, here, "")
	_, err := b.Login(ctx, "shop/smtp", testPassword, here)
	wantKind(t, err, Throttled, "")
	if _, err = b.Login(ctx, "shop/smtp", testPassword, netip.MustParseAddr("192.0.2.8")); err != nil {
		t.Errorf("a neighbour is throttled too: %v", err)
	}
	if _, err = b.Login(ctx, "shop/smtp", testPassword, here); err != nil {
		t.Errorf("a password that is known to fit is throttled: %v", err)
	}
	b.advance(loginCacheFor + time.Minute)
	_, err = b.Login(ctx, "shop/smtp", testPassword, here)
	wantKind(t, err, Throttled, "")
	b.advance(failWindow)
	if _, err = b.Login(ctx, "shop/smtp", testPassword, here); err != nil {
		t.Errorf("after the window: %v", err)
	}

	// An IPv6 client owns its /64.
	b.fail(failFree, netip.MustParseAddr("2001:db8::1"), "")
	b.advance(loginCacheFor)
	_, err = b.Login(ctx, "shop/smtp", testPassword, netip.MustParseAddr("2001:db8::2"))
	wantKind(t, err, Throttled, "")

	// A name bears more, from everywhere together.
	b.fail(failFreeName, here, "shop/smtp")
	_, err = b.Login(ctx, "shop/smtp", testPassword, netip.MustParseAddr("203.0.113.5"))
	wantKind(t, err, Throttled, "")
}

func TestKey(t *testing.T) {
	b := newTestbed(t, nil)
	if p, err := b.Key(testKey, here); err != nil || p.Account.Name != "shop" {
		t.Fatalf("Key = %+v, %v", p, err)
	}
	for range failFree {
		_, err := b.Key("pr_wrong", here)
		wantKind(t, err, BadCredentials, "")
	}
	_, err := b.Key("pr_wrong", here)
	wantKind(t, err, Throttled, "")
	if _, err := b.Key(testKey, here); err != nil {
		t.Errorf("a right key is shut out by a neighbour's wrong one: %v", err)
	}
	_, err = b.Key("", here)
	if KindOf(err) != Throttled {
		t.Errorf("an empty key: %v", err)
	}
}

func TestCredentialLimits(t *testing.T) {
	b := newTestbed(t, nil)
	s := testState()
	s.Accounts[0].Credentials[0].Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	s.Accounts[0].Credentials[1].Disabled = true
	b.apply(s)
	_, err := b.Key(testKey, here)
	wantKind(t, err, BadCredentials, "")
	if _, err = b.Key(testKey, netip.MustParseAddr("::ffff:198.51.100.4")); err != nil {
		t.Errorf("from its network: %v", err)
	}
	_, err = b.Login(t.Context(), "shop/smtp", testPassword, here)
	wantKind(t, err, BadCredentials, "")
}

func TestNetwork(t *testing.T) {
	b := newTestbed(t, nil)
	s := testState()
	s.Accounts[0].Credentials = append(s.Accounts[0].Credentials, platform.Credential{
		Name: "lan", Kind: platform.CredentialNetwork, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	b.apply(s)
	if p, ok := b.Network(here); !ok || p.Credential.Name != "lan" {
		t.Errorf("Network = %+v, %v", p, ok)
	}
	if _, ok := b.Network(netip.MustParseAddr("198.51.100.1")); ok {
		t.Error("a stranger is let in")
	}
	s.Accounts[0].Credentials[len(s.Accounts[0].Credentials)-1].Disabled = true
	b.apply(s)
	if _, ok := b.Network(here); ok {
		t.Error("a disabled credential lets in")
	}
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || !strings.HasPrefix(a, KeyPrefix) || len(a) < 40 {
		t.Errorf("secrets %q, %q", a, b)
	}
	for _, kind := range []platform.CredentialKind{platform.CredentialAPI, platform.CredentialSMTP} {
		h := HashSecret(kind, a)
		if strings.Contains(h, a) || !MatchSecret(kind, h, a) || MatchSecret(kind, h, b) || MatchSecret(kind, "", a) {
			t.Errorf("kind %s: stored form %q", kind, h)
		}
	}
	if one, two := HashPassword("x"), HashPassword("x"); one == two {
		t.Error("two hashes of one password are the same: there is no salt")
	}
}

// However many clients fail, what is remembered of them is bounded.
func TestFailuresAreBounded(t *testing.T) {
	b := newTestbed(t, nil)
	for i := range failKeep + 10 {
		b.logins.failed([]failKey{{hash: [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}}})
	}
	if n := len(b.logins.fails); n > failKeep {
		t.Errorf("%d failures are remembered", n)
	}
}
