package report

import "testing"

// TestLostBoundaryInMbox: the line that begins a mail in an mbox file does not stand in the way of a boundary the header no
// longer names.
func TestLostBoundaryInMbox(t *testing.T) {
	const body = "From: postmaster@mx.example.net\nTo: news@shop.example.org\nSubject: Undeliverable: News\n\n" +
		"--b9.mx.example.net\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"This mail did not reach the following recipient:\n\nj=6F=65@example.com\n    The box is full.\n\n" +
		"--b9.mx.example.net\nContent-Type: message/rfc822\n\nFrom: news@shop.example.org\nTo: someone@example.com\n\nHello.\n--b9.mx.example.net--\n"
	for _, line := range []string{"", "From MAILER-DAEMON Tue Mar  3 10:00:00 2026\n"} {
		r := Parse([]byte(line+body), Limits{})
		if r.Kind != Bounce || len(r.Recipients) != 1 || r.Recipients[0].Address != "joe@example.com" {
			t.Errorf("with %q: %s of %+v", line, r.Kind, r.Recipients)
		}
	}
}
