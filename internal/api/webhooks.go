package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/webhook"
)

// webhookStart is how long a request waits for a webhook that has just been made to be at work.
const webhookStart = 2 * time.Second

// WebhookView is a webhook and where it stands.
type WebhookView struct {
	Account string `json:"account"`
	platform.Webhook
	Status webhook.Status `json:"status"`
}

// WebhookDetail is a webhook with its replays.
type WebhookDetail struct {
	WebhookView
	Replays []store.WebhookReplay `json:"replays,omitempty" doc:"The one that runs and the last that have ended, newest first."`
	Secret  string                `json:"secret,omitempty" doc:"The signing secret that was made. It is shown only now."`
}

// WebhookBody is a webhook as its owner declares it.
type WebhookBody struct {
	URL         string           `json:"url" doc:"Where events are sent to." example:"https://example.com/events"`
	Types       []mail.EventType `json:"types,omitempty" doc:"Types of event; all when left out."`
	Streams     []mail.Stream    `json:"streams,omitempty" enum:"transactional,bulk" doc:"Both when left out."`
	Order       string           `json:"order,omitempty" enum:"strict,delivery" doc:"strict (when left out): each event waits for the one before it. delivery: only for those of the same delivery."`
	Concurrency int              `json:"concurrency,omitempty" minimum:"0" maximum:"100" doc:"Requests under way at one time in the order of deliveries; 16 when left out."`
	Disabled    bool             `json:"disabled,omitempty" doc:"Send nothing until it is enabled; then it goes on from where it stopped."`
	AllAccounts bool             `json:"all_accounts,omitempty" doc:"Events of every account: for operators."`
}

type webhookCreate struct {
	Body struct {
		Name string `json:"name"`
		WebhookBody
		Secret string `json:"secret,omitempty" doc:"A signing secret of your own: whsec_ and the base64 of 24 to 64 octets. One is made when left out."`
	}
}

type webhookName struct {
	Name string `path:"name"`
}

type webhookPut struct {
	Name string `path:"name"`
	Body WebhookBody
}

type webhookOutput struct{ Body WebhookDetail }

type webhookRotate struct {
	Name string `path:"name"`
	Body struct {
		Secret string `json:"secret,omitempty" doc:"The new secret; one is made when left out."`
		Grace  *int   `json:"grace_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long the old secrets go on signing; a day when left out."`
	}
}

type webhookSecretOutput struct {
	Body struct {
		Secret string `json:"secret" doc:"The new signing secret. It is shown only now."`
	}
}

type webhookTest struct {
	Name string `path:"name"`
	Body struct {
		Type mail.EventType `json:"type,omitempty" doc:"Type of the event; the first the webhook wants when left out."`
	}
}

type webhookSkip struct {
	Name string `path:"name"`
	Body struct {
		Event string `json:"event" doc:"The event in hand, as the status has it."`
	}
}

type webhookReplay struct {
	Name string `path:"name"`
	Body struct {
		From   time.Time `json:"from,omitzero" doc:"Events from this time on, as the webhook's filter has them."`
		To     time.Time `json:"to,omitzero" doc:"Up to this time, exclusive; now when left out."`
		Events []string  `json:"events,omitempty" maxItems:"100" doc:"Ids of events, in place of a time."`
	}
}

type webhookReplayOutput struct{ Body store.WebhookReplay }

type webhookDeliveries struct {
	Name   string `path:"name"`
	Event  string `query:"event" doc:"Id of an event."`
	Failed bool   `query:"failed" doc:"Only those that were not taken."`
	Bodies bool   `query:"bodies" doc:"With headers and bodies."`
	Cursor string `query:"cursor"`
	Max    int    `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type webhookDeliveriesOutput struct {
	Body struct {
		Items []store.WebhookAttempt `json:"items"`
		Next  string                 `json:"next,omitempty"`
	}
}

type webhookDelivery struct {
	Name string `path:"name"`
	ID   string `path:"id"`
}

type webhookAttemptOutput struct{ Body store.WebhookAttempt }

func (a *API) registerWebhooks() {
	op := func(id, method, path, summary string, status int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/v1/webhooks" + path, Summary: summary, Tags: []string{"webhooks"}, DefaultStatus: status}
	}
	get, put, post := http.MethodGet, http.MethodPut, http.MethodPost
	huma.Register(a.huma, op("list-webhooks", get, "", "Webhooks and where they stand", 200), a.listWebhooks)
	huma.Register(a.huma, op("create-webhook", post, "", "Make a webhook", 201), a.createWebhook)
	huma.Register(a.huma, op("get-webhook", get, "/{name}", "A webhook, where it stands, and its replays", 200), a.getWebhook)
	huma.Register(a.huma, op("put-webhook", put, "/{name}", "Change a webhook", 200), a.putWebhook)
	huma.Register(a.huma, op("delete-webhook", http.MethodDelete, "/{name}", "Delete a webhook and its log", 204), a.deleteWebhook)
	huma.Register(a.huma, op("rotate-webhook", post, "/{name}/rotate", "Give a webhook a new signing secret", 200), a.rotateWebhook)
	huma.Register(a.huma, op("enable-webhook", post, "/{name}/enable", "Go on where a webhook stopped; try now what waits", 200), a.enableWebhook)
	huma.Register(a.huma, op("skip-webhook-event", post, "/{name}/skip", "Pass over the event a webhook cannot get rid of", 200), a.skipWebhook)
	huma.Register(a.huma, op("test-webhook", post, "/{name}/test", "Send a signed event that never happened, and see the answer", 200), a.testWebhook)
	huma.Register(a.huma, op("replay-webhook", post, "/{name}/replay", "Send events of the past once more", 202), a.replayWebhook)
	huma.Register(a.huma, op("cancel-webhook-replay", http.MethodDelete, "/{name}/replay", "End the replay that runs", 204), a.cancelWebhookReplay)
	huma.Register(a.huma, op("list-webhook-deliveries", get, "/{name}/deliveries", "What was sent, newest first", 200), a.webhookLog)
	huma.Register(a.huma, op("get-webhook-delivery", get, "/{name}/deliveries/{id}", "One request with its body and answer", 200), a.webhookAttempt)
	huma.Register(a.huma, op("resend-webhook-delivery", post, "/{name}/deliveries/{id}/resend", "Send once more what was sent, and see the answer", 200), a.resendWebhook)
}

// webhookOwner returns the account whose webhooks the caller reads, or changes: that takes an unrestricted key.
func (a *API) webhookOwner(ctx context.Context, change bool) (*platform.Account, error) {
	account, err := allowed(ctx, "", platform.ScopeRead)
	if err == nil && change {
		account, err = allowed(ctx, "", platform.ScopeSend)
	}
	if err != nil {
		return nil, err
	}
	if account == "" {
		return nil, badRequest("header "+AccountHeader, "the operator must name the account whose webhook it is")
	}
	acc := a.o.Manager.Snapshot().Account(account)
	if acc == nil {
		return nil, notFound("there is no such account")
	}
	return acc, nil
}

// webhook finds a webhook for the caller.
func (a *API) webhook(ctx context.Context, name string, change bool) (*platform.Account, *platform.Webhook, error) {
	acc, err := a.webhookOwner(ctx, change)
	if err != nil {
		return nil, nil, err
	}
	w := acc.Webhook(name)
	if w == nil {
		return nil, nil, notFound("there is no such webhook")
	}
	if w.AllAccounts && !callerOf(ctx).operator {
		return nil, nil, forbidden("the webhook is told of every account's events: it is the operator's")
	}
	return acc, w, nil
}

func (a *API) view(account string, w *platform.Webhook) WebhookView {
	st, err := a.o.Webhooks.Status(w.ID)
	switch { // it may have been made or changed a moment ago
	case w.Disabled:
		st.State = webhook.StateDisabled
	case err != nil, st.State == webhook.StateDisabled:
		st.State = webhook.StateCatchingUp
	}
	return WebhookView{Account: account, Webhook: *w, Status: st}
}

// atWork asks again while a webhook that was made a moment ago is not at work yet.
func atWork[T any](ctx context.Context, f func() (T, error)) (v T, err error) {
	for deadline := time.Now().Add(webhookStart); ; {
		if v, err = f(); !errors.Is(err, webhook.ErrNotFound) || time.Now().After(deadline) {
			return v, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return v, err
		}
	}
}

func (a *API) listWebhooks(ctx context.Context, _ *none) (*listOf[WebhookView], error) {
	account, err := readable(ctx, "")
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &listOf[WebhookView]{}
	out.Body.Items = []WebhookView{}
	state := a.o.Manager.Snapshot().State()
	for i := range state.Accounts {
		acc := &state.Accounts[i]
		if account != "" && acc.Name != account {
			continue
		}
		for j := range acc.Webhooks {
			out.Body.Items = append(out.Body.Items, a.view(acc.Name, &acc.Webhooks[j]))
		}
	}
	return out, nil
}

// editWebhooks changes the webhooks of the caller's account and returns the one named.
func (a *API) editWebhooks(ctx context.Context, note, name string, edit func(*platform.Account) error) (*webhookOutput, error) {
	acc, err := a.webhookOwner(ctx, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	report, err := a.o.Manager.Edit(ctx, callerOf(ctx).actor(), note, func(s *platform.State) error {
		i := slices.IndexFunc(s.Accounts, func(x platform.Account) bool { return x.Name == acc.Name })
		if i < 0 {
			return notFound("there is no such account")
		}
		return edit(&s.Accounts[i])
	})
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &webhookOutput{}
	if now := a.o.Manager.Snapshot().Account(acc.Name); now != nil && now.Webhook(name) != nil {
		out.Body.WebhookView = a.view(acc.Name, now.Webhook(name))
	}
	for _, s := range report.Secrets {
		out.Body.Secret = s.Value
	}
	return out, nil
}

func (b *WebhookBody) apply(ctx context.Context, w *platform.Webhook) error {
	if (b.AllAccounts || w.AllAccounts) && !callerOf(ctx).operator {
		return forbidden("only an operator's webhook is told of every account's events")
	}
	w.URL, w.Types, w.Streams, w.Disabled, w.AllAccounts = b.URL, b.Types, b.Streams, b.Disabled, b.AllAccounts
	w.Order, w.Concurrency = platform.WebhookOrder(b.Order), b.Concurrency
	return nil
}

func (a *API) createWebhook(ctx context.Context, in *webhookCreate) (*webhookOutput, error) {
	return a.editWebhooks(ctx, "webhook made", in.Body.Name, func(acc *platform.Account) error {
		if acc.Webhook(in.Body.Name) != nil {
			return &Problem{Type: typeOf("conflict"), Title: "There is one already", Status: http.StatusConflict, Detail: "a webhook of this name exists; change it with PUT"}
		}
		w := platform.Webhook{Name: in.Body.Name, Secret: in.Body.Secret}
		if err := in.Body.apply(ctx, &w); err != nil {
			return err
		}
		acc.Webhooks = append(acc.Webhooks, w)
		return nil
	})
}

func (a *API) getWebhook(ctx context.Context, in *webhookName) (*webhookOutput, error) {
	acc, w, err := a.webhook(ctx, in.Name, false)
	if err != nil {
		return nil, a.problemOf(err)
	}
	replays, err := a.o.Store.WebhookReplays(ctx, w.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &webhookOutput{Body: WebhookDetail{WebhookView: a.view(acc.Name, w), Replays: replays}}, nil
}

func (a *API) putWebhook(ctx context.Context, in *webhookPut) (*webhookOutput, error) {
	return a.editWebhooks(ctx, "webhook changed", in.Name, func(acc *platform.Account) error {
		w := acc.Webhook(in.Name)
		if w == nil {
			return notFound("there is no such webhook; POST /v1/webhooks makes one")
		}
		return in.Body.apply(ctx, w)
	})
}

func (a *API) deleteWebhook(ctx context.Context, in *webhookName) (*struct{}, error) {
	if _, _, err := a.webhook(ctx, in.Name, true); err != nil {
		return nil, a.problemOf(err)
	}
	_, err := a.editWebhooks(ctx, "webhook deleted", in.Name, func(acc *platform.Account) error {
		acc.Webhooks = slices.DeleteFunc(acc.Webhooks, func(w platform.Webhook) bool { return w.Name == in.Name })
		return nil
	})
	return nil, err
}

func (a *API) rotateWebhook(ctx context.Context, in *webhookRotate) (*webhookSecretOutput, error) {
	acc, _, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	grace := manage.WebhookGrace
	if in.Body.Grace != nil {
		grace = time.Duration(*in.Body.Grace) * time.Second
	}
	out := &webhookSecretOutput{}
	if out.Body.Secret, err = a.o.Manager.RotateWebhook(ctx, callerOf(ctx).actor(), acc.Name, in.Name, in.Body.Secret, grace); err != nil {
		return nil, a.problemOf(err)
	}
	return out, nil
}

// auditWebhook writes down an act that changes no declared state.
func (a *API) auditWebhook(ctx context.Context, action, account, name string, what any) error {
	after, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return a.o.Store.RecordAudit(ctx, store.AuditEntry{
		At: a.o.Now().UTC(), Actor: callerOf(ctx).actor(), Action: action, Kind: "webhook", Name: account + "/" + name, After: string(after),
	})
}

func (a *API) enableWebhook(ctx context.Context, in *webhookName) (*webhookOutput, error) {
	acc, w, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if w.Disabled {
		if _, err := a.editWebhooks(ctx, "webhook enabled", in.Name, func(acc *platform.Account) error {
			if w := acc.Webhook(in.Name); w != nil {
				w.Disabled = false
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if _, err := atWork(ctx, func() (struct{}, error) { return struct{}{}, a.o.Webhooks.Enable(ctx, w.ID) }); err != nil {
		return nil, a.problemOf(err)
	}
	if err := a.auditWebhook(ctx, "enable", acc.Name, in.Name, struct{}{}); err != nil {
		return nil, a.problemOf(err)
	}
	return a.getWebhook(ctx, in)
}

func (a *API) skipWebhook(ctx context.Context, in *webhookSkip) (*webhookOutput, error) {
	acc, w, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	event, err := mail.ParseEventID(in.Body.Event)
	if err != nil {
		return nil, badRequest("event", "it is no event id (evt_ and 20 characters)")
	}
	if err := a.o.Webhooks.Skip(ctx, w.ID, event); err != nil {
		return nil, a.problemOf(err)
	}
	if err := a.auditWebhook(ctx, "skip", acc.Name, in.Name, in.Body); err != nil {
		return nil, a.problemOf(err)
	}
	return a.getWebhook(ctx, &webhookName{in.Name})
}

func (a *API) testWebhook(ctx context.Context, in *webhookTest) (*webhookAttemptOutput, error) {
	_, w, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	typ := in.Body.Type
	switch {
	case typ == "" && len(w.Types) > 0:
		typ = w.Types[0]
	case typ == "":
		typ = mail.EventDelivered
	case !typ.Valid():
		return nil, badRequest("type", "it is no type of event")
	}
	return a.attempt(atWork(ctx, func() (*store.WebhookAttempt, error) { return a.o.Webhooks.Test(ctx, w.ID, typ) }))
}

func (a *API) attempt(x *store.WebhookAttempt, err error) (*webhookAttemptOutput, error) {
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &webhookAttemptOutput{Body: *x}, nil
}

func (a *API) replayWebhook(ctx context.Context, in *webhookReplay) (*webhookReplayOutput, error) {
	acc, w, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	b := &in.Body
	q := webhook.ReplayRequest{From: b.From.UTC(), To: b.To.UTC()}
	switch {
	case len(b.Events) > 0 && (!b.From.IsZero() || !b.To.IsZero()):
		return nil, badRequest("events", "give a time, or ids of events, not both")
	case len(b.Events) == 0 && b.From.IsZero():
		return nil, badRequest("from", "give a time to begin at, or ids of events")
	case len(b.Events) == 0 && b.To.IsZero():
		q.To = a.o.Now().UTC()
	case len(b.Events) > 0:
		q.From, q.To = time.Time{}, time.Time{}
	}
	if len(b.Events) == 0 && !q.From.Before(q.To) {
		return nil, badRequest("to", "it must lie behind from")
	}
	for i, text := range b.Events {
		id, err := mail.ParseEventID(text)
		if err != nil {
			return nil, badRequest("events["+strconv.Itoa(i)+"]", "it is no event id (evt_ and 20 characters)")
		}
		q.Events = append(q.Events, id)
	}
	r, err := atWork(ctx, func() (store.WebhookReplay, error) { return a.o.Webhooks.Replay(ctx, w.ID, callerOf(ctx).actor(), q) })
	if err != nil {
		return nil, a.problemOf(err)
	}
	if err := a.auditWebhook(ctx, "replay", acc.Name, in.Name, r); err != nil {
		return nil, a.problemOf(err)
	}
	return &webhookReplayOutput{Body: r}, nil
}

func (a *API) cancelWebhookReplay(ctx context.Context, in *webhookName) (*struct{}, error) {
	_, w, err := a.webhook(ctx, in.Name, true)
	if err == nil {
		err = a.o.Webhooks.CancelReplay(w.ID)
	}
	if err != nil {
		return nil, a.problemOf(err)
	}
	return nil, nil
}

func (a *API) webhookLog(ctx context.Context, in *webhookDeliveries) (*webhookDeliveriesOutput, error) {
	_, w, err := a.webhook(ctx, in.Name, false)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &webhookDeliveriesOutput{}
	list, next, err := a.o.Store.WebhookAttempts(ctx, store.WebhookQuery{Webhook: w.ID, Event: in.Event, Failed: in.Failed, Bodies: in.Bodies, Cursor: in.Cursor, Max: in.Max})
	if err != nil {
		return nil, a.problemOf(err)
	}
	out.Body.Items, out.Body.Next = orEmpty(list), next
	return out, nil
}

// attemptID reads the id of an entry of the log.
func attemptID(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, badRequest("id", "it is no id of this list (a number)")
	}
	return n, nil
}

func (a *API) webhookAttempt(ctx context.Context, in *webhookDelivery) (*webhookAttemptOutput, error) {
	_, w, err := a.webhook(ctx, in.Name, false)
	if err != nil {
		return nil, a.problemOf(err)
	}
	id, err := attemptID(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := a.o.Store.WebhookAttempt(ctx, w.ID, id)
	return a.attempt(&x, err)
}

func (a *API) resendWebhook(ctx context.Context, in *webhookDelivery) (*webhookAttemptOutput, error) {
	_, w, err := a.webhook(ctx, in.Name, true)
	if err != nil {
		return nil, a.problemOf(err)
	}
	id, err := attemptID(in.ID)
	if err != nil {
		return nil, err
	}
	return a.attempt(atWork(ctx, func() (*store.WebhookAttempt, error) { return a.o.Webhooks.Resend(ctx, w.ID, id) }))
}
