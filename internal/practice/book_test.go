package practice

import (
	"fmt"
	"testing"
	"time"
)

func TestBookIsBounded(t *testing.T) {
	b := newBook(10, 1000)
	for i := range 100 {
		b.take(Received{MessageID: fmt.Sprintf("<%d>", i), Size: 300, Content: make([]byte, 300)}, []string{fmt.Sprintf("r%d@x.test", i)})
	}
	all := b.all()
	if len(all) != 10 || all[0].N != 91 || all[9].N != 100 {
		t.Fatalf("%d records, from %d", len(all), all[0].N)
	}
	with := 0
	for _, r := range all {
		if r.Content != nil {
			with++
		}
	}
	if with != 3 || all[9].Content == nil {
		t.Errorf("%d records have content, want the last 3", with)
	}
	c := b.counters()
	if c.Messages != 100 || c.Recipients != 100 || c.Forgotten != 90 || c.Octets != 30_000 {
		t.Errorf("counters %+v", c)
	}
	if len(b.of("r0@x.test")) != 0 || len(b.of("R99@x.test")) != 1 || len(b.index) != 10 || len(b.seen) != 10 {
		t.Errorf("the index holds %d, seen %d", len(b.index), len(b.seen))
	}
}

func TestBookWithoutContent(t *testing.T) {
	b := newBook(10, -1)
	b.take(Received{MessageID: "<1>", Content: []byte("x")}, []string{"a@x.test", "a@x.test"})
	got := b.of("a@x.test")
	if len(got) != 2 || got[0].Content != nil || got[0].Duplicate || !got[1].Duplicate {
		t.Errorf("%+v", got)
	}
}

func TestContentLargerThanTheBoundIsNotKept(t *testing.T) {
	b := newBook(10, 5)
	b.take(Received{MessageID: "<1>", Content: []byte("12345")}, []string{"a@x.test"})
	b.take(Received{MessageID: "<2>", Content: []byte("123456")}, []string{"a@x.test"})
	if got := b.of("a@x.test"); got[0].Content == nil || got[1].Content != nil {
		t.Errorf("%+v", got)
	}
}

func TestTriesAreBounded(t *testing.T) {
	tr := newTries(3)
	now := time.Unix(0, 0)
	for i := range 5 {
		tr.again(fmt.Sprint(i), now)
	}
	if len(tr.known) != 3 || len(tr.order) != 3 {
		t.Errorf("%d and %d are remembered", len(tr.known), len(tr.order))
	}
	if n, first := tr.again("4", now.Add(time.Hour)); n != 2 || !first.Equal(now) {
		t.Errorf("count %d since %v", n, first)
	}
	if n, _ := tr.again("0", now); n != 1 {
		t.Errorf("a forgotten key counts %d", n)
	}
}
