package practice

import (
	"fmt"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

func TestLoadCountsEverything(t *testing.T) {
	n := start(t, Options{Load: &Load{DeferEvery: 4}})
	if m := ask(t, n, "udp", "any.domain.test.", mdns.TypeMX); len(m.Answer) != 1 || m.Answer[0].(*mdns.MX).Mx != "mx.load.test." {
		t.Fatalf("MX %v", m.Answer)
	}
	if m := ask(t, n, "udp", "mx.load.test.", mdns.TypeA); len(m.Answer) != 1 {
		t.Fatalf("A %v", m.Answer)
	}
	d := dial(t, n, "mx.load.test")
	d.say("EHLO c.test\r\n", "250")
	// A whole transaction at once; the fourth recipient is put off.
	d.say("MAIL FROM:<a@b>\r\nRCPT TO:<1@x.test>\r\nRCPT TO:<2@x.test>\r\nRCPT TO:<3@x.test>\r\nRCPT TO:<4@x.test>\r\nDATA\r\n",
		"250", "250", "250", "250", "451", "354")
	d.say("a: b\r\n\r\n..\r\nx.\r\n"+strings.Repeat("y", 200_000)+"\r\n.\r\n", "250")
	d.say("DATA\r\n", "503")
	d.say("NOOP\r\nXYZ\r\n", "250", "500")
	c := n.Counters()
	if c.Messages != 1 || c.Recipients != 3 || c.Deferred != 1 || c.Refused != 2 || c.Octets != 200_018 {
		t.Errorf("counters %+v", c)
	}
	if len(n.All()) != 0 {
		t.Error("the load receiver keeps records")
	}
	d.say("QUIT\r\n", "221", "")
}

func TestLoadOverTLS(t *testing.T) {
	n := start(t, Options{Load: &Load{StartTLS: true}})
	s := newSender(t, n)
	for i := range 3 {
		result, _, err := s.attempt(testContext(t), Sample{Recipient: fmt.Sprintf("a@d%d.test", i)}, "<1@x>")
		if err != nil {
			t.Fatal(result, err)
		}
	}
	if c := n.Counters(); c.TLS != 3 || c.Messages != 3 {
		t.Errorf("counters %+v", c)
	}
}

// BenchmarkLoad is how fast the accept-all receiver takes messages of 4 KiB over one connection, with the client on the
// same cores: two writes and two waits a message.
func BenchmarkLoad(b *testing.B) {
	n := start(b, Options{Load: &Load{}})
	body := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64) + ".\r\n"
	b.SetBytes(int64(len(body)))
	b.RunParallel(func(pb *testing.PB) {
		d := dial(b, n, "mx.load.test")
		d.say("EHLO c.test\r\n", "250")
		for pb.Next() {
			d.say("MAIL FROM:<a@b>\r\nRCPT TO:<1@x.test>\r\nDATA\r\n", "250", "250", "354")
			d.say(body, "250")
		}
	})
}
