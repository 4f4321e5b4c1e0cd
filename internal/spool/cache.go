package spool

import (
	"container/list"
	"sync"

	"github.com/postroad/postroad/internal/mail"
)

// cache keeps the bodies of fresh mail, because most of it goes out at once. The oldest goes first.
type cache struct {
	budget int64

	mu    sync.Mutex
	size  int64
	order list.List // of *cached, oldest first
	m     map[mail.MessageID]*list.Element
}

type cached struct {
	id   mail.MessageID
	body []byte
}

// cachedOverhead is what an entry costs besides its body, in octets.
const cachedOverhead = 200

func (c *cache) put(id mail.MessageID, body []byte) {
	n := int64(len(body)) + cachedOverhead
	if n > c.budget {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[mail.MessageID]*list.Element)
	}
	if _, ok := c.m[id]; ok {
		return
	}
	for c.size+n > c.budget {
		c.remove(c.order.Front())
	}
	c.m[id] = c.order.PushBack(&cached{id: id, body: body})
	c.size += n
}

func (c *cache) get(id mail.MessageID) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.m[id]; ok {
		return e.Value.(*cached).body, true
	}
	return nil, false
}

func (c *cache) drop(id mail.MessageID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.m[id]; ok {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	v := e.Value.(*cached)
	c.order.Remove(e)
	delete(c.m, v.id)
	c.size -= int64(len(v.body)) + cachedOverhead
}
