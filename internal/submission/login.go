package submission

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/postroad/postroad/internal/platform"
)

// Parameters of argon2id (RFC 9106 §4, second recommended option, with one lane: log-ins come in numbers).
const (
	argonTime    = 3
	argonMemory  = 32 << 10 // KiB
	argonThreads = 1
	argonKey     = 32
)

// Throttling of failed log-ins: after failFree failures from an address within failWindow, or failFreeName for a login
// name from anywhere, each further try is refused until the window has passed. A name bears more than an address, so
// that a stranger cannot easily lock its owner out. What is known to be right passes all the same: an API key, which
// nobody guesses, and a password that fitted a moment ago. One forgotten application must not shut out its neighbours.
const (
	failFree     = 10
	failFreeName = 100
	failWindow   = 15 * time.Minute
	failKeep     = 100_000 // addresses and names remembered at most
)

// loginCacheFor is how long a password that fitted once is known without argon2: applications open a connection for
// every message, and 30 ms for each would be the whole cost of sending.
const loginCacheFor = 5 * time.Minute

// HashPassword returns the form in which the password of an smtp credential is stored.
func HashPassword(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// HashKey returns the form in which an API key is stored and looked up. A key holds 256 random bits, so a plain hash
// is as good as a slow one.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// KeyPrefix begins every API key, so that scanners of published code can recognise one.
const KeyPrefix = "pr_"

// NewSecret makes an API key or a password.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return KeyPrefix + base64.RawURLEncoding.EncodeToString(b)
}

var errBadHash = errors.New("stored password hash is malformed")

func checkPassword(stored, password string) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errBadHash
	}
	var version int
	var m, t uint32
	var p uint8
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errBadHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || m > 1<<20 || t > 100 || t == 0 || p == 0 {
		return false, errBadHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 {
		return false, errBadHash
	}
	got := argon2.IDKey([]byte(password), salt, t, m, p, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// logins counts failures and remembers successes.
type logins struct {
	now   func() time.Time
	argon chan struct{} // bounds the memory argon2 takes at one time

	mu      sync.Mutex
	fails   map[failKey]*failures
	success map[[32]byte]time.Time
	key     [32]byte // of the success cache, so that a memory image gives no password away cheaply
}

// failKey is what failures are counted under: the hash of an address or a login name, for names can be long.
type failKey struct {
	hash [32]byte
	free int // failures it bears
}

func addressKey(ip netip.Addr) failKey {
	return failKey{sha256.Sum256([]byte("ip " + ipBlock(ip))), failFree}
}

func nameKey(username string) failKey {
	return failKey{sha256.Sum256([]byte("name " + username)), failFreeName}
}

type failures struct {
	n     int
	until time.Time
}

func newLogins(now func() time.Time) *logins {
	l := &logins{now: now, argon: make(chan struct{}, 2), fails: map[failKey]*failures{}, success: map[[32]byte]time.Time{}}
	_, _ = rand.Read(l.key[:]) // never fails (crypto/rand)
	return l
}

// Login checks the password of an smtp credential for a client at ip. Its errors are of kind BadCredentials and
// Throttled, and Unavailable where the stored credential cannot be read: a client must not be
// told that its password is wrong when nobody looked.
func (s *Service) Login(ctx context.Context, username, password string, ip netip.Addr) (platform.Principal, error) {
	p, found := s.snapshot().Login(username)
	keys := []failKey{addressKey(ip), nameKey(username)}
	if found && s.logins.known(s.logins.memo(p.Credential.Hash, password)) {
		return s.admit(p, true, ip, keys)
	}
	if err := s.logins.throttled(keys); err != nil {
		return platform.Principal{}, err
	}
	stored := dummyHash // takes the time a check takes, so that names cannot be told apart by it
	if found {
		stored = p.Credential.Hash
	}
	fits, err := s.logins.check(ctx, stored, password)
	switch {
	case ctx.Err() != nil:
		return platform.Principal{}, &Error{Kind: Unavailable, Detail: "the log-in took too long; try again", Err: ctx.Err()}
	case err != nil:
		return platform.Principal{}, &Error{Kind: Unavailable, Detail: "the log-in could not be checked; try again later", Err: err}
	}
	return s.admit(p, found && fits, ip, keys)
}

// dummyHash is the hash of a password nobody has.
const dummyHash = "$argon2id$v=19$m=32768,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Key checks an API key for a client at ip. Its errors are of kind BadCredentials and Throttled.
func (s *Service) Key(key string, ip netip.Addr) (platform.Principal, error) {
	p, found := s.snapshot().Key(HashKey(key))
	keys := []failKey{addressKey(ip)}
	if !found {
		if err := s.logins.throttled(keys); err != nil {
			return platform.Principal{}, err
		}
	}
	return s.admit(p, found, ip, keys)
}

// admit lets a client in whose secret was right, if its credential may be used from there, and counts a failure else.
func (s *Service) admit(p platform.Principal, right bool, ip netip.Addr, keys []failKey) (platform.Principal, error) {
	// ip is not valid for a client of the admin socket: it is on this machine.
	if !right || p.Credential.Disabled || ip.IsValid() && !p.Credential.AllowsFrom(ip) {
		s.logins.failed(keys)
		return platform.Principal{}, refuse(BadCredentials, "", "unknown name, wrong password or key, or it may not be used from this address")
	}
	return p, nil
}

// Network returns the network credential that lets ip send without a login.
func (s *Service) Network(ip netip.Addr) (platform.Principal, bool) {
	p, ok := s.snapshot().Network(ip)
	if !ok || p.Credential.Disabled {
		return platform.Principal{}, false
	}
	return p, true
}

// memo is what a password that fits a stored hash is remembered as.
func (l *logins) memo(stored, password string) [32]byte {
	h := hmac.New(sha256.New, l.key[:])
	h.Write([]byte(stored))
	h.Write([]byte{0})
	h.Write([]byte(password))
	return [32]byte(h.Sum(nil))
}

// known reports whether the password fitted within loginCacheFor.
func (l *logins) known(memo [32]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.success[memo]
	return ok && l.now().Before(until)
}

// check compares with argon2, and remembers what fits.
func (l *logins) check(ctx context.Context, stored, password string) (bool, error) {
	select {
	case l.argon <- struct{}{}:
		defer func() { <-l.argon }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	fits, err := checkPassword(stored, password)
	if fits {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.success) >= failKeep {
			clear(l.success)
		}
		l.success[l.memo(stored, password)] = l.now().Add(loginCacheFor)
	}
	return fits, err
}

// throttled returns an error of kind Throttled while one of keys has too many failures.
func (l *logins) throttled(keys []failKey) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		if f := l.fails[k]; f != nil && f.n >= k.free {
			if wait := f.until.Sub(l.now()); wait > 0 {
				e := refuse(Throttled, "", "too many failed log-ins; try again in %s", wait.Round(time.Second))
				e.After = wait
				return e
			}
			delete(l.fails, k)
		}
	}
	return nil
}

func (l *logins) failed(keys []failKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.fails) >= failKeep {
		for k, f := range l.fails {
			if !now.Before(f.until) {
				delete(l.fails, k)
			}
		}
		if len(l.fails) >= failKeep {
			clear(l.fails) // so many at once is an attack from everywhere; memory is bounded first
		}
	}
	for _, k := range keys {
		f := l.fails[k]
		if f == nil || !now.Before(f.until) {
			f = &failures{}
			l.fails[k] = f
		}
		f.n++
		f.until = now.Add(failWindow)
	}
}

// ipBlock is what failures of an address are counted under: an IPv6 client owns a /64.
func ipBlock(ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// HashSecret returns the stored form of a credential's password or key.
func HashSecret(kind platform.CredentialKind, secret string) string {
	if kind == platform.CredentialAPI {
		return HashKey(secret)
	}
	return HashPassword(secret)
}

// MatchSecret reports whether a stored form is that of the secret.
func MatchSecret(kind platform.CredentialKind, hash, secret string) bool {
	if kind == platform.CredentialAPI {
		return subtle.ConstantTimeCompare([]byte(HashKey(secret)), []byte(hash)) == 1
	}
	ok, err := checkPassword(hash, secret)
	return ok && err == nil
}
