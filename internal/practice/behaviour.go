package practice

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/smtp"
)

// when says at which step a behaviour shows.
type when int

const (
	atRcpt when = iota
	atData      // in the middle of the content
	atDot       // after the final dot
)

// behaviour is what a local part makes a receiver do.
type behaviour struct {
	when  when
	reply smtp.Reply // with %s: the client's address
	// times is how often it happens to a sender and recipient (atDot: to a message and recipient) before the mail is
	// taken; 0: always.
	times int
	hang  bool // close the connection: after reply if it has one; atDot: after taking the message
	slow  bool // take Options.Slow before RCPT's and the final reply
	grey  bool // refuse for Options.GreylistDelay
	// sources: only those in Options.BlockedSources meet it.
	sources bool
	later   ReportKind // sent after the message was taken
}

func refusal(code int, class, subject, detail uint16, text string) smtp.Reply {
	return smtp.Reply{Code: code, Enhanced: smtp.Enhanced{class, subject, detail}, Lines: strings.Split(text, "\n")}
}

// behaviours by local part, without what follows a plus sign. Every other local part is accepted.
var behaviours = map[string]behaviour{
	"unknown":   {reply: refusal(550, 5, 1, 1, "The mailbox you tried to reach does not exist here")},
	"bounce":    {reply: refusal(550, 5, 1, 1, "No such user here")},
	"full":      {reply: refusal(552, 5, 2, 2, "The mailbox is full and takes no more mail")},
	"full-soft": {reply: refusal(452, 4, 2, 2, "The mailbox is over its quota, try again later")},
	"disabled":  {reply: refusal(550, 5, 2, 1, "The account is disabled and takes no mail")},

	"greylist":  {grey: true, reply: refusal(451, 4, 7, 1, "Greylisted: please try again in a moment")},
	"busy":      {times: 2, reply: refusal(451, 4, 3, 2, "The system is busy, please try again later")},
	"busy-dot":  {when: atDot, times: 1, reply: refusal(451, 4, 3, 0, "Content could not be stored just now")},
	"tempfail":  {reply: refusal(451, 4, 3, 0, "Temporary local problem, please try later")},
	"ratelimit": {times: 2, reply: refusal(450, 4, 7, 28, "Too much mail from your address lately: rate limited")},
	"throttled": {times: 1, hang: true, reply: refusal(421, 4, 7, 0, "Too many messages from %s, try again later")},

	"blocked":        {reply: refusal(550, 5, 7, 1, "Service unavailable; client host [%s] blocked using blocklist.test")},
	"blocked-source": {sources: true, reply: refusal(550, 5, 7, 1, "Service unavailable; client host [%s] blocked using blocklist.test")},
	"spam":           {when: atDot, reply: refusal(554, 5, 7, 1, "Message refused: its content looks like spam")},
	"virus":          {when: atDot, reply: refusal(554, 5, 7, 1, "Message refused: virus found")},
	"rcpt-hangup":    {times: 1, hang: true},
	"drop":           {when: atData, times: 1, hang: true},
	"lost-reply":     {when: atDot, times: 1, hang: true},
	"slow":           {slow: true},

	"late-bounce":  {later: LateBounce},
	"late-qmail":   {later: QmailBounce},
	"late-exim":    {later: EximBounce},
	"late-delay":   {later: Delay},
	"late-three":   {later: ThreeFailed},
	"late-relayed": {later: ThreeRelayed},
	"late-replay":  {later: Replay},
	"late-forged":  {later: Forged},
	"complaint":    {later: Complaint},
	"redacted":     {later: RedactedComplaint},
	"auto-reply":   {later: AutoReply},
	"ooo":          {later: OutOfOffice},
	"ooto":         {later: OutOfOffice},
}

// behaviourOf returns what the local part of an address asks for.
func behaviourOf(address string) (b behaviour, ok bool) {
	local, _, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(strings.ToLower(local), "+")
	b, ok = behaviours[local]
	return b, ok
}

// filled returns the reply with the client's address in its text.
func (b behaviour) filled(client string) smtp.Reply {
	r := b.reply
	r.Lines = make([]string, len(b.reply.Lines))
	for i, line := range b.reply.Lines {
		if strings.Contains(line, "%s") {
			line = fmt.Sprintf(line, client)
		}
		r.Lines[i] = line
	}
	return r
}

// tries remembers how often something was tried, and since when.
type tries struct {
	mu    sync.Mutex
	max   int
	known map[string]*try
	order []string // of the keys, oldest first
}

type try struct {
	count int
	first time.Time
}

func newTries(max int) *tries { return &tries{max: max, known: make(map[string]*try)} }

// again counts a try of key and returns how many there were, this one included, and when the first was.
func (t *tries) again(key string, now time.Time) (count int, first time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.known[key]
	if !ok {
		if len(t.order) >= t.max {
			delete(t.known, t.order[0])
			t.order = t.order[1:]
		}
		k = &try{first: now}
		t.known[key] = k
		t.order = append(t.order, key)
	}
	k.count++
	return k.count, k.first
}
