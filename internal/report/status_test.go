package report

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestStatusForms: what real writers make of the fields of RFC 3464 §2.3, and the address that was meant.
func TestStatusForms(t *testing.T) {
	const (
		mta  = "Reporting-MTA: dns; mx.example.net\n\n"
		rest = "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n"
	)
	for name, c := range map[string]struct{ status, want string }{
		"a local name":                {mta + "Final-Recipient: LOCAL; joe\n" + rest, "joe@example.com"},
		"an unknown type":             {mta + "Final-Recipient: unknown; joe@example.com\n" + rest, "joe@example.com"},
		"an X.400 address":            {mta + "Final-Recipient: x400; /G=Joe/S=Doe/O=Org/PRMD=P/C=GB/\n" + rest, "joe@example.com"},
		"quotes":                      {mta + "Final-Recipient: rfc822;\"joe@example.com\"\n" + rest, "joe@example.com"},
		"a comment":                   {mta + "Final-Recipient: rfc822; joe@example.com (Joe Doe)\n" + rest, "joe@example.com"},
		"a display name":              {mta + "Final-Recipient: rfc822; Joe Doe <joe@example.com>\n" + rest, "joe@example.com"},
		"nothing":                     {mta + "Final-Recipient: rfc822;\n" + rest, "joe@example.com"},
		"empty brackets":              {mta + "Final-Recipient: rfc822; <>\n" + rest, "joe@example.com"},
		"a scheme":                    {mta + "Final-Recipient: rfc822; mailto:joe@example.com\n" + rest, "joe@example.com"},
		"no type":                     {mta + "Final-Recipient: <joe@example.com>\n" + rest, "joe@example.com"},
		"a colon after the type":      {mta + "Final-Recipient: rfc822: joe@example.com\n" + rest, "joe@example.com"},
		"a comma at the end":          {mta + "Final-Recipient: rfc822; joe@example.com,\n" + rest, "joe@example.com"},
		"only an original recipient":  {mta + "Original-Recipient: rfc822; joe@example.com\n" + rest, "joe@example.com"},
		"to be sent on":               {mta + "Final-Recipient: rfc822; joe%example.com@relay.example.net\nOriginal-Recipient: rfc822; joe@example.com\n" + rest, "joe@example.com"},
		"names in capitals":           {"REPORTING-MTA : dns; mx\n\nFINAL-RECIPIENT : rfc822; joe@example.com\nACTION : failed\nSTATUS : 5.1.1\n", "joe@example.com"},
		"one group":                   {"Reporting-MTA: dns; mx\nFinal-Recipient: rfc822; joe@example.com\n" + rest, "joe@example.com"},
		"a blank line too many":       {mta + "Final-Recipient: rfc822; joe@example.com\n\n" + rest, "joe@example.com"},
		"two without a blank line":    {mta + "Final-Recipient: rfc822; joe@example.com\n" + rest + "Final-Recipient: rfc822; ann@example.com\n" + rest, "joe@example.com ann@example.com"},
		"two, the original one first": {mta + "Final-Recipient: rfc822; joe@example.com\n" + rest + "Original-Recipient: rfc822; ann@example.com\nFinal-Recipient: rfc822; ann@mx2.example.com\n" + rest, "joe@example.com ann@example.com"},
		"an address literal":          {mta + "Final-Recipient: rfc822; joe@[192.0.2.1]\n" + rest, "joe@[192.0.2.1]"},
	} {
		for part, body := range map[string]string{
			"message/delivery-status":                                                 c.status,
			"application/octet-stream; name=details.txt":                              c.status,
			"message/delivery-status\nContent-Transfer-Encoding: base64":              base64.StdEncoding.EncodeToString([]byte(c.status)),
			"message/global-delivery-status\nContent-Transfer-Encoding: 8bit\nX-Y: z": c.status,
		} {
			r := Parse([]byte("From: MAILER-DAEMON@mx.example.net\nSubject: Undelivered\nContent-Type: multipart/report; boundary=bb\n\n"+
				"--bb\nContent-Type: text/plain\n\nIt came back.\n\n--bb\nContent-Type: "+part+"\n\n"+body+"\n"+
				"--bb\nContent-Type: message/rfc822\n\nFrom: news@shop.example.org\nTo: joe@example.com\nSubject: News\n\nHello.\n--bb--\n"), Limits{})
			var got []string
			for _, rc := range r.Recipients {
				got = append(got, rc.Address)
				if rc.Status.String() != "5.1.1" {
					t.Errorf("%s, %s: status %s", name, part, rc.Status)
				}
			}
			if s := strings.Join(got, " "); s != c.want || r.Kind != Bounce {
				t.Errorf("%s, %s: %s of %q, want %q", name, part, r.Kind, s, c.want)
			}
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		" \r\n\t":                        "",
		"one":                            "one",
		"\n one\r\n  two\t\x00three\x7f": "one two three",
		"a\u00a0b \u00a0 c\u00a0":        "a b c",
		"é\xffü \xc2":                    "é\uFFFDü \uFFFD",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
	}
}
