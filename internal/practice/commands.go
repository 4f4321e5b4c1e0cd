package practice

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
)

// command answers one command line.
func (s *session) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	// RFC 2920 §3.1: without PIPELINING a client waits for each reply; with it, for those of EHLO and DATA.
	if s.r.Buffered() > 0 && (s.h.plain || !s.esmtp || verb == "EHLO" || verb == "HELO" || verb == "DATA") && verb != "STARTTLS" {
		s.fault("did not wait for the reply to %.20q", verb)
	}
	switch verb {
	case "EHLO", "HELO":
		s.hello(verb, arg)
	case "STARTTLS":
		if !s.esmtp || s.h.tls == tlsNone || s.tls != "" {
			s.reply(refusal(503, 5, 5, 1, "STARTTLS is not offered here"))
			return
		}
		s.startTLS()
	case "MAIL":
		s.mail(arg)
	case "RCPT":
		s.rcpt(arg)
	case "DATA":
		s.data()
	case "RSET":
		s.tx = transaction{}
		s.reply(smtp.NewReply(250, smtp.Enhanced{2, 0, 0}, "OK"))
	case "NOOP":
		s.reply(smtp.NewReply(250, smtp.Enhanced{2, 0, 0}, "OK"))
	case "VRFY":
		s.reply(smtp.NewReply(252, smtp.Enhanced{2, 1, 5}, "Send some mail and see"))
	case "QUIT":
		s.reply(smtp.NewReply(221, smtp.Enhanced{2, 0, 0}, "%s closes the connection", s.h.name))
		s.ended = true
	default:
		s.fault("sent an unknown command %.20q", verb)
		s.reply(refusal(500, 5, 5, 2, "Command not known"))
	}
}

func (s *session) hello(verb, arg string) {
	name := strings.TrimSpace(arg)
	if name == "" || strings.ContainsAny(name, " \t") {
		s.fault("%s without a proper name: %.60q", verb, arg)
		s.reply(refusal(501, 5, 5, 4, "Say who you are"))
		return
	}
	if verb == "EHLO" && s.h.plain {
		s.reply(refusal(502, 5, 5, 1, "Command not implemented"))
		return
	}
	s.helo, s.esmtp, s.tx = name, verb == "EHLO", transaction{}
	r := smtp.NewReply(250, smtp.Enhanced{}, "%s greets [%s]", s.h.name, s.peer)
	if s.esmtp {
		r.Lines = append(r.Lines, "PIPELINING", "SIZE "+strconv.FormatInt(s.h.maxSize, 10), "8BITMIME", "SMTPUTF8",
			"ENHANCEDSTATUSCODES", "DSN")
		if s.h.tls != tlsNone && s.tls == "" {
			r.Lines = append(r.Lines, "STARTTLS")
		}
	}
	s.reply(r)
}

func (s *session) mail(arg string) {
	switch {
	case s.helo == "":
		s.fault("MAIL before EHLO")
		s.reply(refusal(503, 5, 5, 1, "Say EHLO first"))
		return
	case s.h.requireTLS && s.tls == "":
		s.reply(refusal(530, 5, 7, 0, "Must issue a STARTTLS command first"))
		return
	case s.tx.open:
		s.fault("MAIL within a transaction")
		s.reply(refusal(503, 5, 5, 1, "A transaction is open already"))
		return
	}
	path, params, err := splitPath(arg, "FROM:")
	if err != nil {
		s.fault("MAIL %.100q: %v", arg, err)
		s.reply(refusal(501, 5, 5, 4, "Syntax: MAIL FROM:<address>"))
		return
	}
	tx := transaction{open: true, from: path}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		switch name = strings.ToUpper(name); {
		case !s.esmtp:
			s.refuseParameter(p)
			return
		case name == "SIZE":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				s.refuseParameter(p)
				return
			}
			if size > s.h.maxSize {
				s.reply(s.tooLarge())
				return
			}
		case name == "BODY" && (strings.EqualFold(value, "8BITMIME") || strings.EqualFold(value, "7BIT")):
			tx.body8 = strings.EqualFold(value, "8BITMIME")
		case name == "SMTPUTF8" && value == "":
			tx.utf8 = true
		case name == "ENVID" && value != "":
			tx.envID = value
		case name == "RET" && (strings.EqualFold(value, "FULL") || strings.EqualFold(value, "HDRS")):
		default:
			s.refuseParameter(p)
			return
		}
	}
	if !isASCII(path) && !tx.utf8 {
		s.fault("a sender address beyond ASCII without SMTPUTF8")
		s.reply(refusal(553, 5, 6, 7, "The address needs SMTPUTF8"))
		return
	}
	s.tx = tx
	s.reply(smtp.NewReply(250, smtp.Enhanced{2, 1, 0}, "Sender OK"))
}

func (s *session) tooLarge() smtp.Reply {
	return refusal(552, 5, 3, 4, fmt.Sprintf("The message is larger than %d octets", s.h.maxSize))
}

func (s *session) refuseParameter(p string) {
	s.fault("the parameter %.60q was not offered", p)
	s.reply(refusal(555, 5, 5, 4, "Parameter not known")) // RFC 5321 §4.1.1.11
}

func (s *session) rcpt(arg string) {
	if !s.tx.open {
		// A pipelined RCPT after a refused MAIL is no fault (RFC 2920 §3.1).
		s.reply(refusal(503, 5, 5, 1, "No sender was accepted"))
		return
	}
	path, params, err := splitPath(arg, "TO:")
	if err != nil || path == "" {
		s.fault("RCPT %.100q: %v", arg, err)
		s.reply(refusal(501, 5, 5, 4, "Syntax: RCPT TO:<address>"))
		return
	}
	for _, p := range params {
		name, _, _ := strings.Cut(p, "=")
		if name = strings.ToUpper(name); !s.esmtp || name != "NOTIFY" && name != "ORCPT" {
			s.refuseParameter(p)
			return
		}
	}
	if !isASCII(path) && !s.tx.utf8 {
		s.fault("a recipient address beyond ASCII without SMTPUTF8")
		s.reply(refusal(553, 5, 6, 7, "The address needs SMTPUTF8"))
		return
	}
	if len(s.tx.rcpts) >= smtp.MinRecipients {
		s.reply(refusal(452, 4, 5, 3, "Too many recipients"))
		return
	}
	if s.misbehaveAtRcpt(path) {
		return
	}
	s.tx.rcpts = append(s.tx.rcpts, path)
	s.reply(smtp.NewReply(250, smtp.Enhanced{2, 1, 5}, "Recipient OK"))
}

// misbehaveAtRcpt does what the recipient's local part asks for; false: accept.
func (s *session) misbehaveAtRcpt(rcpt string) bool {
	b, ok := behaviourOf(rcpt)
	if !ok || b.when != atRcpt || b.later != "" {
		return false
	}
	if b.slow {
		return !s.wait(s.n.opts.Slow)
	}
	if b.sources && !containsAddr(s.n.opts.BlockedSources, s.peer) {
		return false
	}
	if b.grey {
		// The classic triplet: client address, sender, recipient.
		now := s.n.opts.Now()
		_, first := s.n.tries.again("grey\x00"+s.peer.String()+"\x00"+s.tx.from+"\x00"+rcpt, now)
		if now.Sub(first) >= s.n.opts.GreylistDelay {
			return false
		}
	}
	if !s.met("rcpt\x00"+s.tx.from+"\x00"+rcpt, b) {
		return false
	}
	if b.reply.Code != 0 {
		s.reply(b.filled(s.peer.String()))
	} else if b.hang {
		s.hangUp()
	}
	return true
}

// met counts a try and reports whether the behaviour still shows.
func (s *session) met(key string, b behaviour) bool {
	if b.times == 0 {
		return true
	}
	count, _ := s.n.tries.again(key, s.n.opts.Now())
	return count <= b.times
}

// splitPath reads "FROM:<path> params" and returns the path without its brackets.
func splitPath(arg, keyword string) (path string, params []string, err error) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", nil, fmt.Errorf("%s is missing", keyword)
	}
	rest := arg[len(keyword):]
	if !strings.HasPrefix(rest, "<") {
		return "", nil, fmt.Errorf("the address is not right after %s in angle brackets", keyword) // RFC 5321 §3.3: no space
	}
	end := pathEnd(rest)
	if end < 0 {
		return "", nil, fmt.Errorf("the closing angle bracket is missing")
	}
	path = rest[1:end]
	if path != "" {
		if at := strings.LastIndexByte(path, '@'); at < 1 || at == len(path)-1 {
			return "", nil, fmt.Errorf("the address has no local part or no domain")
		}
	}
	if len(path) > 256 {
		return "", nil, fmt.Errorf("the path is longer than 256 octets")
	}
	rest = rest[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", nil, fmt.Errorf("something follows the closing bracket")
	}
	return path, strings.Fields(rest), nil
}

// pathEnd returns where the closing bracket is; one within quotes is part of the local part.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
