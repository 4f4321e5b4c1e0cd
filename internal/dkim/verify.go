package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
)

// MaxSignatures is how many signatures of one message are checked; each costs a DNS query and a key operation.
const MaxSignatures = 10

// Status is the result for one signature, in the words of RFC 8601 §2.7.1.
type Status string

// The results.
const (
	Pass      Status = "pass"
	Fail      Status = "fail"
	Policy    Status = "policy"    // not checked for our own reasons: expired, one too many
	TempError Status = "temperror" // the key could not be asked for; try later
	PermError Status = "permerror" // malformed, or no usable key
)

// Errors of a Result, besides those of key records.
var (
	ErrBodyChanged   = errors.New("dkim: the body is not what was signed")
	ErrHeaderChanged = errors.New("dkim: the header is not what was signed, or the key is another")
	ErrExpired       = errors.New("dkim: the signature has expired")
	ErrTooMany       = errors.New("dkim: too many signatures")
)

// Result is what became of one signature.
type Result struct {
	Status    Status
	Err       error // why; nil for Pass
	Domain    string
	Selector  string
	Identity  string // i=
	Algorithm string // a=
	Fields    []string
	Signed    time.Time // t=; zero: not said
	Expires   time.Time // x=; zero: never
	// Partial: the signature has l=, and does not cover the end of the body. What stands there is unsigned.
	Partial bool
	// Testing: the domain's key record asks to treat the message as if unsigned (t=y).
	Testing bool
	KeyBits int // of an RSA key
}

// LookupTXT returns the TXT records of a name, each joined to one string. An error that wraps dns.ErrNotExist or
// dns.ErrNoData says there are none; every other error is temporary.
type LookupTXT = func(ctx context.Context, name string) ([]string, error)

// Verifier checks signatures.
type Verifier struct {
	LookupTXT LookupTXT
	Now       func() time.Time // nil: time.Now
}

// check is one signature while it is being verified.
type check struct {
	sig    signature
	field  int // index of the DKIM-Signature field in the header
	counts *countedHash
	body   interface {
		io.Writer
		Sum() [32]byte
	}
	done bool
}

// Verify reads a message and returns a result for each of its signatures, from the top down; none for a message without.
// Lines may end with LF alone: a message that was signed came with CRLF. The error is that of msg or ctx, never about
// a signature.
func (v *Verifier) Verify(ctx context.Context, msg io.Reader) ([]Result, error) {
	r := bufio.NewReaderSize(&crlfReader{r: msg}, 32<<10)
	raw, err := readHeader(r)
	if err != nil {
		return nil, fmt.Errorf("dkim: read message: %w", err)
	}
	h, _ := message.ReadHeaderLenient(raw, len(raw))
	var results []Result
	var checks []*check
	var bodies []io.Writer
	for i, f := range h.Fields() {
		if !f.Is("DKIM-Signature") {
			continue
		}
		c := &check{field: i}
		res := v.begin(c, f, len(checks))
		if !c.done {
			bodies = append(bodies, c.body)
		}
		results, checks = append(results, res), append(checks, c)
	}
	if len(bodies) > 0 {
		if _, err := io.Copy(io.MultiWriter(bodies...), r); err != nil {
			return nil, fmt.Errorf("dkim: read message: %w", err)
		}
	}
	for i, c := range checks {
		if !c.done {
			v.finish(ctx, c, h, &results[i])
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// begin reads a signature field and prepares to hash the body.
func (v *Verifier) begin(c *check, f message.Field, nth int) (res Result) {
	sig, err := parseSignature(f.Value())
	c.sig = sig
	res = Result{
		Domain: sig.domain, Selector: sig.selector, Identity: sig.identity, Algorithm: sig.algorithm, Fields: sig.fields,
		Signed: sig.at, Expires: sig.expires,
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	end := func(s Status, err error) Result {
		c.done, res.Status, res.Err = true, s, err
		return res
	}
	switch {
	case nth >= MaxSignatures:
		return end(Policy, ErrTooMany)
	case err != nil:
		return end(PermError, fmt.Errorf("dkim: signature: %w", err))
	case sig.algorithm != "rsa-sha256" && sig.algorithm != "ed25519-sha256": // RFC 8301 §3.1: rsa-sha1 is no signature
		return end(PermError, fmt.Errorf("dkim: signature: %w: algorithm %.40q", errSyntax, sig.algorithm))
	case !sig.expires.IsZero() && now().After(sig.expires):
		return end(Policy, ErrExpired)
	}
	c.counts = &countedHash{Hash: sha256.New(), limit: math.MaxInt64}
	if sig.length >= 0 {
		c.counts.limit = sig.length
	}
	if sig.simpleBody {
		c.body = &simpleHasher{h: c.counts}
	} else {
		c.body = newBodyHasher(c.counts)
	}
	return res
}

// finish checks the body hash, gets the key and checks the signature.
func (v *Verifier) finish(ctx context.Context, c *check, h message.Header, res *Result) {
	sum := c.body.Sum()
	res.Partial = c.sig.length >= 0 && c.sig.length < c.counts.total
	if c.sig.length > c.counts.total || !bytes.Equal(sum[:], c.sig.bodyHash) {
		res.Status, res.Err = Fail, ErrBodyChanged
		return
	}
	rec, err := v.key(ctx, c.sig)
	if err != nil {
		res.Status, res.Err = PermError, err
		if !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrRevoked) && !errors.Is(err, ErrRecord) {
			res.Status = TempError
		}
		return
	}
	res.Testing = rec.Testing
	if _, d, _ := cutLast(c.sig.identity, "@"); rec.Strict && !strings.EqualFold(d, c.sig.domain) {
		res.Status, res.Err = PermError, fmt.Errorf("%w: it is for %s alone (t=s)", ErrRecord, c.sig.domain)
		return
	}
	digest := sha256.Sum256(c.hashed(h))
	switch pub := rec.Public.(type) {
	case *rsa.PublicKey:
		res.KeyBits = pub.N.BitLen()
		if c.sig.algorithm != "rsa-sha256" {
			err = fmt.Errorf("%w: it is RSA, the signature %s", ErrRecord, c.sig.algorithm)
		} else if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], c.sig.signed) != nil {
			err = ErrHeaderChanged
		}
	case ed25519.PublicKey:
		if c.sig.algorithm != "ed25519-sha256" {
			err = fmt.Errorf("%w: it is Ed25519, the signature %s", ErrRecord, c.sig.algorithm)
		} else if !ed25519.Verify(pub, digest[:], c.sig.signed) {
			err = ErrHeaderChanged
		}
	}
	switch res.Err = err; {
	case err == nil:
		res.Status = Pass
	case errors.Is(err, ErrRecord):
		res.Status = PermError
	default:
		res.Status = Fail
	}
}

// key gets the key of a signature. Of several records, which no domain should have, the first usable one counts.
func (v *Verifier) key(ctx context.Context, sig signature) (rec Record, err error) {
	name := sig.selector + "._domainkey." + sig.domain
	records, err := v.LookupTXT(ctx, name)
	if errors.Is(err, dns.ErrNotExist) || errors.Is(err, dns.ErrNoData) || err == nil && len(records) == 0 {
		return rec, fmt.Errorf("%w: %s", ErrNoKey, name)
	}
	if err != nil {
		return rec, fmt.Errorf("dkim: look up %s: %w", name, err)
	}
	var first error
	for _, txt := range records {
		if rec, err = ParseRecord(txt); err == nil {
			return rec, nil
		}
		if first == nil {
			first = err
		}
	}
	return rec, first
}

// hashed returns what the signature is over: the fields of h=, each from the bottom up, and the signature field itself.
func (c *check) hashed(h message.Header) []byte {
	all := h.Fields()
	var b []byte
	add := func(raw []byte) {
		if c.sig.simpleHeader {
			b = append(b, raw...)
		} else {
			b = appendRelaxed(b, raw)
		}
	}
	below := make(map[string]int, len(c.sig.fields)) // how far up the fields of a name are used
	for _, name := range c.sig.fields {
		at, seen := below[name]
		if !seen {
			at = len(all)
		}
		for at--; at >= 0; at-- {
			if all[at].Is(name) {
				add(all[at].Raw)
				break
			}
		}
		below[name] = max(at, 0)
	}
	add(withoutSignature(all[c.field].Raw))
	return bytes.TrimSuffix(b, []byte("\r\n"))
}

// readHeader reads up to and with the empty line. A message whose header is larger than smtp.MaxHeaderBytes is cut
// there, as one whose signatures then fail.
func readHeader(r *bufio.Reader) (raw []byte, err error) {
	for len(raw) < smtp.MaxHeaderBytes {
		line, err := r.ReadSlice('\n')
		raw = append(raw, line...)
		if err == io.EOF {
			return raw, nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if bytes.Equal(line, []byte("\r\n")) && bytes.HasSuffix(raw, []byte("\n\r\n")) {
			return raw, nil
		}
		if bytes.Equal(raw, []byte("\r\n")) {
			return raw, nil
		}
	}
	return raw, nil
}

// crlfReader turns LF alone into CRLF.
type crlfReader struct {
	r    io.Reader
	buf  [16 << 10]byte
	in   []byte // what of buf is still to be given
	cr   bool   // the last octet was a CR
	half bool   // the LF of a repaired line end is still to be given
	err  error
}

// Read implements io.Reader.
func (c *crlfReader) Read(p []byte) (n int, err error) {
	if len(c.in) == 0 && c.err == nil {
		n, err := c.r.Read(c.buf[:])
		c.in, c.err = c.buf[:n], err
	}
	for n < len(p) && len(c.in) > 0 {
		if c.half {
			p[n], c.half, c.cr, c.in = '\n', false, false, c.in[1:]
			n++
			continue
		}
		if b := c.in[0]; b == '\n' && !c.cr {
			p[n], c.half = '\r', true
			n++
			continue
		}
		// Up to the next LF at once.
		i := bytes.IndexByte(c.in[1:], '\n') + 1
		if i == 0 {
			i = len(c.in)
		}
		i = copy(p[n:], c.in[:i])
		n, c.cr, c.in = n+i, c.in[i-1] == '\r', c.in[i:]
	}
	if n == 0 && len(p) > 0 {
		return 0, c.err
	}
	return n, nil
}
