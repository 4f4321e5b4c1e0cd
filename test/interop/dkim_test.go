//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// judge is dkimpy: it prints a line for each signature, with the records from its argument instead of DNS.
const judge = `
import dkim, json, sys
records = json.loads(sys.argv[1])
d = dkim.DKIM(sys.stdin.buffer.read())
def txt(name, timeout=5):
    r = records.get(name.decode())
    return r.encode() if r else None
n = len([h for h in d.headers if h[0].lower() == b"dkim-signature"])
for i in range(n):
    ok = d.verify(idx=i, dnsfunc=txt)
    print("pass" if ok else "fail", d.signature_fields[b"a"].decode(), d.signature_fields[b"d"].decode())
`

// dkim has dkimpy check the signatures of what arrived behind every receiver, after its transfer agent had it.
func (w *world) dkim(t *testing.T) {
	records, err := json.Marshal(w.records)
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"postfix.test", "exim.test", "opensmtpd.test", "gosmtp.test", "old.test"} {
		t.Run(domain, func(t *testing.T) {
			at := w.sink
			if domain == "gosmtp.test" {
				at = w.gosmtp
			}
			for _, rcpt := range []string{"user@" + domain, "eightbit@" + domain} {
				for _, r := range at.Of(rcpt) {
					// The system's Python: that is where the package is.
					cmd := exec.Command("/usr/bin/python3", "-c", judge, string(records))
					cmd.Stdin = bytes.NewReader(r.Content)
					out, err := cmd.CombinedOutput()
					if err != nil {
						t.Fatalf("dkimpy: %v\n%s", err, out)
					}
					got := string(out)
					if !strings.Contains(got, "pass rsa-sha256 shop.test") || !strings.Contains(got, "pass ed25519-sha256 shop.test") || strings.Contains(got, "fail") {
						t.Errorf("%s: dkimpy says:\n%s\nof\n%.3000s", rcpt, got, r.Content)
					}
				}
			}
			if len(at.Of("user@"+domain)) == 0 {
				t.Error("nothing arrived that could be judged")
			}
		})
	}
}
