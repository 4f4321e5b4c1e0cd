package compose

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

func TestReceived(t *testing.T) {
	plain := Trace{Host: "mx.example.com", Protocol: "ESMTPSA", ID: "msg_1", At: testNow}
	for _, tt := range []struct {
		name   string
		change func(*Trace)
		want   string
	}{
		{"client hidden", func(*Trace) {}, "Received: from submission\n by mx.example.com with ESMTPSA\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n"},
		{"helo alone stays hidden", func(tr *Trace) { tr.Helo = "annas-laptop" }, "Received: from submission\n by mx.example.com with ESMTPSA\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n"},
		{"all", func(tr *Trace) {
			tr.Client, tr.Helo, tr.TLS = netip.MustParseAddr("192.0.2.1"), "client.example.net", "TLS1.3 TLS_AES_128_GCM_SHA256"
			tr.For = mail.Address{Local: "a b", Domain: "example.net"}
		}, "Received: from client.example.net ([192.0.2.1])\n by mx.example.com with ESMTPSA (TLS1.3 TLS_AES_128_GCM_SHA256)\n id msg_1\n for <\"a b\"@example.net>;\n Wed, 04 Mar 2026 05:06:07 +0000\n"},
		{
			"IPv6, mapped IPv4", func(tr *Trace) { tr.Client, tr.Helo = netip.MustParseAddr("2001:db8::1%eth0"), "[IPv6:2001:db8::1]" },
			"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\n by mx.example.com with ESMTPSA\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n",
		},
		{"hostile helo", func(tr *Trace) {
			tr.Client, tr.Helo, tr.TLS = netip.MustParseAddr("::ffff:192.0.2.1"), "a;b (c)\r\nX: y", "x)\r\ny"
		}, "Received: from a?b??c???X:?y ([192.0.2.1])\n by mx.example.com with ESMTPSA (x???y)\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n"},
		{
			"no helo", func(tr *Trace) { tr.Client = netip.MustParseAddr("192.0.2.1") },
			"Received: from unknown ([192.0.2.1])\n by mx.example.com with ESMTPSA\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n",
		},
		{
			"long helo", func(tr *Trace) { tr.Client, tr.Helo = netip.MustParseAddr("192.0.2.1"), strings.Repeat("x", 2000) },
			"Received: from " + strings.Repeat("x", 255) + " ([192.0.2.1])\n by mx.example.com with ESMTPSA\n id msg_1;\n Wed, 04 Mar 2026 05:06:07 +0000\n",
		},
	} {
		tr := plain
		tt.change(&tr)
		got := string(Received(tr))
		if diff := cmp.Diff(lf(tt.want), got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, diff)
		}
		if h, _, err := message.ReadHeader([]byte(got), 0); err != nil || len(h.Fields()) != 1 {
			t.Errorf("%s: %d fields, %v", tt.name, len(h.Fields()), err)
		}
	}
}
