package practice

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	mdns "github.com/miekg/dns"
)

// nameServer answers over UDP and TCP at one address.
type nameServer struct {
	addr     netip.AddrPort
	udp, tcp *mdns.Server
	wg       sync.WaitGroup
}

// startNameServer returns when the server answers.
func startNameServer(z *zone) (*nameServer, error) {
	pc, l, err := listenDNS()
	if err != nil {
		return nil, fmt.Errorf("open the name server: %w", err)
	}
	s := &nameServer{addr: pc.LocalAddr().(*net.UDPAddr).AddrPort()}
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		_, overUDP := w.RemoteAddr().(*net.UDPAddr)
		// A reply that cannot be written is the client's to ask for again.
		_ = w.WriteMsg(respond(z, q, overUDP))
	})
	var started sync.WaitGroup
	started.Add(2)
	s.udp = &mdns.Server{PacketConn: pc, Handler: handler, NotifyStartedFunc: started.Done}
	s.tcp = &mdns.Server{Listener: l, Handler: handler, NotifyStartedFunc: started.Done}
	for _, server := range []*mdns.Server{s.udp, s.tcp} {
		s.wg.Go(func() { _ = server.ActivateAndServe() }) // it ends by Shutdown
	}
	started.Wait()
	return s, nil
}

// listenDNS opens one free port for both protocols.
func listenDNS() (pc *net.UDPConn, l *net.TCPListener, err error) {
	for range 20 { // the port free for UDP may be taken for TCP
		pc, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, nil, err
		}
		port := pc.LocalAddr().(*net.UDPAddr).Port
		l, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			return pc, l, nil
		}
		pc.Close()
	}
	return nil, nil, err
}

func (s *nameServer) close() {
	_ = s.udp.Shutdown()
	_ = s.tcp.Shutdown()
	s.wg.Wait()
}

// respond makes the response to a query.
func respond(z *zone, q *mdns.Msg, overUDP bool) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.Compress = true
	if q.Opcode != mdns.OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != mdns.ClassINET {
		m.Rcode = mdns.RcodeNotImplemented
		return m
	}
	z.answer(m, q.Question[0])
	size := mdns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(uint16(size), false)
	}
	if overUDP {
		m.Truncate(size)
	}
	return m
}
