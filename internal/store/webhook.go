package store

import (
	"context"
	"net/http"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Webhooks keeps where customers' webhooks stand in the event stream, and what was sent to them.
type Webhooks interface {
	// WebhookPositions returns where every webhook stands.
	WebhookPositions(ctx context.Context) ([]WebhookPosition, error)
	// WebhookReplays returns the replays of a webhook, newest first; "": the unfinished ones of all, oldest first.
	WebhookReplays(ctx context.Context, webhook string) ([]WebhookReplay, error)
	// WriteWebhooks adds or replaces positions and replays and adds attempts, all or nothing, and puts ids into the attempts.
	// While the store may not grow, attempts are left out (their ids stay 0) and the rest is written.
	WriteWebhooks(ctx context.Context, positions []WebhookPosition, attempts []*WebhookAttempt, replays []WebhookReplay) error
	// DeleteWebhook forgets position, replays and attempts of a webhook.
	DeleteWebhook(ctx context.Context, webhook string) error
	// WebhookAttempts returns attempts newest first, and the cursor of the next page, "" at the end.
	WebhookAttempts(ctx context.Context, q WebhookQuery) (list []WebhookAttempt, next string, err error)
	// WebhookAttempt returns one attempt with its bodies. It returns ErrNotFound.
	WebhookAttempt(ctx context.Context, webhook string, id int64) (WebhookAttempt, error)
}

// WebhookPosition is where one webhook stands.
type WebhookPosition struct {
	Webhook string // its id
	// At is the place up to which it is done with every event. It never passes one that is not.
	At Cursor
	// Ahead is the place up to which it is done with every event but those in Open. Empty: that is At.
	Ahead Cursor
	// Open are the events between At and Ahead that are not done, in commit order.
	Open []WebhookOpen
	// Lagging reports that it was behind the others and read the stream by itself.
	Lagging bool
	// Stopped is since when nothing is sent, and Reason why; zero: it is not stopped.
	Stopped time.Time
	Reason  string
	// Success is when an event was last taken.
	Success time.Time
}

// Behind returns the place behind which events are to be read: whatever is before it is done, or open.
func (p *WebhookPosition) Behind() Cursor {
	at := p.At
	for spool, seq := range p.Ahead {
		if at[spool] < seq {
			at = at.With(spool, seq)
		}
	}
	for _, o := range p.Open {
		if at[o.Event.Spool] < o.Event.Seq {
			at = at.With(o.Event.Spool, o.Event.Seq)
		}
	}
	return at
}

// WebhookOpen is an event that was begun and is not done: it has failed and is tried again, it was being sent, or it waits for one
// before it.
type WebhookOpen struct {
	Event    mail.EventID `json:"e"`
	Attempts int          `json:"n,omitempty"`
	First    time.Time    `json:"f,omitzero"` // attempt
	Next     time.Time    `json:"x,omitzero"` // not before
}

// WebhookKind says why an event was sent.
type WebhookKind string

// The kinds of attempt.
const (
	WebhookLive     WebhookKind = "live"
	WebhookReplayed WebhookKind = "replay"
	WebhookResend   WebhookKind = "resend"
	WebhookTest     WebhookKind = "test"
)

// WebhookAttempt is one request to a webhook, and its answer.
type WebhookAttempt struct {
	ID      int64          `json:"id,string"`
	Webhook string         `json:"webhook"` // its id
	Kind    WebhookKind    `json:"kind"`
	Event   string         `json:"event"` // the header webhook-id
	Type    mail.EventType `json:"type"`
	N       int            `json:"attempt"` // of this event, from 1
	At      time.Time      `json:"time"`
	Took    time.Duration  `json:"duration_ns"`
	URL     string         `json:"url"`
	// Status is the HTTP status; 0: there was no answer, and Error says why.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	Taken  bool   `json:"taken"`
	// Next is when it will be tried again; zero: not by itself.
	Next time.Time `json:"next,omitzero"`

	RequestHeader  http.Header `json:"request_headers,omitempty"`
	RequestBody    string      `json:"request_body,omitempty"`
	ResponseHeader http.Header `json:"response_headers,omitempty"`
	ResponseBody   string      `json:"response_body,omitempty"` // its beginning, in UTF-8
	// Cut reports that there was more of the response.
	Cut bool `json:"response_cut,omitempty"`
}

// ReplayState is how far a replay is.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"
	ReplayDone      ReplayState = "done"
	ReplayFailed    ReplayState = "failed"    // an event was refused too often; Error says which
	ReplayCancelled ReplayState = "cancelled" // by the customer
)

// WebhookReplay sends events of the past to a webhook once more.
type WebhookReplay struct {
	ID      string `json:"id"`
	Webhook string `json:"webhook"` // its id
	// From and To bound the time of the events, To exclusive; both are zero where Events lists them.
	From   time.Time   `json:"from,omitzero"`
	To     time.Time   `json:"to,omitzero"`
	Events []string    `json:"events,omitempty"`
	State  ReplayState `json:"state"`
	// At is how far it has come: in the stream, or as a count in Events.
	At     Cursor    `json:"-"`
	Done   int       `json:"-"`
	Sent   int64     `json:"sent"`
	Error  string    `json:"error,omitempty"`
	Since  time.Time `json:"since"`
	Ended  time.Time `json:"ended,omitzero"`
	Actor  string    `json:"-"`
	Looked bool      `json:"-"` // At has been set to the begin of the time asked for
}

// WebhookQuery selects attempts of one webhook.
type WebhookQuery struct {
	Webhook string
	Event   string // the header webhook-id
	Failed  bool   // only those that were not taken
	Bodies  bool   // with headers and bodies
	Cursor  string
	Max     int // 0: DefaultPage
}

// Bounds of the log of attempts.
const (
	// WebhookLogEntries is how many attempts of one webhook are kept at least, the newest; some more may be there.
	WebhookLogEntries = 10_000
	// DefaultWebhookLog is how long they are kept.
	DefaultWebhookLog = 7 * 24 * time.Hour
	// WebhookReplaysKept is how many ended replays of one webhook are kept.
	WebhookReplaysKept = 20
)
