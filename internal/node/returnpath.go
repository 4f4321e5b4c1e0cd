package node

import (
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpd"
)

// returnDomain is the domain of the signed return paths.
func (n *Node) returnDomain() string {
	if d := n.cfg.ReturnPath.Domain; d != "" {
		return strings.ToLower(d)
	}
	return n.hostname
}

// ownDomains are the domains whose mail comes to the return path's listener.
func (n *Node) ownDomains() []string {
	own := []string{n.returnDomain(), n.hostname}
	for _, d := range n.cfg.ReturnPath.Domains {
		own = append(own, strings.ToLower(d))
	}
	return own
}

// token is the signed name of a delivery, or of a message.
func (n *Node) token(m *mail.Message, d *mail.Delivery) string {
	if d != nil {
		return n.returnKey.Token(d.ID)
	}
	return n.returnKey.MessageToken(m.ID)
}

// loop is where complaints are asked to be sent to.
func (n *Node) loop() loop {
	c := n.cfg.ReturnPath
	received := len(c.Listen) > 0 && slices.Contains(c.ReportAddresses, fblAddress)
	return loop{domain: n.returnDomain(), fbl: received, token: n.token}
}

// returnListener is the way in of what comes back.
func (n *Node) returnListener() (smtpd.Listener, error) {
	c := n.cfg.ReturnPath
	sessions, err := smtpd.NewReturnPath(smtpd.ReturnPathOptions{
		Inbox: n.inbox(), Token: func(local string) bool { _, ok := n.returnKey.Delivery(local); return ok },
		Domains: n.ownDomains(), Down: n.recordDown, Stored: n.Received, ReportAddresses: c.ReportAddresses, Hostname: n.hostname,
		Registerer: n.registry, Logger: n.log.With("component", "return-path"),
	})
	if err != nil {
		return smtpd.Listener{}, err
	}
	return smtpd.Listener{
		Name: "return-path", Addresses: c.Listen, Sessions: sessions.Session, Proxies: c.ProxyFrom,
		MaxRecipients: smtp.MinRecipients, // a report has one; more is not asked of anybody
		MaxSize:       int64(c.MaxSize), MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress,
	}, nil
}

// Unsettled is how much of what has come in is not yet in the record: reports that wait to be read, and events.
func (n *Node) Unsettled() int64 {
	return n.spool.Counts().Inbox + int64(n.projector.Status().Lag)
}
