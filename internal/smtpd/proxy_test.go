package smtpd

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/postroad/postroad/internal/platform"
)

// v2 builds a PROXY header of version 2 by hand.
func v2(command, family byte, addresses ...byte) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
	return string(append(b, addresses...))
}

var v2Client = []byte{192, 0, 2, 7, 192, 0, 2, 1, 0xc0, 0x00, 0x02, 0x4b}

func fromProxy(o *Options) {
	for i := range o.Listeners {
		o.Listeners[i].Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
}

func TestProxy(t *testing.T) {
	v6 := append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0xc0, 0, 2, 0x4b)
	for name, tt := range map[string]struct{ header, client string }{
		"v1":      {"PROXY TCP4 192.0.2.7 192.0.2.1 49152 587\r\n", "192.0.2.7"},
		"v1 IPv6": {"PROXY TCP6 2001:db8::7 2001:db8::1 49152 587\r\n", "2001:db8::7"},
		"v2":      {v2(1, 0x11, v2Client...), "192.0.2.7"},
		"v2 IPv6": {v2(1, 0x21, v6...), "2001:db8::7"},
	} {
		t.Run(name, func(t *testing.T) {
			// Who may send depends on the address in the header.
			d := &desk{networks: map[string]platform.Principal{tt.client: principal("lan", 5)}}
			h := start(t, d, fromProxy)
			c := dial(t, h.clear)
			c.say(tt.header)
			c.hear("220 ")
			c.ask("HELO x", "250 ")
			c.ask("MAIL FROM:<a@example.org>", "250 ")
			if got := d.clients[0].IP.String(); got != tt.client {
				t.Errorf("client %s, want %s", got, tt.client)
			}
		})
	}
}

func TestProxyHeaderIsRequired(t *testing.T) {
	d := &desk{networks: map[string]platform.Principal{"127.0.0.1": principal("lan", 5)}}
	for name, header := range map[string]string{
		"none":         "EHLO x\r\n",
		"malformed":    "PROXY TCP4 somewhere\r\n",
		"v2 UNSPEC":    v2(1, 0x00),
		"v2 unix":      v2(1, 0x31, make([]byte, 216)...),
		"v2 UDP":       v2(1, 0x12, v2Client...),
		"v2 truncated": v2(1, 0x11, v2Client[:5]...),
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, d, fromProxy)
			c := dial(t, h.clear)
			c.say(header + "HELO x\r\nMAIL FROM:<a@example.org>\r\n")
			buf := make([]byte, 1)
			if n, _ := c.nc.Read(buf); n > 0 {
				t.Error("it was answered")
			}
			h.stop()
			if n := h.count(t, "refused_total", "submission", "open"); n != 1 {
				t.Errorf("refused counted: %v", n)
			}
		})
	}
}

// A proxy's health check is greeted, and is not taken for a client at the proxy's address.
func TestProxyHealthCheck(t *testing.T) {
	for name, header := range map[string]string{
		"v1":                   "PROXY UNKNOWN\r\n",
		"v1 with more":         "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n",
		"v2":                   v2(0, 0x00),
		"v2 with an address":   v2(0, 0x11, v2Client...),
		"v2 LOCAL from a unix": v2(0, 0x31, make([]byte, 216)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := &desk{networks: map[string]platform.Principal{"127.0.0.1": principal("lan", 5), "192.0.2.7": principal("wan", 5)}}
			h := start(t, d, func(o *Options) { fromProxy(o); o.Listeners[0].ClearAuth = true })
			c := dial(t, h.clear)
			c.say(header)
			c.hear("220 ")
			c.ask("EHLO x", "250 STARTTLS")
			c.ask("MAIL FROM:<a@example.org>", "530 5.7.0 ")
			c.login("acme", "secret", "538 5.7.11 ")
			c.ask("QUIT", "221 ")
			c.gone()
		})
	}
}

// From anybody else a PROXY header is a wrong command, and changes nothing.
func TestProxyHeaderFromStranger(t *testing.T) {
	d := &desk{networks: map[string]platform.Principal{"192.0.2.7": principal("lan", 5)}}
	h := start(t, d, func(o *Options) { o.Listeners[0].Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	c := dial(t, h.clear)
	c.hear("220 ")
	c.ask("PROXY TCP4 192.0.2.7 192.0.2.1 49152 587", "500 5.5.1 ")
	c.ask("HELO x", "250 ")
	c.ask("MAIL FROM:<a@example.org>", "530 5.7.0 ")
}

// The caps count clients, not the proxy.
func TestProxyCaps(t *testing.T) {
	h := start(t, &desk{}, func(o *Options) { fromProxy(o); o.MaxPerAddress = 1 })
	open := func(client, want string) {
		t.Helper()
		c := dial(t, h.clear)
		c.say("PROXY TCP4 " + client + " 192.0.2.1 49152 587\r\n")
		c.hear(want)
	}
	open("192.0.2.7", "220 ")
	open("192.0.2.8", "220 ")
	open("192.0.2.7", "421 4.7.0 ")
}

// TLS from the first octet comes after the header.
func TestProxyBeforeTLS(t *testing.T) {
	d := &desk{}
	h := start(t, d, fromProxy)
	c := dial(t, h.tls)
	c.say(v2(1, 0x11, v2Client...))
	c.upgrade()
	c.hear("220 ")
	c.ask("EHLO x", "250 ")
	c.login("acme", "secret", "235 ")
	c.ask("MAIL FROM:<a@example.org>", "250 ")
	if got := d.clients[0].IP.String(); got != "192.0.2.7" {
		t.Errorf("client %s", got)
	}
}
