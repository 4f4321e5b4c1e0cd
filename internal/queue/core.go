package queue

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// Numbers of the core that nobody needs to set.
const (
	// bulkTurn: where both streams wait, every bulkTurn-th pick is bulk. Transactional mail comes first, but bulk
	// never starves.
	bulkTurn = 5
	// restWindow is how many deliveries stay in memory in front of something that rests; the others go back to
	// the spool until it works again.
	restWindow = 64
	// yieldAfter is how many jobs a session does before it makes room for a lane that has no session at all.
	yieldAfter = 20
	// patience is how long the mail of a lane waits on busy sessions before one more is opened, within the limits.
	patience = 3 * time.Second
	// ceilingFor is how long fewer connections are opened after a peer that serves us refused one more.
	ceilingFor = 5 * time.Minute
	// untriedDelay is when a delivery is due again whose attempt ended before it began, for no fault of its lane.
	untriedDelay = 15 * time.Second
	// pageRetry is when a page that could not be read is tried again.
	pageRetry = 5 * time.Second
	// evictEvery is how often, at most, an account that finds no room in memory gives up what cannot go out anyway.
	evictEvery = time.Second
	// sweepEvery is how often everything in memory is looked over for deadlines.
	sweepEvery = 15 * time.Second
	// scanEvery is how often a queue that may not be worked on is read for expired mail.
	scanEvery = 5 * time.Minute
	// attemptLimit is when a dialogue that has not ended is cut off (storage contract: within 15 minutes).
	attemptLimit = 15 * time.Minute
	// gateKept is how long the count of failures outlives a rest that nothing has probed.
	gateKept = time.Hour
	// crashLimit: a delivery whose attempt was cut off by that many crashes in a row is set aside.
	crashLimit = 3
)

// The kinds of alert of mail that has no way out for want of a route or a source.
const (
	alertNoRoute  = "no-route"
	alertNoSource = "no-source"
)

// Names of holds that the queue itself sets.
const (
	HeldCrashLoop = "crash-loop" // the process died in its attempts; released by RetryNow
	HeldDamaged   = "damaged"    // its content or message record cannot be read; released by RetryNow
)

// core is the deterministic state machine. Everything it knows of the outside comes in as an input, everything it
// wants done goes out as an action, in order.
type core struct {
	opt *Options
	// restWindow is restWindow but in tests.
	restWindow int

	now  time.Time
	snap *platform.Snapshot
	rng  *rand.Rand
	out  []action

	timers timers
	sweep  timer

	entries  map[mail.DeliveryID]*entry // all that is in memory
	messages map[mail.MessageID]*message
	bodies   int64 // octets of bodies held
	queues   map[queueID]*queue
	accounts map[string]*account
	sources  map[routeAccount]sources // answers of egress.Sources under this snapshot
	places   map[placeKey]*place
	rotate   map[rotationKey]*rotation
	lanes    map[mail.Lane]*lane
	groups   map[groupKey]*group
	gates    map[gateKey]*gate

	holds     []hold
	holdTimer holdTimer
	heldSeen  map[string]string // holds that may have deliveries held in the spool, with their conditions

	parked       ring[*entry] // waiting for a change of the platform's state
	parkedQueues []*queue     // the same, not in memory

	full        map[*queue]bool // stopped reading because their window was full
	idle        []*queue        // perhaps to be forgotten at the end of the step
	pageRing    ring[*account]  // accounts with queues that want a page
	pageStarved []*account      // the same, waiting for room in memory
	evicted     time.Time       // when makeRoom last went through the mail of all
	freed       int             // entries that left memory since pageStarved was looked at
	pages       int             // being read
	writing     int             // changes under way
	locating    int
	locateQueue []*place
	askers      int          // questions to the suppression list under way
	asked       uint64       // questions ever
	asking      ring[*entry] // entries whose question is under way
	askQueue    ring[*entry] // those that have to wait with it

	sessions    map[uint64]*session
	lastSession uint64
	starved     ring[*group] // groups that want a session beyond the total

	alerts   map[string]bool // raised and not cleared
	met      map[string]bool // raised, again or not, during a redispatch
	starting bool            // the spools have not been read yet: nothing goes out
	stopping bool
	// doubtClock: the wall clock jumped ahead; nothing expires until it is trusted again.
	doubtClock bool
	seq        uint64
	stats      Stats
}

func newCore(opt *Options, snap *platform.Snapshot, seed uint64) *core {
	c := &core{
		opt: opt, restWindow: restWindow, rng: rand.New(rand.NewPCG(seed, 0)),
		entries: map[mail.DeliveryID]*entry{}, messages: map[mail.MessageID]*message{},
		queues: map[queueID]*queue{}, accounts: map[string]*account{}, sources: map[routeAccount]sources{},
		places: map[placeKey]*place{}, rotate: map[rotationKey]*rotation{},
		lanes: map[mail.Lane]*lane{}, groups: map[groupKey]*group{}, gates: map[gateKey]*gate{},
		heldSeen: map[string]string{}, full: map[*queue]bool{}, sessions: map[uint64]*session{}, alerts: map[string]bool{},
	}
	c.starting = true
	c.sweep.wake = sweeper{}
	c.holdTimer.timer.wake = &c.holdTimer
	c.setSnapshot(snap)
	return c
}

// input is something that happened.
type input interface{ apply(c *core) }

// action is something the shell is to do.
type action interface{ action() }

// step takes in what happened at now (in may be nil: only time has passed) and returns what to do, in order.
func (c *core) step(now time.Time, in input) []action {
	if now.After(c.now) { // a clock that went back stands still for us
		c.now = now
	}
	c.out = nil
	if in != nil {
		in.apply(c)
	}
	for !c.starting {
		t := c.timers.due(c.now)
		if t == nil {
			break
		}
		t.wake.wake(c)
	}
	c.pump()
	c.forgetIdle()
	if c.sweep.pos == 0 && len(c.entries)+len(c.sessions)+len(c.gates) > 0 {
		c.timers.set(&c.sweep, c.now.Add(max(time.Second, time.Duration(float64(sweepEvery)*c.opt.Pace))))
	}
	return c.out
}

func (c *core) do(a action) { c.out = append(c.out, a) }

// write hands a change of an entry's record to the committer.
func (c *core) write(e *entry, w *write) {
	w.sp, w.entry = e.q.id.spool, e
	c.writing++
	c.do(w)
}

// dropRecord removes a lane record from every spool: it is written to the first alone, but one that was adopted brings its own, and
// would tell of it again at each start.
func (c *core) dropRecord(key string) {
	for i := range c.opt.Spools {
		c.do(&write{sp: i, dropLane: key})
	}
}

// The actions.
type (
	// give answers a session's request: a job, or nil for "no more".
	give struct {
		sess  *session
		grant *grant
	}
	// openSession starts a session.
	openSession struct{ sess *session }
	// cutSession cancels a session whose dialogue does not end.
	cutSession struct{ sess *session }
	// readPage reads a page of a queue; pageRead answers it.
	readPage struct {
		q     *queue
		from  spool.ScheduleKey
		until time.Time
		max   int
		scan  bool // for expired mail only: the queue is blocked
	}
	// locate asks where a domain's mail goes; located answers it.
	locate struct{ place *place }
	// write commits one change; wrote answers it if it has an entry.
	write struct {
		sp         int
		settle     *spool.Settlement
		reschedule *spool.Reschedule
		lane       *spool.LaneRecord
		dropLane   string
		entry      *entry
		flush      chan struct{} // closed when everything before is on disk; made by the shell
	}
	// fetch reads a delivery's record; fetched answers it.
	fetch struct {
		sp int
		e  *entry
	}
	// releaseHold goes through the spool for deliveries held under a name: operate each, then holdsReleased.
	releaseHold struct{ name string }
	// operated tells that an operation on one delivery is over.
	operated struct{ op *operate }
	// tell raises or clears an alert.
	tell struct{ alert platform.Alert }
	// complain logs an error of our own making.
	complain struct {
		text string
		id   mail.DeliveryID
		err  error
	}
)

func (give) action()        {}
func (openSession) action() {}
func (cutSession) action()  {}
func (*readPage) action()   {}
func (locate) action()      {}
func (*write) action()      {}
func (fetch) action()       {}
func (releaseHold) action() {}
func (operated) action()    {}
func (tell) action()        {}
func (complain) action()    {}

// alert raises an alert unless it stands already.
func (c *core) alert(kind, scope, text string) {
	key := kind + " " + scope
	if c.met != nil {
		c.met[key] = true
	}
	if !c.alerts[key] {
		c.alerts[key] = true
		c.do(tell{platform.Alert{Kind: kind, Scope: scope, Message: text, Since: c.now, Last: c.now, Count: 1}})
	}
}

func (c *core) clearAlert(kind, scope string) {
	key := kind + " " + scope
	if c.alerts[key] {
		delete(c.alerts, key)
		c.do(tell{platform.Alert{Kind: kind, Scope: scope, Last: c.now, Cleared: c.now}})
	}
}

// stop is the input that ends the handing out of jobs.
type stop struct{}

func (stop) apply(c *core) {
	c.stopping = true
	for _, l := range c.sortedLanes() {
		l.dismiss(c)
	}
}

// doubt tells that the wall clock can, or cannot, be trusted for expiry.
type doubt struct {
	doubted bool
	text    string
}

func (in doubt) apply(c *core) {
	if c.doubtClock = in.doubted; in.doubted {
		c.alert("clock-jump", "node", in.text)
	} else {
		c.clearAlert("clock-jump", "node")
	}
}

// sweeper looks over all that is in memory: whatever it waits for, its deadline holds.
type sweeper struct{}

func (sweeper) wake(c *core) {
	var over []*entry
	for _, e := range c.entries {
		if e.waits() && c.overdue(e.d) {
			over = append(over, e)
		}
	}
	sortEntries(over)
	for _, e := range over {
		c.take(e)
		c.expire(e)
	}
	for _, s := range c.sortedSessions() {
		if len(s.hand) > 0 && !s.cut && c.now.Sub(s.picked) >= attemptLimit {
			s.cut = true
			c.do(cutSession{s})
		}
	}
	for _, g := range c.sortedGates() {
		c.tidyGate(g)
	}
	for _, name := range slices.Sorted(maps.Keys(c.accounts)) {
		if a := c.accounts[name]; c.short(a) {
			c.evict(a)
		}
	}
	for _, l := range c.sortedLanes() {
		c.serve(l, nil)
	}
	c.unstarve()
	full := slices.SortedFunc(maps.Keys(c.full), func(a, b *queue) int { return a.id.compare(b.id) })
	for _, q := range full {
		c.reload(q)
	}
}
