package queue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// holdRecord begins the key of the record that says deliveries may be held under a name, so that a release that a
// crash cut off is taken up again.
const holdRecord = "hold:"

// hold is a standing hold made ready.
type hold struct {
	platform.Hold
	byLane bool // has a condition on the lane
	byMail bool // has a condition on the delivery
}

func readHolds(snap *platform.Snapshot) []hold {
	var hs []hold
	for _, h := range snap.Holds() {
		hs = append(hs, hold{
			Hold:   h,
			byLane: h.Route != "" || h.Source != "" || h.Site != "" || h.Receiver != "",
			byMail: h.Account != "" || h.Stream != "" || h.Domain != "" || h.Sender != "" || h.Credential != "" || h.Tag != "",
		})
	}
	return hs
}

func (h *hold) matchesLane(l mail.Lane) bool {
	return (h.Route == "" || h.Route == l.Route) && (h.Source == "" || h.Source == l.Source) &&
		(h.Site == "" || h.Site == l.Site) && (h.Receiver == "" || h.Receiver == l.Receiver)
}

func (h *hold) matchesMail(k mail.QueueKey, m *mail.Message) bool {
	return (h.Account == "" || h.Account == k.Account) && (h.Stream == "" || h.Stream == k.Stream) &&
		(h.Domain == "" || strings.EqualFold(h.Domain, k.Domain)) && (h.Sender == "" || senderIs(m, h.Sender)) &&
		(h.Credential == "" || h.Credential == m.Credential) && (h.Tag == "" || slices.Contains(m.Tags, h.Tag))
}

func (c *core) inForce(h *hold) bool { return h.Expires.IsZero() || c.now.Before(h.Expires) }

// heldBy returns the hold that keeps a delivery before its lane is known (zero lane), or on that lane. A hold on
// lanes alone keeps no delivery; it suspends lanes.
func (c *core) heldBy(e *entry, l mail.Lane) *hold {
	located := l != mail.Lane{}
	for i := range c.holds {
		h := &c.holds[i]
		if h.byMail && h.byLane == located && c.inForce(h) && h.matchesMail(e.q.id.key, e.m.m) &&
			(!located || h.matchesLane(l)) {
			return h
		}
	}
	return nil
}

// suspends returns the name of the hold that suspends a lane, or "".
func (c *core) suspends(l mail.Lane) string {
	for i := range c.holds {
		if h := &c.holds[i]; h.byLane && !h.byMail && c.inForce(h) && h.matchesLane(l) {
			return h.Name
		}
	}
	return ""
}

// hold writes that a delivery is held: its key moves to its deadline, so that it costs nothing until then.
func (c *core) hold(e *entry, h *hold) {
	c.setAside(e, h.Name, h.Reason)
}

func (c *core) setAside(e *entry, name, reason string) {
	if own := name == HeldCrashLoop || name == HeldDamaged; !own {
		if _, seen := c.heldSeen[name]; !seen {
			c.noteHeld(name)
		}
	}
	d := *e.d
	d.Held, d.Due, d.Mark = name, d.ExpiresAt, nil
	ev := c.event(e, mail.EventHeld, nil)
	ev.Reason = name
	if reason != "" {
		ev.Reason += ": " + reason
	}
	c.stats.HeldEvents++
	if name == HeldDamaged || name == HeldCrashLoop {
		c.alert(name, "delivery/"+d.ID.String(), reason)
	}
	if e.d.Mark != nil {
		c.replace(e, &d, ev)
	} else {
		c.move(e, &d, ev)
	}
}

// noteHeld keeps in the spool that deliveries may be held under a name, and by which conditions.
func (c *core) noteHeld(name string) {
	conditions := ""
	if h := c.holdNamed(name); h != nil {
		conditions = h.conditions()
	}
	c.heldSeen[name] = conditions
	c.do(&write{lane: &spool.LaneRecord{
		Key: holdRecord + name, Since: c.now, Until: c.now, Last: mail.LastAnswer{At: c.now, Reply: conditions},
	}})
}

// holdNamed returns the hold of that name if it is in force, or nil.
func (c *core) holdNamed(name string) *hold {
	for i := range c.holds {
		if h := &c.holds[i]; h.Name == name && c.inForce(h) {
			return h
		}
	}
	return nil
}

// conditions is what the hold matches, as text.
func (h *hold) conditions() string {
	return fmt.Sprintf("%q", []string{
		h.Account, string(h.Stream), h.Domain, h.Sender, h.Credential, h.Tag, h.Route, h.Source, h.Site, h.Receiver,
	})
}

// holdTimer ends holds whose time is over.
type holdTimer struct{ timer timer }

func (t *holdTimer) wake(c *core) {
	c.applyHolds(readHolds(c.snap))
	c.redispatch()
}

// applyHolds takes up a new list of holds: lanes are suspended or not, deliveries held by what has changed or is
// over are looked at again.
func (c *core) applyHolds(hs []hold) {
	c.holds = hs
	c.timers.stop(&c.holdTimer.timer)
	for i := range hs {
		if h := &hs[i]; !h.Expires.IsZero() && c.now.Before(h.Expires) &&
			(c.holdTimer.timer.pos == 0 || h.Expires.Before(c.holdTimer.timer.at)) {
			c.timers.set(&c.holdTimer.timer, h.Expires)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.heldSeen)) {
		if h := c.holdNamed(name); h == nil || h.conditions() != c.heldSeen[name] {
			c.do(releaseHold{name})
		}
	}
	for _, l := range c.sortedLanes() {
		if l.suspended = c.suspends(l.id); l.suspended != "" {
			l.dismiss(c)
		}
	}
}

// holdsReleased is the input that ends a pass over the spool for one name.
type holdsReleased struct{ name string }

func (in holdsReleased) apply(c *core) {
	if c.holdNamed(in.name) != nil {
		c.noteHeld(in.name) // in force again, or by other conditions: it may keep some
		return
	}
	delete(c.heldSeen, in.name)
	c.dropRecord(holdRecord + in.name)
}
