package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtpclient"
)

// tlsNeed is how much TLS a job needs: the most that its route, its message and its domain ask for.
type tlsNeed struct {
	mode platform.TLSMode
	// ofMessage: only the message asks; another one may go over the same connection in clear.
	ofMessage bool
	policy    mx.TLSPolicy // of the domain; zero on a relay route
}

func needOf(r *platform.Route, m *mail.Message, policy mx.TLSPolicy) tlsNeed {
	n := tlsNeed{mode: r.TLS}
	if n.mode == "" {
		n.mode = platform.TLSOpportunistic
		if r.Kind == mail.RouteRelay {
			n.mode = platform.TLSVerify
		}
	}
	if policy.Mode == mx.PolicyEnforce {
		n.policy = policy
		switch {
		case n.mode == platform.TLSImplicit:
		case policy.Kind == "mta-sts":
			n.mode = platform.TLSVerify // RFC 8461 §4.1
		case !n.must():
			n.mode = platform.TLSRequired // what the certificate must be, Options.CheckTLS knows
		}
	}
	if m.RequireTLS && !n.must() {
		n.mode, n.ofMessage = platform.TLSRequired, true
	}
	return n
}

// must reports whether mail may not go in clear.
func (n tlsNeed) must() bool {
	return n.mode == platform.TLSRequired || n.mode == platform.TLSVerify || n.mode == platform.TLSImplicit
}

// verify reports whether the certificate must be valid for the host's name.
func (n tlsNeed) verify() bool { return n.mode == platform.TLSVerify || n.mode == platform.TLSImplicit }

// satisfied reports why the open connection does not satisfy the need, or nil.
func (s *session) satisfied(n tlsNeed) error {
	state := s.conn.TLS()
	if state == nil {
		if n.must() {
			return fmt.Errorf("the connection is in clear")
		}
		return nil
	}
	if n.mode == platform.TLSNone {
		return fmt.Errorf("the connection has TLS")
	}
	if n.verify() && !s.verified {
		return fmt.Errorf("the certificate was not checked")
	}
	if n.policy.Mode == mx.PolicyEnforce && n.policy.Kind != "mta-sts" {
		if s.d.opts.CheckTLS == nil {
			return fmt.Errorf("a TLS policy of kind %q cannot be checked here", n.policy.Kind)
		}
		return s.d.opts.CheckTLS(n.policy, s.at.host, *state)
	}
	return nil
}

// tlsConfig returns the settings for a connection to host.
func (s *session) tlsConfig(n tlsNeed, host string) *tls.Config {
	if n.verify() {
		return &tls.Config{
			ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: s.d.opts.Roots,
			ClientSessionCache: s.d.sessions[platform.TLSVerify], Time: s.tlsTime(),
		}
	}
	// Nobody's certificate is checked and what is weak is allowed: it is better than clear text, and for mail that
	// must not be read on the way there are required and verify (RFC 7435).
	return &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS10, CipherSuites: allSuites, InsecureSkipVerify: true,
		ClientSessionCache: s.d.sessions[platform.TLSOpportunistic],
	}
}

// tlsTime is the clock certificates are checked by.
func (s *session) tlsTime() func() time.Time { return s.d.opts.Now }

// allSuites are the cipher suites of TLS 1.2 and below, the good ones first.
var allSuites = func() (ids []uint16) {
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, c := range list {
			ids = append(ids, c.ID)
		}
	}
	return ids
}()

// tlsName returns the version negotiated as attempts show it, and what was weak about it.
func tlsName(state *tls.ConnectionState) (name, note string) {
	if state == nil {
		return "", ""
	}
	switch state.Version {
	case tls.VersionTLS13:
		return "TLS1.3", ""
	case tls.VersionTLS12:
		name = "TLS1.2"
	case tls.VersionTLS11:
		name, note = "TLS1.1", "weak: an old version of TLS"
	default:
		name, note = "TLS1.0", "weak: an old version of TLS"
	}
	for _, c := range tls.InsecureCipherSuites() {
		if c.ID == state.CipherSuite {
			note = "weak: " + c.Name
		}
	}
	return name, note
}

// badCertificate reports whether a handshake failed because the certificate is not good enough.
func badCertificate(err error) bool {
	return errorsAs[*tls.CertificateVerificationError](err) || errorsAs[x509.HostnameError](err) || errorsAs[x509.UnknownAuthorityError](err)
}

// isHandshake reports whether err is a TLS handshake that went wrong, not a refusal in words.
func isHandshake(e *smtpclient.Error) bool { return e.Stage == mail.StageStartTLS && e.Reply == nil }
