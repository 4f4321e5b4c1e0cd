package spool

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

// model is what the spool must hold, kept beside it by the scripts of the crash tests.
type model struct {
	ds     map[mail.DeliveryID]*mail.Delivery
	bodies map[mail.MessageID][]byte
	left   map[mail.MessageID]int
	owed   map[mail.MessageID]bool // content the archive has not got yet
	events []modelEvent            // all ever, event n at n-1
	oldest uint64
	inbox  map[uint64]string
	seq    uint64 // of the last inbox entry
	lanes  map[string]int
	idem   map[[32]byte]string
}

type modelEvent struct {
	Type     mail.EventType
	Delivery mail.DeliveryID
}

func newModel() *model {
	return &model{
		ds: map[mail.DeliveryID]*mail.Delivery{}, bodies: map[mail.MessageID][]byte{}, left: map[mail.MessageID]int{}, owed: map[mail.MessageID]bool{},
		oldest: 1, inbox: map[uint64]string{}, lanes: map[string]int{}, idem: map[[32]byte]string{},
	}
}

func (m *model) clone() *model {
	c := *m
	c.ds, c.bodies, c.left, c.owed = maps.Clone(m.ds), maps.Clone(m.bodies), maps.Clone(m.left), maps.Clone(m.owed)
	c.events = slices.Clone(m.events)
	c.inbox, c.lanes, c.idem = maps.Clone(m.inbox), maps.Clone(m.lanes), maps.Clone(m.idem)
	return &c
}

func (m *model) add(events []*mail.Event) {
	for _, e := range events {
		m.events = append(m.events, modelEvent{e.Type, e.Delivery})
	}
}

// apply makes the model follow a batch.
func (m *model) apply(b *Batch) {
	for _, a := range b.Accept {
		for _, d := range a.Deliveries {
			m.ds[d.ID] = d
			m.left[a.Message.ID]++
		}
		if len(a.Deliveries) > 0 && a.Body != nil {
			m.bodies[a.Message.ID] = a.Body
		}
		if len(a.Deliveries) > 0 && a.Archive {
			m.owed[a.Message.ID] = true
		}
		m.add(a.Events)
		if r := a.Idempotency; r != nil {
			m.idem[r.KeyHash] = string(r.Response)
		}
	}
	for i := range b.Mark {
		m.ds[b.Mark[i].Delivery.ID] = b.Mark[i].Marked()
	}
	for _, c := range b.Settle {
		m.change(c.Old, c.New)
		m.add(c.Events)
	}
	for _, c := range b.Reschedule {
		m.change(c.Old, c.New)
		m.add(c.Events)
	}
	for _, l := range b.Lanes {
		m.lanes[l.Key] = l.Fails
	}
	for _, key := range b.DropLanes {
		delete(m.lanes, key)
	}
	for _, seq := range b.InboxDone {
		delete(m.inbox, seq)
	}
	for _, id := range b.Archived {
		delete(m.owed, id)
		m.forget(id)
	}
	m.add(b.Events)
}

func (m *model) change(old, next *mail.Delivery) {
	if next != nil {
		m.ds[old.ID] = next
		return
	}
	delete(m.ds, old.ID)
	if m.left[old.Message]--; m.left[old.Message] == 0 {
		delete(m.left, old.Message)
		m.forget(old.Message)
	}
}

// forget drops content that nobody needs any more.
func (m *model) forget(id mail.MessageID) {
	if m.left[id] == 0 && !m.owed[id] {
		delete(m.bodies, id)
	}
}

// pick returns up to n deliveries that ok likes, in an order of rng's.
func (m *model) pick(rng *rand.Rand, n int, ok func(*mail.Delivery) bool) []*mail.Delivery {
	ids := slices.SortedFunc(maps.Keys(m.ds), func(a, b mail.DeliveryID) int { return bytes.Compare(a[:], b[:]) })
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	var ds []*mail.Delivery
	for _, id := range ids {
		if d := m.ds[id]; ok(d) && len(ds) < n {
			ds = append(ds, d)
		}
	}
	return ds
}

func idle(d *mail.Delivery) bool     { return d.Mark == nil && d.Held == "" }
func inFlight(d *mail.Delivery) bool { return d.Mark != nil }
func held(d *mail.Delivery) bool     { return d.Held != "" }

// script makes random changes of one spool, and knows what they come to.
type script struct {
	rng  *rand.Rand
	m    *model
	tiny bool // small bodies of a few octets
}

// step is one change: the model after it and how to make it. run may return a ticket not waited for.
type step struct {
	name string
	next *model
	run  func(context.Context, *Spool) (*Ticket, error)
}

func (sc *script) body(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('a' + sc.rng.IntN(26))
	}
	return b
}

func (sc *script) domain() string { return fmt.Sprintf("d%d.example", sc.rng.IntN(3)) }

// batch makes a step of one batch.
func (sc *script) batch(name string, b *Batch) step {
	next := sc.m.clone()
	next.apply(b)
	return step{name, next, func(_ context.Context, s *Spool) (*Ticket, error) { return s.Enqueue(b), nil }}
}

// next chooses the next step.
func (sc *script) next() step {
	rng := sc.rng
	switch n := rng.IntN(100); {
	case n < 22:
		return sc.batch("accept", &Batch{Accept: []*Acceptance{sc.small()}})
	case n < 30:
		return sc.large()
	case n < 36:
		return sc.staged()
	case n < 39:
		return sc.leftovers()
	case n < 57:
		b := &Batch{}
		for _, d := range sc.m.pick(rng, 1+rng.IntN(3), idle) {
			b.Mark = append(b.Mark, mark(d))
		}
		return sc.batch("mark", b)
	case n < 77:
		return sc.batch("settle", sc.settle())
	case n < 84:
		return sc.batch("reschedule", sc.reschedule())
	case n < 88:
		b := sc.settle()
		b.Accept = []*Acceptance{sc.small(), sc.small()}
		b.Lanes = []LaneRecord{{Key: "direct>" + sc.domain(), Since: testTime, Fails: rng.IntN(9)}}
		b.DropLanes = []string{"direct>other"}
		b.Events = []*mail.Event{{Type: mail.EventComplained, At: testTime, Account: "acme"}}
		for seq := range sc.m.inbox {
			b.InboxDone = append(b.InboxDone, seq)
		}
		return sc.batch("mixed", b)
	case n < 91:
		return sc.batch("archived", sc.archived())
	case n < 94:
		next := sc.m.clone()
		next.seq++
		next.inbox[next.seq] = fmt.Sprint("report ", next.seq)
		e := InboxEntry{Kind: "dsn", Received: testTime, Raw: []byte(next.inbox[next.seq])}
		return step{"inbox", next, func(ctx context.Context, s *Spool) (*Ticket, error) {
			_, err := s.PutInbox(ctx, e)
			return nil, err
		}}
	case n < 97:
		return sc.trim()
	default:
		return step{"maintain", sc.m.clone(), func(ctx context.Context, s *Spool) (*Ticket, error) { return nil, s.Maintain(ctx) }}
	}
}

func (sc *script) small() *Acceptance {
	max := 3000
	if sc.tiny {
		max = 30
	}
	a := newAcceptance("acme", sc.domain(), 1+sc.rng.IntN(3), sc.body(1+sc.rng.IntN(max)))
	if sc.rng.IntN(3) == 0 {
		copyHash := [32]byte(sc.body(32))
		a.Idempotency = &IdempotencyRecord{Account: "acme", KeyHash: copyHash, At: testTime, Response: []byte(a.Message.ID.String())}
	}
	a.Archive = sc.rng.IntN(3) == 0
	if sc.rng.IntN(5) == 0 {
		a.Deliveries[0].Held, a.Deliveries[0].Due = "a hold", a.Deliveries[0].ExpiresAt
	}
	return a
}

func writeContent(s *Spool, id mail.MessageID, body []byte) (*ContentWriter, error) {
	w, err := s.NewContent(id)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(body, 1000) {
		if _, err := w.Write(part); err != nil {
			return w, err
		}
	}
	return w, w.Finish()
}

// large is an acceptance with a content file.
func (sc *script) large() step {
	body := sc.body(5000 + sc.rng.IntN(20000))
	a := newAcceptance("acme", sc.domain(), 1+sc.rng.IntN(2), body)
	a.Archive = sc.rng.IntN(2) == 0
	b := &Batch{Accept: []*Acceptance{a}}
	next := sc.m.clone()
	next.apply(b)
	a.Body, a.Message.Content.External = nil, true
	return step{"large", next, func(_ context.Context, s *Spool) (*Ticket, error) {
		if _, err := writeContent(s, a.Message.ID, body); err != nil {
			return nil, err
		}
		return s.Enqueue(b), nil
	}}
}

// staged is an acceptance with deliveries written before it.
func (sc *script) staged() step {
	body := sc.body(100 + sc.rng.IntN(9000))
	all := newAcceptance("acme", sc.domain(), 3+sc.rng.IntN(6), body)
	n := 2 + sc.rng.IntN(len(all.Deliveries)-1)
	first, rest := all.Deliveries[:n], all.Deliveries[n:]
	firstEvents, restEvents := all.Events[:n], all.Events[n:]
	a := &Acceptance{Message: all.Message, Body: body, Deliveries: rest, Events: restEvents, Staged: n, Archive: sc.rng.IntN(2) == 0}

	next := sc.m.clone()
	next.apply(&Batch{Accept: []*Acceptance{{Message: all.Message, Body: body, Deliveries: all.Deliveries, Events: restEvents, Archive: a.Archive}}})
	next.add(firstEvents)
	external := len(body) > scriptInline
	if external {
		a.Body, a.Message.Content.External = nil, true
	}
	return step{"staged", next, func(ctx context.Context, s *Spool) (*Ticket, error) {
		id := all.Message.ID
		if external {
			if _, err := writeContent(s, id, body); err != nil {
				return nil, err
			}
		}
		if err := s.Stage(ctx, id, first[:1], firstEvents[:1]); err != nil {
			return nil, err
		}
		if err := s.Stage(ctx, id, first[1:], firstEvents[1:]); err != nil {
			return nil, err
		}
		return nil, s.Commit(ctx, &Batch{Accept: []*Acceptance{a}})
	}}
}

// leftovers are what callers begin and do not accept.
func (sc *script) leftovers() step {
	a := newAcceptance("acme", sc.domain(), 3, sc.body(6000))
	kind := sc.rng.IntN(3)
	return step{"leftovers", sc.m.clone(), func(ctx context.Context, s *Spool) (*Ticket, error) {
		w, err := writeContent(s, a.Message.ID, a.Body)
		if err != nil {
			return nil, err
		}
		if kind == 0 {
			return nil, w.Abort()
		}
		if err := s.Stage(ctx, a.Message.ID, a.Deliveries, a.Events); err != nil || kind == 1 {
			return nil, err
		}
		if err := s.Unstage(ctx, a.Message.ID); err != nil {
			return nil, err
		}
		return nil, w.Abort()
	}}
}

func (sc *script) settle() *Batch {
	rng := sc.rng
	b := &Batch{}
	ok := inFlight
	if rng.IntN(4) == 0 {
		ok = func(*mail.Delivery) bool { return true } // cancelled or expired without an attempt
	}
	for _, d := range sc.m.pick(rng, 1+rng.IntN(4), ok) {
		if rng.IntN(3) == 0 {
			b.Settle = append(b.Settle, deferred(d, testTime.Add(time.Duration(rng.IntN(7200))*time.Second)))
		} else {
			b.Settle = append(b.Settle, settled(d))
		}
	}
	return b
}

// archived is what an archiver commits: content it has copied, and now and then a message it owes nothing.
func (sc *script) archived() *Batch {
	b := &Batch{}
	ids := slices.SortedFunc(maps.Keys(sc.m.owed), func(a, b mail.MessageID) int { return bytes.Compare(a[:], b[:]) })
	b.Archived = ids[:min(len(ids), 1+sc.rng.IntN(3))]
	if sc.rng.IntN(4) == 0 {
		if live := slices.SortedFunc(maps.Keys(sc.m.left), func(a, b mail.MessageID) int { return bytes.Compare(a[:], b[:]) }); len(live) > 0 {
			b.Archived = append(b.Archived[:len(b.Archived):len(b.Archived)], live[0])
		}
	}
	if sc.rng.IntN(2) == 0 {
		b.Settle = sc.settle().Settle
	}
	return b
}

func (sc *script) reschedule() *Batch {
	b := &Batch{}
	for _, d := range sc.m.pick(sc.rng, 2, idle) {
		h := *d
		h.Held, h.Due = "by hand", d.ExpiresAt
		b.Reschedule = append(b.Reschedule, Reschedule{Old: d, New: &h, Events: []*mail.Event{event(mail.EventHeld, d)}})
	}
	for _, d := range sc.m.pick(sc.rng, 2, held) {
		r := *d
		r.Held, r.Due = "", testTime.Add(time.Second)
		if sc.rng.IntN(2) == 0 {
			r.Held, r.Due = "another hold", d.Due // the key stays, the record changes
		}
		b.Reschedule = append(b.Reschedule, Reschedule{Old: d, New: &r})
	}
	return b
}

func (sc *script) trim() step {
	next := sc.m.clone()
	upto := sc.m.oldest + uint64(sc.rng.IntN(10))
	if newest := uint64(len(sc.m.events)); upto > newest {
		upto = newest
	}
	if upto >= next.oldest {
		next.oldest = upto + 1
	}
	return step{"trim", next, func(ctx context.Context, s *Spool) (*Ticket, error) {
		// Only what is durable can be trimmed.
		if err := s.Maintain(ctx); err != nil {
			return nil, err
		}
		return nil, s.TrimOutbox(ctx, upto)
	}}
}

// scriptInline is Options.MaxInline of the scripts: small, so that large content need not be large.
const scriptInline = 4 << 10

// differs tells in words how the spool differs from the model, or returns "". crashed: the spool was opened anew
// after a crash with these marks open.
func (m *model) differs(ctx context.Context, s *Spool, crashed bool) (string, error) {
	got := map[mail.DeliveryID]*mail.Delivery{}
	err := s.All(ctx, func(d *mail.Delivery) error {
		if got[d.ID] != nil {
			return fmt.Errorf("delivery %s has two schedule keys", d.ID)
		}
		got[d.ID] = d
		return nil
	})
	if err != nil {
		return "", err
	}
	want := m.ds
	if crashed {
		want = maps.Clone(m.ds)
		for id, d := range want {
			if d.Mark != nil {
				c := *d
				c.Crashes++
				want[id] = &c
			}
		}
	}
	if diff := differ(want, got); diff != "" {
		return "deliveries: " + diff, nil
	}
	owed := map[mail.MessageID]bool{}
	var after mail.MessageID
	for {
		page, err := s.Owed(ctx, after, 3)
		if err != nil {
			return "", err
		}
		if len(page) == 0 {
			break
		}
		for _, id := range page {
			owed[id] = true
		}
		after = page[len(page)-1]
	}
	if diff := differ(m.owed, owed); diff != "" {
		return "content owed to the archive: " + diff, nil
	}
	events, err := s.ReadOutbox(ctx, 0, 1<<30)
	if err != nil {
		return "", err
	}
	var list []modelEvent
	for i, e := range events {
		if e.ID != (mail.EventID{Spool: s.ID(), Seq: m.oldest + uint64(i)}) {
			return fmt.Sprintf("event %d has id %v", i, e.ID), nil
		}
		list = append(list, modelEvent{e.Type, e.Delivery})
	}
	if want := m.events[m.oldest-1:]; !slices.Equal(want, list) {
		return "events: " + cmp.Diff(want, list), nil
	}
	inbox := map[uint64]string{}
	entries, err := s.ReadInbox(ctx, 0, 1<<30)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		inbox[e.Seq] = string(e.Raw)
	}
	if diff := differ(m.inbox, inbox); diff != "" {
		return "inbox: " + diff, nil
	}
	lanes := map[string]int{}
	records, err := s.Lanes(ctx)
	if err != nil {
		return "", err
	}
	for _, l := range records {
		lanes[l.Key] = l.Fails
	}
	if diff := differ(m.lanes, lanes); diff != "" {
		return "lanes: " + diff, nil
	}
	for hash, response := range m.idem {
		r, err := s.Idempotency(ctx, "acme", hash, testTime)
		if err != nil {
			return "", err
		}
		if r == nil || string(r.Response) != response {
			return "an idempotency record is missing", nil
		}
	}
	return "", nil
}

// differ is cmp.Diff, quick where there is no difference.
func differ(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}
