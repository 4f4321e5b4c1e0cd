package practice

import (
	"fmt"
	"testing"

	mdns "github.com/miekg/dns"
)

func ask(t *testing.T, n *Internet, network, name string, qtype uint16) *mdns.Msg {
	t.Helper()
	q := new(mdns.Msg)
	q.SetQuestion(name, qtype)
	c := &mdns.Client{Net: network}
	m, _, err := c.ExchangeContext(testContext(t), q, n.DNSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestZone(t *testing.T) {
	n := start(t, Options{Records: []string{"own.example.com. MX 5 mx1.mailbox.test.", "a.b.c.test. TXT hello"}})
	for _, tt := range []struct {
		name   string
		qtype  uint16
		rcode  int
		answer int
	}{
		{"mailbox.test.", mdns.TypeMX, mdns.RcodeSuccess, 1},
		{"MailBox.TEST.", mdns.TypeMX, mdns.RcodeSuccess, 1},
		{"mailbox.test.", mdns.TypeA, mdns.RcodeSuccess, 0},
		{"alias.test.", mdns.TypeMX, mdns.RcodeSuccess, 2},
		{"alias.test.", mdns.TypeTXT, mdns.RcodeSuccess, 1},
		{"alias.test.", mdns.TypeCNAME, mdns.RcodeSuccess, 1},
		{"firstdown.test.", mdns.TypeMX, mdns.RcodeSuccess, 2},
		{"own.example.com.", mdns.TypeMX, mdns.RcodeSuccess, 1},
		{"b.c.test.", mdns.TypeTXT, mdns.RcodeSuccess, 0},
		{"no.test.", mdns.TypeMX, mdns.RcodeNameError, 0},
		{"servfail.test.", mdns.TypeMX, mdns.RcodeServerFailure, 0},
		{"1.0.0.127.in-addr.arpa.", mdns.TypePTR, mdns.RcodeSuccess, 1},
		// A name of the real internet: not ours to deny.
		{"example.se.", mdns.TypeMX, mdns.RcodeRefused, 0},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := ask(t, n, network, tt.name, tt.qtype)
			if m.Rcode != tt.rcode || len(m.Answer) != tt.answer {
				t.Errorf("%s %s over %s: %s, %d answers; want %s, %d", mdns.TypeToString[tt.qtype], tt.name, network,
					mdns.RcodeToString[m.Rcode], len(m.Answer), mdns.RcodeToString[tt.rcode], tt.answer)
			}
			absent := m.Rcode == mdns.RcodeNameError || m.Rcode == mdns.RcodeSuccess && tt.answer == 0
			if absent && len(m.Ns) != 1 {
				t.Errorf("%s: an absence without SOA cannot be remembered", tt.name)
			}
		}
	}
}

func TestLargeAnswerIsCutOverUDP(t *testing.T) {
	var records []string
	for i := range 100 {
		records = append(records, fmt.Sprintf("many.test. MX %d mx%d.many.test.", i, i))
	}
	n := start(t, Options{Records: records})
	if m := ask(t, n, "udp", "many.test.", mdns.TypeMX); !m.Truncated {
		t.Error("it is not marked as cut")
	}
	if m := ask(t, n, "tcp", "many.test.", mdns.TypeMX); m.Truncated || len(m.Answer) != 100 {
		t.Errorf("over TCP %d answers", len(m.Answer))
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	for _, line := range []string{"nonsense", "", "a.test. MX x y"} {
		if n, err := Start(t.Context(), Options{Records: []string{line}}); err == nil {
			n.Close()
			t.Errorf("%q was accepted", line)
		}
	}
}
