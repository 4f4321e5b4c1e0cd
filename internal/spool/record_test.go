package spool

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postroad/postroad/internal/mail"
)

// Generators of values as the spool keeps them: UTC, microseconds, empty lists and maps nil.

func genTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.UnixMicro(rapid.Int64Range(-1<<50, 1<<52).Draw(t, "micros")).UTC()
	})
}

func genText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringOfN(rapid.Rune(), 0, 300, -1))
}

func genID() *rapid.Generator[[16]byte] {
	return rapid.Custom(func(t *rapid.T) (id [16]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		id[0] |= 1
		return id
	})
}

func genMessage() *rapid.Generator[*mail.Message] {
	return rapid.Custom(func(t *rapid.T) *mail.Message {
		text := func(what string) string { return genText().Draw(t, what) }
		flag := func(what string) bool { return rapid.Bool().Draw(t, what) }
		m := &mail.Message{
			ID: genID().Draw(t, "id"), Account: text("account"), Credential: text("credential"), Stream: mail.Stream(text("stream")),
			From:       mail.Address{Local: text("local"), Domain: text("domain")},
			AcceptedAt: genTime().Draw(t, "accepted"), SendAt: genTime().Draw(t, "send"), ExpiresAt: genTime().Draw(t, "expires"),
			HeaderFrom: text("from"), Subject: text("subject"), RFC822ID: text("rfc822"),
			Size: rapid.Int64().Draw(t, "size"), Recipients: rapid.Int().Draw(t, "recipients"),
			EightBit: flag("8bit"), UTF8: flag("utf8"), RequireTLS: flag("tls"), Verified: flag("verified"),
			EnvID: text("envid"), Ret: text("ret"), ResentOf: genID().Draw(t, "resent"),
			Content: mail.Content{Kind: mail.ContentKind(text("kind")), BodyOffset: rapid.Int64().Draw(t, "offset"), External: flag("external")},
		}
		copy(m.Content.BodyHash[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "hash"))
		if tags := rapid.SliceOfN(genText(), 0, 4).Draw(t, "tags"); len(tags) > 0 {
			m.Tags = tags
		}
		if meta := rapid.MapOfN(genText(), genText(), 0, 4).Draw(t, "meta"); len(meta) > 0 {
			m.Metadata = meta
		}
		return m
	})
}

func genDelivery() *rapid.Generator[*mail.Delivery] {
	return rapid.Custom(func(t *rapid.T) *mail.Delivery {
		text := func(what string) string { return genText().Draw(t, what) }
		d := &mail.Delivery{
			ID: genID().Draw(t, "id"), Message: genID().Draw(t, "message"),
			Queue:     mail.QueueKey{Account: text("account"), Stream: mail.Stream(text("stream")), Domain: text("queue")},
			Recipient: mail.Address{Local: text("local"), Domain: text("domain")},
			CreatedAt: genTime().Draw(t, "created"), ExpiresAt: genTime().Draw(t, "expires"),
			Notify: mail.Notify(rapid.Byte().Draw(t, "notify")), ORcpt: text("orcpt"),
			Due:      time.UnixMicro(rapid.Int64Range(-1<<50, 1<<52).Draw(t, "due")).UTC(),
			Attempts: rapid.IntRange(0, 1<<30).Draw(t, "attempts"), Held: text("held"), Crashes: rapid.Int().Draw(t, "crashes"),
			GreylistedBy: text("grey"), GreylistUntil: genTime().Draw(t, "until"), AvoidSource: text("avoid"),
			Uncertain: rapid.Bool().Draw(t, "uncertain"),
		}
		if rapid.Bool().Draw(t, "same") {
			d.Recipient.Domain = d.Queue.Domain
		}
		if data := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "data"); len(data) > 0 {
			d.Data = data
		}
		if rapid.Bool().Draw(t, "marked") {
			d.Mark = &mail.Mark{Attempt: rapid.Int().Draw(t, "n"), Route: text("route"), Source: text("source"), At: genTime().Draw(t, "at")}
		}
		if rapid.Bool().Draw(t, "answered") {
			d.Last = &mail.LastAnswer{
				At: genTime().Draw(t, "last"), Result: mail.Result(text("result")), Class: mail.Class(text("class")),
				Scope: mail.Scope(text("scope")), Stage: mail.Stage(text("stage")), Reply: text("reply"), Host: text("host"),
			}
		}
		return d
	})
}

func genEvent() *rapid.Generator[*mail.Event] {
	return rapid.Custom(func(t *rapid.T) *mail.Event {
		text := func(what string) string { return genText().Draw(t, what) }
		e := &mail.Event{
			Type: mail.EventType(text("type")), At: genTime().Draw(t, "at"), Account: text("account"), Stream: mail.Stream(text("stream")),
			Recipient: text("recipient"), Class: mail.Class(text("class")), Scope: mail.Scope(text("scope")),
			Action: mail.Action(text("action")), Rule: text("rule"), Late: rapid.Bool().Draw(t, "late"),
			Next: genTime().Draw(t, "next"), Reason: text("reason"), Notify: mail.Notify(rapid.IntRange(0, 15).Draw(t, "notify")), ORcpt: text("orcpt"),
		}
		if rapid.Bool().Draw(t, "ids") {
			e.Message, e.Delivery = genID().Draw(t, "message"), genID().Draw(t, "delivery")
		}
		if rapid.Bool().Draw(t, "attempt") {
			n := func(what string) time.Duration { return time.Duration(rapid.Int64().Draw(t, what)) }
			e.Attempt = &mail.Attempt{
				N: rapid.Int().Draw(t, "n"), At: genTime().Draw(t, "tried"), Route: text("route"),
				Kind: mail.RouteKind(text("kind")), Source: text("source"), Lane: text("lane"), Host: text("host"), IP: text("ip"),
				TLS: text("tls"), TLSNote: text("note"), Stage: mail.Stage(text("stage")), Code: rapid.IntRange(0, 999).Draw(t, "code"),
				Enhanced: text("enhanced"), Reply: text("reply"), Uncertain: rapid.Bool().Draw(t, "uncertain"),
				Waiting: n("waiting"), Connect: n("connect"), Sending: n("sending"), Transcript: text("transcript"), DSN: rapid.Bool().Draw(t, "dsn"),
			}
		}
		if rapid.Bool().Draw(t, "envelope") {
			e.Envelope = genMessage().Draw(t, "message")
		}
		if rapid.Bool().Draw(t, "report") {
			e.Report = &mail.Report{
				Door: text("door"), Kind: text("kind of report"), Evidence: mail.Evidence(text("evidence")), MTA: text("mta"), Feedback: text("feedback"),
			}
			if rapid.Bool().Draw(t, "report id") {
				e.Report.ID = genID().Draw(t, "report")
			}
		}
		return e
	})
}

func genLane() *rapid.Generator[LaneRecord] {
	return rapid.Custom(func(t *rapid.T) LaneRecord {
		text := func(what string) string { return genText().Draw(t, what) }
		return LaneRecord{
			Key: text("key"), Lane: mail.Lane{Route: text("route"), Source: text("source"), Receiver: text("receiver"), Site: text("site")},
			Scope: mail.Scope(text("scope")), Since: genTime().Draw(t, "since"), Until: genTime().Draw(t, "until"),
			Fails: rapid.Int().Draw(t, "fails"), Last: mail.LastAnswer{At: genTime().Draw(t, "at"), Reply: text("reply")},
		}
	})
}

// unknownFields appends fields of numbers no program of today writes.
func unknownFields(b []byte) []byte {
	b = putUint(b, 900, 7)
	b = putElem(b, 901, "from the future")
	b, at := openField(b, 902)
	return closeField(putString(b, 1, "nested"), at)
}

// TestRecordsRoundTrip: what is encoded is decoded the same, also when a newer program added fields.
func TestRecordsRoundTrip(t *testing.T) {
	check := func(t *rapid.T, want, got any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
	t.Run("message", rapid.MakeCheck(func(t *rapid.T) {
		m := genMessage().Draw(t, "m")
		solo := mail.DeliveryID(genID().Draw(t, "solo"))
		if rapid.Bool().Draw(t, "many") {
			solo = mail.DeliveryID{}
		}
		r, err := decodeMessageRecord(m.ID, unknownFields(appendMessageRecord(nil, solo, 77, m)))
		if err != nil {
			t.Fatal(err)
		}
		if r.solo != solo || r.checksum != 77 {
			t.Fatalf("solo %v, checksum %d", r.solo, r.checksum)
		}
		check(t, m, &r.Message, nil)
	}))
	t.Run("delivery", rapid.MakeCheck(func(t *rapid.T) {
		d := genDelivery().Draw(t, "d")
		key := appendSchedule(nil, appendQueue(nil, d.Queue), dueMicros(d.Due), d.ID)
		q, due, id, ok := cutSchedule(key)
		if !ok {
			t.Fatal("the key cannot be read")
		}
		got, err := decodeDelivery(q, due, id, unknownFields(appendDelivery(nil, 0, d)))
		check(t, d, got, err)
	}))
	t.Run("event", rapid.MakeCheck(func(t *rapid.T) {
		e := genEvent().Draw(t, "e")
		got, err := decodeEvent(mail.EventID{}, unknownFields(appendEvent(nil, e)))
		check(t, e, got, err)
	}))
	t.Run("lane", rapid.MakeCheck(func(t *rapid.T) {
		l := genLane().Draw(t, "l")
		got, err := decodeLane(l.Key, unknownFields(appendLane(nil, &l)))
		check(t, l, got, err)
	}))
	t.Run("inbox", rapid.MakeCheck(func(t *rapid.T) {
		e := InboxEntry{Seq: 5, Kind: genText().Draw(t, "kind"), Received: genTime().Draw(t, "received")}
		if meta := rapid.MapOfN(genText(), genText(), 0, 3).Draw(t, "meta"); len(meta) > 0 {
			e.Meta = meta
		}
		if raw := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "raw"); len(raw) > 0 {
			e.Raw = raw
		}
		got, err := decodeInbox(5, unknownFields(appendInbox(nil, &e)))
		check(t, e, got, err)
	}))
	t.Run("idempotency", rapid.MakeCheck(func(t *rapid.T) {
		r := &IdempotencyRecord{Account: "a", At: genTime().Draw(t, "at")}
		if raw := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "raw"); len(raw) > 0 {
			r.Response = raw
		}
		copy(r.BodyHash[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "hash"))
		got, err := decodeIdem("a", [32]byte{}, unknownFields(appendIdem(nil, r)))
		check(t, r, got, err)
	}))
	t.Run("state", rapid.MakeCheck(func(t *rapid.T) {
		n := func(what string) uint64 { return rapid.Uint64Range(1, 1<<62).Draw(t, what) }
		st := state{
			frame: n("frame"), event: n("event"), oldest: n("oldest"), inbox: n("inbox"), newest: genTime().Draw(t, "newest"),
			counts: Counts{Deliveries: int64(n("d")), Held: int64(n("h")), InFlight: int64(n("f")), Messages: int64(n("m")), Inbox: int64(n("i")), Quarantined: int64(n("q"))},
		}
		var got state
		if err := got.decode(unknownFields(st.append(nil))); err != nil || got != st {
			t.Fatalf("%+v, want %+v (%v)", got, st, err)
		}
	}))
}

// TestKeysKeepOrder: the bytes of keys sort as queues, times and ids do, and no queue's keys fall among another's.
func TestKeysKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		genQueue := rapid.Custom(func(t *rapid.T) mail.QueueKey {
			part := func(what string) string {
				return rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 0xff}), 0, 4, -1).Draw(t, what)
			}
			return mail.QueueKey{Account: part("account"), Stream: mail.Stream(part("stream")), Domain: part("domain")}
		})
		a, b := genQueue.Draw(t, "a"), genQueue.Draw(t, "b")
		pa, pb := queuePrefix(a), queuePrefix(b)
		if a != b && (bytes.HasPrefix(pa, pb) || bytes.HasPrefix(pb, pa)) {
			t.Fatalf("%q and %q share keys", a, b)
		}
		want := 0
		for _, c := range []int{cmpString(a.Account, b.Account), cmpString(string(a.Stream), string(b.Stream)), cmpString(a.Domain, b.Domain)} {
			if want == 0 {
				want = c
			}
		}
		if got := bytes.Compare(pa, pb); got != want {
			t.Fatalf("%q and %q compare as %d, want %d", a, b, got, want)
		}
		x := ScheduleKey{Due: time.UnixMicro(rapid.Int64Range(-1000, 1000).Draw(t, "x")), Delivery: genID().Draw(t, "xid")}
		y := ScheduleKey{Due: time.UnixMicro(rapid.Int64Range(-1000, 1000).Draw(t, "y")), Delivery: genID().Draw(t, "yid")}
		if got := bytes.Compare(scheduleBound(pa, x), scheduleBound(pa, y)); got != x.Compare(y) {
			t.Fatalf("%v and %v compare as %d", x, y, got)
		}
	})
}

func cmpString(a, b string) int { return bytes.Compare([]byte(a), []byte(b)) }

func TestDueIsNeverEarly(t *testing.T) {
	due := testTime.Add(1)
	if got := KeyOf(&mail.Delivery{Due: due}).Due; got.Before(due) || got.Sub(due) >= time.Microsecond {
		t.Errorf("due %v became %v", due, got)
	}
}

// FuzzRecords: no bytes make a decoder panic, and what one decodes it encodes to something it decodes the same.
func FuzzRecords(f *testing.F) {
	a := newAcceptance("acme", "example.net", 1, []byte("x"))
	d := mark(a.Deliveries[0])
	f.Add(appendMessageRecord(nil, d.Delivery.ID, 9, a.Message))
	f.Add(appendDelivery(nil, flagMarked, d.Marked()))
	f.Add(appendEvent(nil, a.Events[0]))
	f.Add(appendLane(nil, &LaneRecord{Key: "k", Since: testTime, Last: mail.LastAnswer{Reply: "421 busy"}}))
	f.Add(appendInbox(nil, &InboxEntry{Kind: "dsn", Meta: map[string]string{"a": "b"}, Raw: []byte("raw")}))
	f.Add(appendIdem(nil, &IdempotencyRecord{At: testTime, Response: []byte("{}")}))
	st := state{frame: 1, event: 2, oldest: 1, newest: testTime}
	f.Add(st.append(nil))
	loc := locator{due: 5, attempts: 3, queue: appendQueue(nil, mail.QueueKey{Account: "a"})}
	f.Add(loc.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeMessageRecord(mail.MessageID{1}, data); err == nil {
			again, err := decodeMessageRecord(mail.MessageID{1}, appendMessageRecord(nil, m.solo, m.checksum, &m.Message))
			if diff := cmp.Diff(m.Message, again.Message); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		}
		if e, err := decodeEvent(mail.EventID{}, data); err == nil {
			again, err := decodeEvent(mail.EventID{}, appendEvent(nil, e))
			if diff := cmp.Diff(e, again); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		}
		if d, err := decodeDelivery(mail.QueueKey{}, 0, mail.DeliveryID{}, data); err == nil {
			again, err := decodeDelivery(mail.QueueKey{}, 0, mail.DeliveryID{}, appendDelivery(nil, 0, d))
			if diff := cmp.Diff(d, again); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		}
		_, _ = decodeLane("", data)
		_, _ = decodeInbox(1, data)
		_, _ = decodeIdem("", [32]byte{}, data)
		_ = new(state).decode(data)
		_ = new(locator).decode(data)
	})
}

// FuzzKeys: no bytes make a key reader panic, and a key it reads is the only way to write what it read.
func FuzzKeys(f *testing.F) {
	f.Add(appendSchedule(nil, appendQueue(nil, mail.QueueKey{Account: "a\x00b", Stream: "bulk", Domain: "example.net"}), 5, mail.DeliveryID{1}))
	f.Add(seqKey(nil, tabOutbox, 7))
	f.Fuzz(func(t *testing.T, key []byte) {
		if q, due, id, ok := cutSchedule(key); ok {
			if again := appendSchedule(nil, appendQueue(nil, q), due, id); !bytes.Equal(again, key) {
				t.Fatalf("%x was read as %q %d %v, which is %x", key, q, due, id, again)
			}
		}
		_, _, _ = cutPending(key)
		if n, ok := counterValue(key); ok && !bytes.Equal(appendCounter(nil, n), binary.AppendVarint(nil, n)) {
			t.Fatal(n)
		}
	})
}
