package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/queue"
)

// Filter chooses live deliveries. What is left out matches everything.
type Filter struct {
	Delivery   string `json:"delivery,omitempty"`
	Message    string `json:"message,omitempty"`
	Account    string `json:"account,omitempty"`
	Stream     string `json:"stream,omitempty" enum:"transactional,bulk"`
	Domain     string `json:"domain,omitempty" doc:"Of the recipient."`
	Recipient  string `json:"recipient,omitempty"`
	Sender     string `json:"sender,omitempty" doc:"Envelope or header sender: an address or a domain."`
	Credential string `json:"credential,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Held       string `json:"held,omitempty" doc:"Name of the hold that keeps it; * for any."`
	Everything bool   `json:"everything,omitempty" doc:"Must be set to mean all mail."`
}

// queueFilter reads the filter and narrows it to what the caller's scope lets it touch.
func (f *Filter) queueFilter(ctx context.Context, scope platform.Scope) (queue.Filter, error) {
	account, err := allowed(ctx, f.Account, scope)
	if err != nil {
		return queue.Filter{}, err
	}
	q := queue.Filter{
		Account: account, Stream: mail.Stream(f.Stream), Domain: f.Domain, Sender: f.Sender, Credential: f.Credential, Tag: f.Tag,
		Held: f.Held, Everything: f.Everything,
	}
	if f.Delivery != "" {
		if q.Delivery, err = mail.ParseDeliveryID(f.Delivery); err != nil {
			return q, badRequest("delivery", "it is no delivery id (dlv_ and 26 characters)")
		}
	}
	if f.Message != "" {
		if q.Message, err = mail.ParseMessageID(f.Message); err != nil {
			return q, badRequest("message", "it is no message id (msg_ and 26 characters)")
		}
	}
	if f.Recipient != "" {
		if q.Recipient, err = mail.ParseAddress(f.Recipient); err != nil {
			return q, badRequest("recipient", "it is not an address")
		}
	}
	return q, nil
}

type queuesInput struct{}

type queuesOutput struct{ Body queue.Summary }

type listInput struct {
	Account    string `query:"account"`
	Stream     string `query:"stream" enum:"transactional,bulk"`
	Domain     string `query:"domain" doc:"Of the recipient."`
	Recipient  string `query:"recipient"`
	Delivery   string `query:"delivery"`
	Message    string `query:"message"`
	Sender     string `query:"sender" doc:"Envelope or header sender: an address or a domain."`
	Credential string `query:"credential"`
	Tag        string `query:"tag"`
	Held       string `query:"held" doc:"Name of the hold that keeps it; * for any."`
	Cursor     string `query:"cursor"`
	Max        int    `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

// Waiting is a live delivery and what it waits for.
type Waiting struct {
	*mail.Delivery
	Why string `json:"why"`
}

type listOutput struct {
	Body struct {
		Deliveries []Waiting `json:"deliveries"`
		Next       string    `json:"next,omitempty"`
	}
}

type actInput struct {
	Body struct {
		Filter Filter `json:"filter"`
		Reason string `json:"reason,omitempty" doc:"Why; it stands in the timeline."`
	}
}

type actOutput struct {
	Body struct {
		Count int `json:"count" doc:"How many deliveries it touched."`
	}
}

func (a *API) registerQueue() {
	op := func(method, id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"queue"}}
	}
	huma.Register(a.huma, op(http.MethodGet, "get-queues", "/v1/queues", "What waits, in which queue and lane, and why"), a.queues)
	huma.Register(a.huma, op(http.MethodGet, "list-waiting", "/v1/queues/deliveries", "Live deliveries, each with what it waits for"), a.waiting)
	huma.Register(a.huma, op(http.MethodPost, "retry-now", "/v1/queues/retry", "Try deliveries now instead of when they are due"), a.retryNow)
	huma.Register(a.huma, op(http.MethodPost, "trust-clock", "/v1/queues/trust-clock", "Say that the wall clock is right: expiry, suspended after a jump, goes on"), a.trustClock)
	huma.Register(a.huma, op(http.MethodPost, "cancel", "/v1/queues/cancel", "Take deliveries out of the queue for good"), a.cancel)
}

func (a *API) queues(ctx context.Context, _ *queuesInput) (*queuesOutput, error) {
	account, err := readable(ctx, "")
	if err != nil {
		return nil, a.problemOf(err)
	}
	s, err := a.o.Queue.Summary(ctx)
	if err != nil {
		return nil, a.problemOf(err)
	}
	s.Queues, s.Lanes = orEmpty(s.Queues), orEmpty(s.Lanes)
	if account != "" {
		own := []queue.QueueSummary{}
		for _, q := range s.Queues {
			if q.Key.Account == account {
				q.Why = told(ctx, q.Why)
				own = append(own, q)
			}
		}
		s.Queues, s.Lanes = own, []queue.LaneSummary{} // lanes are shared: they tell of others
	}
	return &queuesOutput{Body: s}, nil
}

func (a *API) waiting(ctx context.Context, in *listInput) (*listOutput, error) {
	f := Filter{
		Account: in.Account, Stream: in.Stream, Domain: in.Domain, Recipient: in.Recipient, Delivery: in.Delivery, Message: in.Message,
		Sender: in.Sender, Credential: in.Credential, Tag: in.Tag, Held: in.Held,
	}
	q, err := f.queueFilter(ctx, platform.ScopeRead)
	if err != nil {
		return nil, a.problemOf(err)
	}
	list, next, err := a.o.Queue.List(ctx, q, in.Cursor, in.Max)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &listOutput{}
	out.Body.Deliveries, out.Body.Next = []Waiting{}, next
	for _, x := range list {
		out.Body.Deliveries = append(out.Body.Deliveries, Waiting{Delivery: x.Delivery, Why: told(ctx, x.Why)})
	}
	return out, nil
}

func (a *API) retryNow(ctx context.Context, in *actInput) (*actOutput, error) {
	return a.act(ctx, in, "queue.retry", a.o.Queue.RetryNow)
}

func (a *API) cancel(ctx context.Context, in *actInput) (*actOutput, error) {
	return a.act(ctx, in, "queue.cancel", func(ctx context.Context, f queue.Filter) (int, error) {
		reason := in.Body.Reason
		if reason == "" {
			reason = "cancelled by " + callerOf(ctx).actor()
		}
		return a.o.Queue.Cancel(ctx, f, reason)
	})
}

// act does something to the deliveries a filter chooses, and writes down who wanted it.
func (a *API) act(ctx context.Context, in *actInput, action string, do func(context.Context, queue.Filter) (int, error)) (*actOutput, error) {
	q, err := in.Body.Filter.queueFilter(ctx, platform.ScopeSend)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if in.Body.Filter == (Filter{}) {
		return nil, a.problemOf(queue.ErrEverything) // the caller's own account is no condition: he did not name it
	}
	n, err := do(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	// It is done: to answer with an error would make the client do it again.
	if err := a.audit(ctx, action, in.Body.Filter, n, in.Body.Reason); err != nil {
		a.o.Logger.Error("audit entry not written", mail.LogEvent, "audit_failed", mail.LogErr, err)
	}
	out := &actOutput{}
	out.Body.Count = n
	return out, nil
}

// trustClock lets expiry go on that the queue suspended because the clock jumped.
func (a *API) trustClock(ctx context.Context, _ *none) (*actOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	a.o.Queue.TrustClock()
	if err := a.audit(ctx, "queue.trust-clock", nil, 0, ""); err != nil {
		return nil, a.problemOf(err)
	}
	return &actOutput{}, nil
}
