package submission

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/tenant"
)

// draft is a message that has its envelope and is about to be accepted.
type draft struct {
	p          platform.Principal
	client     Client
	from       mail.Address
	env        Envelope
	recipients []recipient
	settings   settings // of a structured request; X-Postroad fields of the message come before them
	private    bool     // each recipient gets a copy of its own: the stored content has no To
	idem       *spool.IdempotencyRecord
	letter     bool // the platform writes it: see Letter
	resentOf   mail.MessageID
	force      bool // also to who is suppressed
}

// recipientsOf returns a recipient for each address, in order, once.
func recipientsOf(list []mail.Address) (out []recipient) {
	seen := make(map[mail.Address]bool, len(list))
	for _, a := range list {
		if !seen[a] {
			seen[a] = true
			out = append(out, recipient{addr: a})
		}
	}
	return out
}

// accept checks the content against the policies, stores it and commits the message.
func (s *Service) accept(ctx context.Context, d draft, in *intake) (*Receipt, error) {
	now := s.now()
	snap := s.snapshot()
	p := d.p
	if !d.letter {
		var err error
		if p, err = current(snap, d.p); err != nil {
			return nil, err
		}
	}
	id := mail.NewMessageID(now)
	host := snap.Hostname
	head, err := compose.Prepare(in.header, compose.Policy{
		Now: now, MessageID: id.String() + "@" + host, Received: s.received(d, id, host, now),
	})
	if err != nil {
		return nil, contentError(err)
	}
	authors := tenant.Authors{Envelope: d.from, From: []mail.Address{head.From}}
	if !head.Sender.IsZero() {
		authors.Sender = &head.Sender
	}
	who, err := tenant.Identify(snap, p.Account, authors)
	switch {
	case err != nil && d.letter:
		who = tenant.Identity{} // the platform may write what the account could not; it is not verified by that
	case err != nil:
		return nil, refusal(err)
	}
	set := d.settings.merge(head.Controls)
	set.tags = union(set.tags, p.Credential.Tags)
	if err := set.check(s, p.Credential.Stream, now); err != nil {
		return nil, err
	}
	undo := func() {}
	if !d.letter {
		if undo, err = s.charge(ctx, p.Account, len(d.recipients), now); err != nil {
			return nil, err
		}
	}
	receipt, err := s.commit(ctx, d, p, in, head, set, who, id, now)
	if err != nil {
		undo()
		return nil, err
	}
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "message accepted", slog.String(mail.LogEvent, "message_accepted"),
		slog.String(mail.LogTenant, p.Account.Name), slog.Any(mail.LogMsg, id), slog.Any(mail.LogClient, d.client.IP))
	return receipt, nil
}

// merge takes what the message's own control fields say, and where they say nothing what the request said.
func (c settings) merge(m compose.Controls) settings {
	if m.Stream != "" {
		c.stream = m.Stream
	}
	c.tags = union(c.tags, m.Tags)
	if len(m.Metadata) > 0 {
		all := make(map[string]string, len(c.metadata)+len(m.Metadata))
		maps.Copy(all, c.metadata)
		maps.Copy(all, m.Metadata)
		c.metadata = all
	}
	if !m.SendAt.IsZero() {
		c.sendAt = m.SendAt
	}
	if !m.ExpiresAt.IsZero() {
		c.expiresAt = m.ExpiresAt
	}
	if m.RequireTLS != nil {
		c.requireTLS = *m.RequireTLS
	}
	return c
}

// union appends to a copy of a what it lacks of b.
func union(a, b []string) []string {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a[:len(a):len(a)], x)
		}
	}
	return a
}

func (s *Service) received(d draft, id mail.MessageID, host string, now time.Time) []byte {
	t := compose.Trace{Host: host, Protocol: d.client.Protocol, ID: id.String(), TLS: d.client.TLS, At: now}
	if len(d.recipients) == 1 && !d.private {
		t.For = d.recipients[0].addr
	}
	if s.o.ClientAddress {
		t.Client, t.Helo = d.client.IP, d.client.Helo
	}
	return compose.Received(t)
}

// commit stores the content and commits the message with its deliveries and events.
func (s *Service) commit(ctx context.Context, d draft, p platform.Principal, in *intake, head compose.Prepared, set settings, who tenant.Identity, id mail.MessageID, now time.Time) (*Receipt, error) {
	c, err := s.store(ctx, id, head.Header, in)
	if err == nil && c.facts.MaxLine > maxLine {
		c, err = s.shorten(ctx, id, c)
	}
	if err != nil {
		return nil, err
	}
	m := &mail.Message{
		ID: id, Account: p.Account.Name, Credential: p.Credential.Name, Stream: set.stream, From: d.from,
		AcceptedAt: now, SendAt: set.sendAt, ExpiresAt: set.expiresAt.Truncate(time.Microsecond),
		HeaderFrom: head.From.String(), Subject: head.Subject, RFC822ID: head.MessageID, Tags: set.tags, Metadata: set.metadata,
		Size: c.size, Recipients: len(d.recipients), ResentOf: d.resentOf,
		EightBit: c.facts.EightBit || (head.EightBit && !head.UTF8), UTF8: head.UTF8,
		RequireTLS: d.env.RequireTLS || set.requireTLS, Verified: who.Verified, EnvID: d.env.EnvID, Ret: d.env.Ret,
		Content: mail.Content{Kind: mail.ContentRaw, BodyOffset: c.offset, BodyHash: c.hash, External: c.file != nil},
	}
	if d.private {
		m.Content.Kind = mail.ContentPrivate
	}
	if !d.from.IsASCII() {
		m.UTF8 = true
	}
	receipt, err := s.commitDeliveries(ctx, d, m, c)
	if err != nil {
		err = errors.Join(err, c.drop())
	}
	return receipt, err
}

// archived reports whether the content of a message is to be kept after its last delivery. The account is looked up by
// name: a letter may be written for one that is not declared.
func (s *Service) archived(m *mail.Message) bool {
	a := s.snapshot().Account(m.Account)
	return a != nil && a.Archive.Keeps(m.Stream)
}

// commitDeliveries makes the deliveries and commits. More than spool.MaxStage of them are staged first, and become
// visible with the message's own frame.
func (s *Service) commitDeliveries(ctx context.Context, d draft, m *mail.Message, c stored) (_ *Receipt, err error) {
	receipt := &Receipt{Message: m.ID, Count: len(d.recipients), Recipients: make([]RecipientResult, 0, min(len(d.recipients), MaxListed))}
	acc := &spool.Acceptance{Message: m, Body: c.body, Idempotency: d.idem, Archive: s.archived(m)}
	staged := map[mail.QueueKey]bool{} // queues with staged deliveries; a stage of suppressed recipients alone has none
	begun := false
	defer func() {
		if err != nil && begun {
			err = errors.Join(err, s.o.Spool.Unstage(context.WithoutCancel(ctx), m.ID))
		}
	}()
	for i := range d.recipients {
		if len(acc.Events) >= spool.MaxStage-1 && i < len(d.recipients)-1 {
			begun = true // a stage that fails half-way has to be taken away as well
			if err := s.o.Spool.Stage(ctx, m.ID, acc.Deliveries, acc.Events); err != nil {
				return nil, spoolError(err)
			}
			for _, x := range acc.Deliveries {
				staged[x.Queue] = true
			}
			acc.Staged += len(acc.Deliveries)
			acc.Deliveries, acc.Events = nil, nil
		}
		exempt := d.force || d.letter && IsContact(s.snapshot(), m.Account, d.recipients[i].addr)
		if err := s.addDelivery(ctx, acc, receipt, m, &d.recipients[i], exempt); err != nil {
			return nil, err
		}
	}
	if d.idem != nil {
		if d.idem.Response, err = json.Marshal(receipt); err != nil {
			return nil, &Error{Kind: Unavailable, Detail: "the response could not be written", Err: err}
		}
	}
	// Once it is in the spool's hands nobody can take it back: to stop waiting here would leave a message on disk that
	// the client was told is not accepted, and that the queue does not know of.
	if err := s.o.Spool.Commit(context.WithoutCancel(ctx), &spool.Batch{Accept: []*spool.Acceptance{acc}}); err != nil {
		return nil, spoolError(err)
	}
	var body mail.Body
	if c.body != nil {
		body = mail.BytesBody(c.body)
	}
	s.o.Added(m, acc.Deliveries, slices.Collect(maps.Keys(staged)), body)
	return receipt, nil
}

// addDelivery adds one recipient to an acceptance: as a delivery, or as a suppressed event. exempt: whatever the
// suppression list says of it.
func (s *Service) addDelivery(ctx context.Context, acc *spool.Acceptance, receipt *Receipt, m *mail.Message, r *recipient, exempt bool) error {
	now := m.AcceptedAt
	d := &mail.Delivery{
		ID: mail.NewDeliveryID(now), Message: m.ID, Queue: mail.QueueKey{Account: m.Account, Stream: m.Stream, Domain: r.addr.Domain},
		Recipient: r.addr, CreatedAt: now, ExpiresAt: m.ExpiresAt, Notify: r.Notify, ORcpt: r.ORcpt, Due: now,
	}
	if r.name != "" {
		d.Data = []byte(r.name)
	}
	if m.SendAt.After(now) {
		d.Due = m.SendAt
	}
	event := mail.Event{
		At: now, Account: m.Account, Stream: m.Stream, Message: m.ID, Delivery: d.ID, Recipient: r.addr.String(),
	}
	accepted := event
	accepted.Type, accepted.Envelope, accepted.Notify, accepted.ORcpt = mail.EventAccepted, m, r.Notify, r.ORcpt
	acc.Events = append(acc.Events, &accepted)
	result := RecipientResult{Address: event.Recipient, Delivery: d.ID, Status: StatusQueued}
	if s.o.Suppressed != nil && !exempt {
		why, is, err := s.o.Suppressed(ctx, m.Account, m.Stream, r.addr)
		if err != nil {
			return &Error{Kind: Unavailable, Detail: "the suppression list could not be read; try again later", Err: err}
		}
		if is {
			// Accepted, so that the submitter need not handle it, and said at once what becomes of it.
			suppressed := event
			suppressed.Type, suppressed.Reason, suppressed.Notify = mail.EventSuppressed, why.Reason, r.Notify
			acc.Events = append(acc.Events, &suppressed)
			result.Status, result.Reason = StatusSuppressed, why.Reason
			receipt.list(result)
			return nil
		}
	}
	acc.Deliveries = append(acc.Deliveries, d)
	receipt.list(result)
	return nil
}

// contentError turns a refusal of compose into an Error.
func contentError(err error) error {
	var e *compose.Error
	if !errors.As(err, &e) {
		return &Error{Kind: BadContent, Detail: "the message cannot be read", Err: err}
	}
	return &Error{Kind: BadContent, Field: e.Field, Detail: e.Reason, Code: e.Code}
}
