package dkim

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/dns"
)

// crlf writes CRLF for LF, for readable literals.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// zone is a LookupTXT over plain data; the value "fail" stands for no answer.
type zone map[string]string

func (z zone) lookup(_ context.Context, name string) ([]string, error) {
	switch txt, ok := z[name]; {
	case !ok:
		return nil, &dns.Error{Kind: dns.ErrNotExist, Name: name, Type: "TXT"}
	case txt == "fail":
		return nil, &dns.Error{Kind: dns.ErrTemporary, Name: name, Type: "TXT"}
	default:
		return []string{txt}, nil
	}
}

// The key records and messages of RFC 6376 appendix A and C, and RFC 8463 appendix A.
var rfcZone = zone{
	"brisbane._domainkey.example.com": "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ" +
		"KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" +
		"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v" +
		"/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi" +
		"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
	"brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	"test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR" +
		"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC" +
		"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3" +
		"Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}

const rfc6376Message = `DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
`

const rfc8463Message = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
`

func statuses(results []Result) (list []string) {
	for _, r := range results {
		s := string(r.Status)
		if r.Err != nil {
			s += " " + r.Err.Error()
		}
		list = append(list, s)
	}
	return list
}

func verify(ctx context.Context, msg io.Reader, lookup LookupTXT) ([]Result, error) {
	return (&Verifier{LookupTXT: lookup}).Verify(ctx, msg)
}

func TestVerifyRFC(t *testing.T) {
	for _, tt := range []struct {
		name, msg string
		want      []string
	}{
		{"RFC 6376 A.2", rfc6376Message, []string{"pass"}},
		{"RFC 8463 A.3", rfc8463Message, []string{"pass", "pass"}},
		{"body changed", strings.Replace(rfc6376Message, "Hi.", "Hi!", 1), []string{"fail " + ErrBodyChanged.Error()}},
		{"header changed", strings.Replace(rfc6376Message, "dinner", "supper", 1), []string{"fail " + ErrHeaderChanged.Error()}},
		{"simple header minds white space", strings.Replace(rfc6376Message, "Subject: ", "Subject:  ", 1), []string{"fail " + ErrHeaderChanged.Error()}},
		{"simple body minds white space", strings.Replace(rfc6376Message, "Joe.\n", "Joe. \n", 1), []string{"fail " + ErrBodyChanged.Error()}},
		{"simple body minds no empty lines at the end", rfc6376Message + "\n\n", []string{"pass"}},
		{"relaxed minds no white space", strings.NewReplacer("Subject: Is dinner", "SUBJECT:\n\tIs   dinner", "Joe.\n", "Joe. \t\n\n").Replace(rfc8463Message), []string{"pass", "pass"}},
		{"second From above", "From: Evil <evil@example.org>\n" + rfc8463Message, []string{"fail " + ErrHeaderChanged.Error(), "fail " + ErrHeaderChanged.Error()}},
		{"second Subject below", strings.Replace(rfc8463Message, "Date: Fri", "Subject: other\nDate: Fri", 1), []string{"fail " + ErrHeaderChanged.Error(), "fail " + ErrHeaderChanged.Error()}},
		{"unsigned", "From: a@example.com\n\nx\n", nil},
		{"unsigned, header alone", "From: a@example.com\n", nil},
		{"empty", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(crlf(tt.msg)),
				strings.NewReader(tt.msg), // kept with LF alone
				iotest.OneByteReader(strings.NewReader(tt.msg)),
				iotest.DataErrReader(iotest.HalfReader(strings.NewReader(crlf(tt.msg)))),
			} {
				results, err := verify(t.Context(), r, rfcZone.lookup)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, statuses(results)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
		})
	}
}

func TestVerifyResult(t *testing.T) {
	results, err := verify(t.Context(), strings.NewReader(crlf(rfc8463Message)), rfcZone.lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{
		Status: Pass, Domain: "football.example.com", Selector: "test", Identity: "@football.example.com", Algorithm: "rsa-sha256",
		Fields: []string{"from", "to", "subject", "date", "message-id", "from", "subject", "date"},
		Signed: time.Unix(1528637909, 0).UTC(), KeyBits: 1024,
	}
	if diff := cmp.Diff(want, results[1]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// testKey is the Ed25519 key of RFC 8463 appendix A.
var testKey = func() ed25519.PrivateKey {
	seed, err := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	if err != nil {
		panic(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}()

// signAs signs a message with a hand-written signature field, to make what Sign never makes.
func signAs(t *testing.T, tags, message string) string {
	t.Helper()
	field := "DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=s; " + tags + " b="
	c := &check{}
	var err error
	if c.sig, err = parseSignature(strings.TrimPrefix(field, "DKIM-Signature:") + "AAAA"); err != nil {
		t.Fatal(err)
	}
	h := mustHeader(t, field+"\r\n"+message)
	sum := hashOf(c.hashed(h))
	return field + base64.StdEncoding.EncodeToString(ed25519.Sign(testKey, sum[:])) + "\r\n" + message
}

func TestVerifyTags(t *testing.T) {
	record := PublicRecord(testKey.Public())
	now := time.Unix(2000000000, 0)
	message := crlf("From: a@example.com\nSubject: x\n\nbody\n")
	bodyHash := func(body string) string {
		sum := hashOf([]byte(body))
		return "bh=" + base64.StdEncoding.EncodeToString(sum[:]) + ";"
	}
	full := bodyHash("body\r\n")
	relaxed := "c=relaxed/relaxed; h=from;" + full
	for _, tt := range []struct {
		name, tags, record string
		want               string
		partial, testing   bool
	}{
		{"plain", relaxed, record, "pass", false, false},
		{"c=relaxed means simple body", "c=relaxed; h=from;" + full, record, "pass", false, false},
		{"c=simple/relaxed", "c=simple/relaxed; h=from:subject;" + full, record, "pass", false, false},
		{"no c=", "h=From;" + full, record, "pass", false, false},
		{"unknown tag", relaxed + "zz=top;", record, "pass", false, false},
		{"absent fields in h=", "c=relaxed/relaxed; h=from:from:cc:subject:list-id;" + full, record, "pass", false, false},
		{"l= of the whole body", relaxed + "l=6;", record, "pass", false, false},
		{"l= of a part", "c=relaxed/relaxed; h=from; l=2;" + bodyHash("bo"), record, "pass", true, false},
		{"l=0", "c=relaxed/relaxed; h=from; l=0;" + bodyHash(""), record, "pass", true, false},
		{"l= too large", relaxed + "l=7;", record, "fail " + ErrBodyChanged.Error(), false, false},
		{"not expired", relaxed + "t=1999999000; x=2000000001;", record, "pass", false, false},
		{"expired", relaxed + "t=1999999000; x=1999999999;", record, "policy " + ErrExpired.Error(), false, false},
		{"no such key", relaxed, "", "permerror dkim: no key in DNS: s._domainkey.example.com", false, false},
		{"no answer", relaxed, "fail", "temperror dkim: look up s._domainkey.example.com: dns: TXT of s._domainkey.example.com: no answer from the name servers", false, false},
		{"revoked", relaxed, "v=DKIM1; k=ed25519; p=", "permerror " + ErrRevoked.Error(), false, false},
		{"t=y", relaxed, record + "; t=y:x", "pass", false, true},
		{"t=s", relaxed, record + "; t=s", "pass", false, false},
		{"t=s and a subdomain", relaxed + "i=a@sub.example.com;", record + "; t=s", "permerror dkim: the key record is not usable: it is for example.com alone (t=s)", false, false},
		{"i= of a subdomain", relaxed + "i=a@sub.Example.com;", record, "pass", false, false},
		{"key for another algorithm", relaxed, rfcZone["brisbane._domainkey.example.com"], "permerror dkim: the key record is not usable: it is RSA, the signature ed25519-sha256", false, false},
		{"another key", relaxed, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "fail " + ErrHeaderChanged.Error(), false, false},
		{"key for sha1", relaxed, record + "; h=sha1", "permerror dkim: the key record is not usable: h= does not allow sha256", false, false},
		{"key for another service", relaxed, record + "; s=web", "permerror dkim: the key record is not usable: s= does not allow e-mail", false, false},
		{"key for all", relaxed, record + "; h=sha1 : sha256; s=*; n=note; g=*", "pass", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := zone{"s._domainkey.example.com": tt.record}
			if tt.record == "" {
				z = zone{}
			}
			v := Verifier{LookupTXT: z.lookup, Now: func() time.Time { return now }}
			results, err := v.Verify(t.Context(), strings.NewReader(signAs(t, tt.tags, message)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.want}, statuses(results)); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			if results[0].Partial != tt.partial || results[0].Testing != tt.testing {
				t.Errorf("partial %v, testing %v", results[0].Partial, results[0].Testing)
			}
		})
	}
}

func TestParseSignatureRefuses(t *testing.T) {
	good := "v=1; a=rsa-sha256; d=example.com; s=s; h=from; bh=AAAA; b=AAAA"
	if _, err := parseSignature(good + ";"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ value, want string }{
		{strings.Replace(good, "v=1", "v=2", 1), "version"},
		{strings.Replace(good, "v=1; ", "", 1), "v="},
		{strings.Replace(good, "b=AAAA", "b=", 1), "b="},
		{strings.Replace(good, "bh=AAAA", "bh=%%", 1), "bh="},
		{strings.Replace(good, "h=from", "h=to:subject", 1), "From"},
		{strings.Replace(good, "h=from", "h=from::to", 1), "empty name"},
		{strings.Replace(good, "h=from", "h=from"+strings.Repeat(":to", 500), 1), "more than 500"},
		{strings.Replace(good, "s=s", "s=a b", 1), "DNS name"},
		{strings.Replace(good, "d=example.com", "d=.example.com", 1), "DNS name"},
		{good + "; d=example.org", "twice"},
		{good + "; nothing", "name=value"},
		{good + "; c=strict/strict", "canonical"},
		{good + "; i=a@example.org", "i="},
		{good + "; i=a@notexample.com", "i="},
		{good + "; l=-1", "l="},
		{good + "; t=5; x=5", "x="},
		{good + "; q=http", "q="},
	} {
		if _, err := parseSignature(tt.value); err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, errSyntax) {
			t.Errorf("%s: %v, want %q", tt.value, err, tt.want)
		}
	}
}

func TestVerifyManySignatures(t *testing.T) {
	asked := 0
	count := func(ctx context.Context, name string) ([]string, error) {
		asked++
		return rfcZone.lookup(ctx, name)
	}
	field, _, _ := strings.Cut(rfc6376Message, "Received:")
	results, err := verify(t.Context(), strings.NewReader(strings.Repeat(field, 14)+strings.TrimPrefix(rfc6376Message, field)), count)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 14 || asked != MaxSignatures || results[9].Status != Pass || !errors.Is(results[10].Err, ErrTooMany) {
		t.Errorf("%d results, %d queries: %v", len(results), asked, statuses(results))
	}
}

func TestVerifyReadError(t *testing.T) {
	broken := errors.New("broken pipe")
	for n := range len(rfc6376Message) {
		_, err := verify(t.Context(), io.MultiReader(strings.NewReader(rfc6376Message[:n]), iotest.ErrReader(broken)), rfcZone.lookup)
		if header := strings.Index(rfc6376Message, "\n\n"); !errors.Is(err, broken) && n <= header {
			t.Fatalf("error after %d octets lost: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify(ctx, strings.NewReader(rfc6376Message), rfcZone.lookup); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(crlf(rfc6376Message)))
	f.Add([]byte(rfc8463Message))
	f.Add([]byte("DKIM-Signature: v=1; b=; =;;\r\n\tb\r\n\r\n"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := verify(t.Context(), strings.NewReader(string(msg)), rfcZone.lookup)
		if err != nil {
			t.Fatal(err)
		}
		b, err := verify(t.Context(), iotest.OneByteReader(strings.NewReader(string(msg))), rfcZone.lookup)
		if err != nil || fmt.Sprint(statuses(a)) != fmt.Sprint(statuses(b)) {
			t.Fatalf("read in one piece %v, octet by octet %v (%v)", statuses(a), statuses(b), err)
		}
	})
}
