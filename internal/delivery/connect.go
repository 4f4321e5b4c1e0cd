package delivery

import (
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtpclient"
)

// connect opens a connection that satisfies need to the first candidate that gives one. When none does it returns the
// most telling failure, and s.at is the candidate that met it.
func (s *session) connect(c *candidates, need tlsNeed) *failure {
	start := time.Now()
	defer func() { s.connecting += time.Since(start) }()
	worst := exhausted(s.lastFailure) // of a host that was given up for this one
	at := s.at
	for {
		next, f, ok := c.next(s.ctx)
		if !ok {
			break
		}
		if f == nil {
			f = s.open(next, c.timeout(), need)
		}
		if f == nil {
			return nil
		}
		// What a host said tells more than that another one did not answer.
		if worst == nil || f.reply != nil || worst.reply == nil {
			worst, at = f, next
		}
		if f.untried || !s.effect(f).NextHost || s.opened >= maxSessions {
			break
		}
	}
	s.goTo(at)
	if worst == nil {
		worst = ourFault(mail.StageConnect, mail.ScopeHost, mail.ClassNetwork, "no address is left to try")
	}
	if need.ofMessage && worst.class == mail.ClassProtocol && worst.stage == mail.StageStartTLS && worst.scope == mail.ScopeHost {
		worst.scope = mail.ScopeMessage // the lane is fine for mail that may go in clear
	}
	return worst
}

// goTo notes where the session is connected to, or could not connect to.
func (s *session) goTo(at candidate) {
	if s.at = at; !at.addr.IsValid() {
		s.ip = ""
		return
	}
	s.ip = at.addr.Addr().String()
}

// open connects to one address and makes the connection ready for mail: greeting, TLS as needed, login. A handshake
// that fails where clear text is allowed is followed by one connection in clear.
func (s *session) open(at candidate, timeout time.Duration, need tlsNeed) *failure {
	s.tlsName, s.tlsNote = "", ""
	key, now := s.hostKey(at), s.d.opts.Now()
	skipTLS := need.mode == platform.TLSNone
	if !need.must() && !skipTLS && !s.neverClear() {
		if until := s.d.brokenTLS.until(key, now); !until.IsZero() {
			skipTLS = true
			s.tlsNote = "in clear: its TLS failed before; tried again after " + until.UTC().Format(time.RFC3339)
		}
	}
	for {
		f, handshake := s.openOnce(at, timeout, need, skipTLS)
		if f == nil {
			return nil
		}
		if s.conn != nil {
			s.close()
		}
		if !handshake || need.must() || skipTLS || s.neverClear() || s.ctx.Err() != nil {
			if (f.stage == mail.StageConnect || f.stage == mail.StageGreeting) && f.scope == mail.ScopeHost && !f.untried {
				s.d.badHosts.add(key, now.Add(badHostFor), now)
			}
			return f
		}
		s.d.brokenTLS.add(key, now.Add(brokenTLSFor), now)
		skipTLS = true
		s.tlsNote = "in clear: " + f.text
	}
}

// openOnce is open without the second connection. handshake: it was the TLS handshake that failed.
func (s *session) openOnce(at candidate, timeout time.Duration, need tlsNeed, skipTLS bool) (f *failure, handshake bool) {
	name := s.d.opts.Hostname
	if s.source != nil && s.source.EHLO != "" {
		name = s.source.EHLO
	} else if s.snap.Hostname != "" {
		name = s.snap.Hostname
	}
	o := smtpclient.Options{
		Peer: at.addr, Host: at.host, Local: at.local, Name: name, Dial: s.d.opts.Dial, ConnectTimeout: timeout,
		StopGrace: s.d.opts.StopGrace, Transcript: s.d.opts.Transcripts,
	}
	config := s.tlsConfig(need, bareHost(at.host))
	if need.mode == platform.TLSImplicit {
		o.TLS = config
	}
	conn, err := smtpclient.Connect(s.ctx, o)
	if err != nil {
		return s.openFailed(err, need)
	}
	s.opened++
	s.goTo(at)
	s.conn, s.verified = conn, false
	s.d.badHosts.forget(s.hostKey(at))
	if err := conn.Hello(); err != nil {
		return s.openFailed(err, need)
	}
	if conn.TLS() == nil && !skipTLS {
		if conn.Extensions().StartTLS {
			if err := conn.StartTLS(config); err != nil {
				f, handshake := s.openFailed(err, need)
				if f.reply == nil || f.stage != mail.StageStartTLS || need.must() || s.neverClear() || !conn.Usable() {
					return f, handshake
				}
				s.tlsNote = "in clear: STARTTLS was refused: " + f.reply.String()
			}
		} else if s.tlsNote == "" {
			s.tlsNote = "in clear: the peer does not offer STARTTLS"
		}
	}
	if conn.TLS() != nil {
		s.verified = need.verify()
		if s.tlsName, s.tlsNote = tlsName(conn.TLS()); s.isRelay() {
			s.d.seenTLS.add(relaySite(s.route), s.d.opts.Now().Add(seenTLSFor), s.d.opts.Now())
		}
		if n := conn.Injected(); n > 0 {
			s.tlsNote = fmt.Sprintf("dropped %d octets that came in clear after the reply to STARTTLS", n)
		}
	} else {
		s.tlsName = ""
		if need.must() || s.neverClear() {
			return s.tlsFault(need, "the peer does not offer STARTTLS; not sent in clear"), false
		}
	}
	if err := s.satisfied(need); err != nil {
		return s.tlsFault(need, err.Error()), false
	}
	return s.login(need)
}

// seenTLSFor is how long a relay that had TLS is expected to have it: for as long as the process is likely to live.
const seenTLSFor = 365 * 24 * time.Hour

func (s *session) isRelay() bool { return s.route.Kind == mail.RouteRelay }

// neverClear reports whether the route may not fall back to clear text although its mode is opportunistic: a relay
// that is logged in to, or that had TLS before. Whoever takes TLS away from it wants to read the mail or the password.
func (s *session) neverClear() bool {
	if !s.isRelay() || s.route.TLS == platform.TLSNone {
		return false
	}
	return s.route.Username != "" || !s.d.seenTLS.until(relaySite(s.route), s.d.opts.Now()).IsZero()
}

// login authenticates where the route says so. Whatever goes wrong is the route's fault: it is never sent through
// without.
func (s *session) login(need tlsNeed) (*failure, bool) {
	r := s.route
	if !s.isRelay() || r.Username == "" && r.Auth == "" {
		return nil, false
	}
	if s.d.opts.Password == nil {
		return ourFault(mail.StageAuth, mail.ScopeRoute, mail.ClassProtocol, "the password of the route cannot be read here"), false
	}
	password, err := s.d.opts.Password(r)
	if err != nil {
		return ourFault(mail.StageAuth, mail.ScopeRoute, mail.ClassTransientSystem, "the password of the route cannot be read: "+err.Error()), false
	}
	err = s.conn.Auth(smtpclient.Credentials{
		Mechanism: r.Auth, Username: r.Username, Password: password, AllowClear: r.TLS == platform.TLSNone,
	})
	if err != nil {
		return s.openFailed(err, need)
	}
	return nil, false
}

// openFailed is failureOf for the steps before any mail. On a relay route there is no other host, and what is wrong
// with TLS or AUTH is wrong with the route.
func (s *session) openFailed(err error, need tlsNeed) (f *failure, handshake bool) {
	f = s.failureOf(err)
	var e *smtpclient.Error
	if !errors.As(err, &e) || f.untried {
		return f, false
	}
	handshake = isHandshake(e)
	switch {
	case handshake && badCertificate(err):
		f.class = mail.ClassProtocol
	case errors.Is(err, smtpclient.ErrNotOffered), errors.Is(err, smtpclient.ErrClearText):
		f.class, f.text = mail.ClassProtocol, e.Err.Error()
	}
	if handshake && need.must() {
		f.text = "TLS is required and failed: " + e.Err.Error()
		if !s.isRelay() {
			f.class = mail.ClassProtocol
		}
	}
	if s.isRelay() && (e.Stage == mail.StageStartTLS || e.Stage == mail.StageAuth) {
		f.scope = mail.ScopeRoute
	}
	return f, handshake
}

// tlsFault is that a connection does not satisfy need.
func (s *session) tlsFault(need tlsNeed, text string) *failure {
	f := ourFault(mail.StageStartTLS, mail.ScopeHost, mail.ClassProtocol, text)
	f.retryAfter = 0
	if s.isRelay() {
		f.scope = mail.ScopeRoute
	}
	return f
}
