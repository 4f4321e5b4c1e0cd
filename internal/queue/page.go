package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// queueID names a scheduled queue of one spool.
type queueID struct {
	spool int // index in Options.Spools
	key   mail.QueueKey
}

func (a queueID) compare(b queueID) int {
	return cmp.Or(cmp.Compare(a.spool, b.spool), cmp.Compare(a.key.Account, b.key.Account),
		cmp.Compare(a.key.Stream, b.key.Stream), cmp.Compare(a.key.Domain, b.key.Domain))
}

// queue is a scheduled queue: the deliveries of one account and stream to one domain. Those not in memory are known
// by one key alone, the cursor.
type queue struct {
	id     queueID
	acct   *account
	timer  timer
	loaded int // entries in memory

	// cursor is the lowest key that can be live in the spool and is not in memory; known is false if there is none.
	cursor spool.ScheduleKey
	known  bool
	// overflow: fresh mail had to be left in the spool; later mail queues up behind it.
	overflow bool

	waits   link[*queue] // in account.pages while it waits for its page
	paging  bool
	lowest  spool.ScheduleKey // lowest key written while a page was being read
	lowered bool
	gone    map[mail.DeliveryID]struct{} // left memory while a page was being read: what it shows of them is old

	// blocked: what it would load could only wait. While blocked it is read for expired mail alone.
	blocked   bool
	why       string
	gate      *gate             // what blocks it, if that is a gate
	scan      spool.ScheduleKey // where the scan under way goes on
	scanning  bool
	nextScan  time.Time
	minExpiry time.Time // earliest deadline seen among those put back; zero: none
}

// account is what all queues of an account share in memory.
type account struct {
	name     string
	loaded   int
	sessions int          // opened for its mail
	pages    ring[*queue] // its queues that want a page
	waits    link[*account]
	starved  bool
	evicted  time.Time // when evict last went through its mail

	paused bool
	weight int
}

func (c *core) account(name string) *account {
	a := c.accounts[name]
	if a == nil {
		a = &account{name: name}
		a.waits.item = a
		c.readAccount(a)
		c.accounts[name] = a
	}
	return a
}

func (c *core) queue(id queueID) *queue {
	q := c.queues[id]
	if q == nil {
		q = &queue{id: id, acct: c.account(id.key.Account)}
		q.timer.wake, q.waits.item = q, q
		c.queues[id] = q
		if q.acct.paused {
			c.block(q, nil, "account "+q.acct.name+" is paused")
		}
	}
	return q
}

// lower makes sure that a key which is in the spool and not in memory will be read.
func (c *core) lower(q *queue, k spool.ScheduleKey) {
	if q.paging && (!q.lowered || k.Compare(q.lowest) < 0) {
		q.lowest, q.lowered = k, true
	}
	if !q.known || k.Compare(q.cursor) < 0 {
		q.cursor, q.known = k, true
	}
	c.arm(q)
}

// arm sets the queue's timer to when there is something to read. A queue that has nothing at all is forgotten at the
// end of the step.
func (c *core) arm(q *queue) {
	switch {
	case q.paging || q.waits.in != nil:
		c.timers.stop(&q.timer)
	case !q.known:
		c.timers.stop(&q.timer)
		if q.loaded == 0 {
			c.idle = append(c.idle, q)
		}
	case !q.blocked:
		c.timers.set(&q.timer, q.cursor.Due)
	default:
		c.timers.set(&q.timer, later(q.cursor.Due, q.nextScan))
	}
}

func (c *core) forgetIdle() {
	for _, q := range c.idle {
		if !q.known && q.loaded == 0 && !q.paging && q.waits.in == nil && c.queues[q.id] == q {
			c.timers.stop(&q.timer)
			delete(c.queues, q.id)
			delete(c.full, q)
		}
	}
	c.idle = c.idle[:0]
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wake implements waker: something of the queue is due.
func (q *queue) wake(c *core) {
	if q.blocked && !q.scanning {
		q.scanning, q.scan, q.minExpiry = true, q.cursor, time.Time{}
	}
	c.wantPage(q)
}

func (c *core) wantPage(q *queue) {
	if q.paging || q.waits.in != nil || c.stopping {
		return
	}
	c.timers.stop(&q.timer)
	a := q.acct
	a.pages.push(&q.waits)
	if a.waits.in == nil && !a.starved {
		c.pageRing.push(&a.waits)
	}
}

// pump hands out page reads: account after account, as long as there is room in memory.
func (c *core) pump() {
	if len(c.pageStarved) > 0 && (c.freed >= c.opt.Page || len(c.entries) == 0) {
		c.unstarve()
	}
	for c.pages < c.opt.Pagers*len(c.opt.Spools) && c.pageRing.n > 0 && !c.stopping && !c.starting {
		a := c.pageRing.head.item
		q := a.pages.head.item
		if !q.blocked && c.room(a) <= 0 {
			c.makeRoom(a)
		}
		if !q.blocked && c.room(a) <= 0 {
			a.waits.remove()
			a.starved = true
			c.pageStarved = append(c.pageStarved, a)
			c.freed = 0
			continue
		}
		q.waits.remove()
		if a.pages.n == 0 {
			a.waits.remove()
		} else {
			c.pageRing.turn()
		}
		c.page(q)
	}
}

// window is how many entries a queue may have in memory: w, but little once its account has used half its room, so
// that no queue of it keeps out another.
func (c *core) window(q *queue, w int) int {
	if c.short(q.acct) {
		w = c.opt.Page
	}
	return max(w, c.opt.Page)
}

// short reports whether an account has used half its room in memory.
func (c *core) short(a *account) bool { return 2*a.loaded > c.opt.MaxLoaded-len(c.entries) }

// crowds reports whether a queue's entries in memory keep it from reading on.
func (c *core) crowds(q *queue) bool {
	return q.loaded+c.opt.Page > max(c.opt.PageWindow/2, c.opt.Page)
}

// unstarve lets accounts that found no room look again.
func (c *core) unstarve() {
	for _, a := range c.pageStarved {
		a.starved = false
		if a.pages.n > 0 {
			c.pageRing.push(&a.waits)
		}
	}
	c.pageStarved = c.pageStarved[:0]
}

// room is how many deliveries more the account may load: it may hold at most as much memory as it leaves to the
// others, so that a newcomer finds some.
func (c *core) room(a *account) int { return c.opt.MaxLoaded - len(c.entries) - a.loaded }

// makeRoom lets what cannot go out give way: the account's own mail first, then that of all.
func (c *core) makeRoom(a *account) {
	c.evict(a)
	if c.room(a) > 0 || c.now.Sub(c.evicted) < evictEvery {
		return
	}
	c.evicted = c.now
	for _, name := range slices.Sorted(maps.Keys(c.accounts)) {
		c.evict(c.accounts[name])
	}
	for _, e := range c.parked.all() {
		why := e.why
		c.take(e)
		c.block(e.q, nil, why)
		c.putBack(e)
	}
}

func (c *core) page(q *queue) {
	if !q.known {
		c.arm(q)
		return
	}
	if !q.blocked && q.loaded+c.opt.Page > c.window(q, c.opt.PageWindow) {
		c.full[q] = true
		return // reload asks again
	}
	from := q.cursor
	if q.blocked && q.scanning {
		from = q.scan
	}
	q.paging, q.lowered = true, false
	q.gone = map[mail.DeliveryID]struct{}{}
	c.pages++
	n := c.opt.Page
	if !q.blocked {
		n = min(n, max(c.room(q.acct), 1))
	}
	c.do(&readPage{q: q, from: from, until: c.now, max: n, scan: q.blocked})
}

// reload lets a queue go on reading whose window was full.
func (c *core) reload(q *queue) {
	switch {
	case !q.known && q.loaded == 0:
		c.arm(q)
	case len(c.full) == 0 || !c.full[q]:
	case !q.known || q.blocked || q.loaded+c.opt.Page <= c.window(q, c.opt.PageWindow/2):
		delete(c.full, q)
		c.arm(q)
	}
}

// pageRead is the input that answers readPage. messages[i] is the message of ds[i]; nil: it cannot be read.
type pageRead struct {
	*readPage
	ds       []*mail.Delivery
	messages []*mail.Message
	// next is the first key behind the page, more whether there is one at all.
	next spool.ScheduleKey
	more bool
	// full: the page ended because it was full, not because nothing else was due.
	full bool
	err  error
}

func (in *pageRead) apply(c *core) {
	q := in.q
	c.pages--
	gone := q.gone
	q.paging, q.gone = false, nil
	if in.err != nil {
		c.do(complain{text: "cannot read a page of queue " + q.id.key.String(), err: in.err})
		c.timers.set(&q.timer, c.now.Add(pageRetry))
		return
	}
	if in.scan {
		c.scanned(q, in, gone)
		return
	}
	q.cursor, q.known = in.next, in.more
	if q.lowered && (!q.known || q.lowest.Compare(q.cursor) < 0) {
		q.cursor, q.known = q.lowest, true
	}
	if !in.full {
		q.overflow = false
	}
	for i, d := range in.ds {
		if _, ok := gone[d.ID]; ok || c.entries[d.ID] != nil {
			continue
		}
		e := c.enter(q, d, in.messages[i], nil)
		c.stats.Paged++
		c.dispatch(e)
	}
	c.arm(q)
}

// scanned goes through a page of a blocked queue: what is over ends, the rest stays in the spool.
func (c *core) scanned(q *queue, in *pageRead, gone map[mail.DeliveryID]struct{}) {
	atCursor := in.from.Compare(q.cursor) == 0
	first := true
	for i, d := range in.ds {
		if _, ok := gone[d.ID]; ok || c.entries[d.ID] != nil {
			continue
		}
		if c.overdue(d) {
			c.expire(c.enter(q, d, in.messages[i], nil))
			continue
		}
		c.noteDeadline(q, d.ExpiresAt)
		if first && atCursor {
			q.cursor = spool.KeyOf(d) // what lay below is over
		}
		first = false
	}
	if first && atCursor {
		q.cursor, q.known = in.next, in.more
	}
	if q.lowered && (!q.known || q.lowest.Compare(q.cursor) < 0) {
		q.cursor, q.known = q.lowest, true
	}
	if in.full && q.blocked && q.scanning {
		q.scan = in.next
		c.wantPage(q)
		return
	}
	q.scanning = false
	next := q.minExpiry
	if in.more && (next.IsZero() || in.next.Due.Before(next)) {
		next = in.next.Due
	}
	q.nextScan = later(c.now.Add(scanEvery), next)
	c.arm(q)
}

// block stops the loading of a queue: by a gate that rests, or (gate nil) until the platform's state changes.
func (c *core) block(q *queue, g *gate, why string) {
	if q.blocked {
		return
	}
	q.blocked, q.gate, q.why = true, g, why
	q.scanning = false
	q.nextScan = c.now.Add(scanEvery)
	if g != nil {
		g.blocked = append(g.blocked, q)
	} else {
		c.parkedQueues = append(c.parkedQueues, q)
	}
	c.arm(q)
}

func (c *core) unblock(q *queue) {
	if !q.blocked {
		return
	}
	q.blocked, q.gate, q.why, q.scanning, q.minExpiry = false, nil, "", false, time.Time{}
	c.arm(q)
}

// add is the input for mail that was accepted just now.
type add struct {
	spool int
	m     *mail.Message
	ds    []*mail.Delivery
	body  mail.Body
}

func (in *add) apply(c *core) {
	var q *queue
	for _, d := range in.ds {
		if q == nil || q.id.key != d.Queue {
			q = c.queue(queueID{in.spool, d.Queue})
		}
		c.stats.Added++
		if c.entries[d.ID] != nil {
			continue
		}
		switch {
		case d.Due.After(c.now), d.Held != "", q.blocked, q.overflow, c.starting, c.stopping:
			c.leaveInSpool(q, d)
		case q.loaded >= c.window(q, c.opt.FreshWindow) || c.room(q.acct) <= 0:
			q.overflow = true
			c.leaveInSpool(q, d)
		default:
			c.dispatch(c.enter(q, d, in.m, in.body))
		}
	}
}

func (c *core) leaveInSpool(q *queue, d *mail.Delivery) {
	c.noteDeadline(q, d.ExpiresAt)
	c.lower(q, spool.KeyOf(d))
}

// noteDeadline makes sure that a blocked queue is read soon after the deadline of a delivery that it has in the spool.
func (c *core) noteDeadline(q *queue, t time.Time) {
	if q.minExpiry.IsZero() || t.Before(q.minExpiry) {
		q.minExpiry = t
	}
	if at := later(t, c.now.Add(scanEvery)); q.blocked && at.Before(q.nextScan) {
		q.nextScan = at
	}
}

// wakeQueue is the input for deliveries that are in the spool and that add was not told of.
type wakeQueue struct {
	id  queueID
	due time.Time
}

func (in wakeQueue) apply(c *core) {
	q := c.queue(in.id)
	c.noteDeadline(q, c.now) // nothing is known of their deadlines
	c.lower(q, spool.ScheduleKey{Due: in.due})
}
