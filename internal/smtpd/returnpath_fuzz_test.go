package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpserver"
	"github.com/postroad/postroad/internal/spool"
)

// heldInbox keeps entries in memory.
type heldInbox struct{ list []spool.InboxEntry }

func (h *heldInbox) PutInbox(_ context.Context, e spool.InboxEntry) (uint64, error) {
	h.list = append(h.list, e)
	return uint64(len(h.list)), nil
}
func (h *heldInbox) Counts() spool.Counts { return spool.Counts{} }
func (h *heldInbox) Space() spool.Space   { return spool.Space{} }
func (h *heldInbox) Err() error           { return nil }

// Whatever a peer names and sends, an entry begins with our trace fields, holds clean lines, and tells what was cut.
func FuzzReturnPath(f *testing.F) {
	f.Add("a@example.org", returnToken+"@bounces.example.net", "peer", "Subject: x\r\n\r\ny\r\n", uint16(1))
	f.Add("", "postmaster@bounces.example.net", "[192.0.2.1]", "\x00\nReceived: a\r\rb\n.\n", uint16(2))
	f.Add("\"a b\"@example.org", "FBL@mx.example.net", "ü)", strings.Repeat("Received: x\r\n", 101), uint16(0))
	f.Add("", returnToken+"@bounces.example.net", "", "", uint16(40_000))
	f.Fuzz(func(t *testing.T, from, to, helo, content string, repeat uint16) {
		in := &heldInbox{}
		p, err := NewReturnPath(ReturnPathOptions{
			Inbox: in, Token: func(local string) bool { _, ok := returnKey.Delivery(local); return ok }, Hostname: "mx.example.net",
			Domains: []string{"bounces.example.net", "mx.example.net"}, ReportAddresses: []string{"fbl"}, Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		sender, err := mail.ParseAddress(from)
		if err != nil {
			sender = mail.Address{}
		}
		rcpt, err := mail.ParseAddress(to)
		if err != nil {
			return
		}
		ctx := context.Background()
		info := &smtpserver.ConnInfo{Remote: netip.MustParseAddrPort("192.0.2.7:999"), Helo: helo, Extended: true}
		s, err := p.Session(ctx, info)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Mail(ctx, sender, smtpserver.MailOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Rcpt(ctx, rcpt, smtpserver.RcptOptions{}); err != nil {
			return
		}
		said := content + strings.Repeat("more and more of it, line by line until it is too much to keep\r\n", int(repeat))
		if !strings.HasSuffix(said, "\r\n") {
			said += "\r\n"
		}
		dots := smtp.DotWriter{}
		wire := dots.End(dots.Append(nil, []byte(said)))
		newlines := s.(smtpserver.NewlinesSession).Newlines()
		clean := func() *smtp.DataReader {
			return smtp.NewDataReader(bufio.NewReader(bytes.NewReader(wire)), smtp.DataOptions{Newlines: newlines})
		}
		var want bytes.Buffer
		if _, err := clean().WriteTo(&want); err != nil {
			t.Fatalf("the repaired content has a fault: %v", err)
		}
		_, err = s.Data(ctx, clean())
		var refused *smtp.ReplyError
		if errors.As(err, &refused) {
			if len(in.list) > 0 || refused.Reply.Code != 554 && refused.Reply.Code != 552 {
				t.Fatalf("refused with %v, and %d entries are stored", err, len(in.list))
			}
			return
		}
		if err != nil || len(in.list) != 1 {
			t.Fatalf("%d entries, %v", len(in.list), err)
		}
		e := in.list[0]
		if len(e.Raw) > spool.MaxReport || bytes.IndexByte(e.Raw, 0) >= 0 || bytes.Count(e.Raw, []byte("\n")) != bytes.Count(e.Raw, []byte("\r\n")) {
			t.Fatalf("the entry is not clean: %d octets, %.200q", len(e.Raw), e.Raw)
		}
		cut, _ := strconv.Atoi(e.Meta[spool.MetaTruncated])
		whole, missing := want.Bytes(), 0
		if len(whole) > maxWhole {
			_, after, ok := bytes.Cut(e.Raw, fmt.Appendf(nil, "[%d octets left out]\r\n", cut))
			if missing = len(e.Raw) - len(after); !ok || cut < len(whole)-maxWhole || !bytes.HasSuffix(whole, after) {
				t.Fatalf("%d octets in the entry, %d cut of %d", len(e.Raw), cut, len(whole))
			}
			whole = whole[:100]
		} else if cut > 0 {
			t.Fatalf("%d cut of %d octets", cut, len(whole))
		}
		at := len(e.Raw) - len(whole)
		if cut > 0 {
			at = bytes.Index(e.Raw, whole)
		}
		if at < 0 || !bytes.HasPrefix(e.Raw[at:], whole) {
			t.Fatalf("the content is not kept, %d octets cut, %d before the gap", cut, missing)
		}
		trace := e.Raw[:at]
		if !bytes.HasPrefix(trace, []byte("Return-Path: <")) || received(trace) != 1 {
			t.Fatalf("trace %.400q", trace)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(trace), "\r\n"), "\r\n") {
			if line == "" || !strings.HasPrefix(line, "Return-Path: ") && !strings.HasPrefix(line, "Received: from ") && line[0] != ' ' {
				t.Fatalf("a line of the trace is %q", line)
			}
		}
		s.Reset()
		s.Close()
	})
}
