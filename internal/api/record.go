package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// maxWait is the longest a client may wait for new events in one request.
const maxWait = 30 * time.Second

// DeliveryStatus is where one delivery stands.
type DeliveryStatus struct {
	store.Delivery
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Its deadline, while it is live."`
	Why       string    `json:"why,omitempty" doc:"What it waits for, while it is live."`
	AsOf      time.Time `json:"as_of,omitzero" doc:"The moment this tells of, where that is over: it has left the queue since, and the record is behind."`
}

// MessageStatus is a message and where its deliveries stand.
type MessageStatus struct {
	mail.Message
	Content    none             `json:"content,omitzero"` // in place of the message's own: how it is kept is nobody's business
	Deliveries []DeliveryStatus `json:"deliveries"`
	Next       string           `json:"next,omitempty" doc:"Cursor of the next page of deliveries."`
	ResentAs   []mail.MessageID `json:"resent_as,omitempty" doc:"The messages that sent this one again."`
	AsOf       time.Time        `json:"as_of" doc:"The moment this tells of."`
}

type messageInput struct {
	ID     string `path:"id" example:"msg_01jdkz3y5x8g0000000000000a"`
	Cursor string `query:"cursor"`
	Max    int    `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type messageOutput struct{ Body MessageStatus }

type deliveryInput struct {
	ID string `path:"id"`
}

type deliveryOutput struct{ Body DeliveryStatus }

type timelineOutput struct {
	Body struct {
		Events []*mail.Event `json:"events"`
		AsOf   time.Time     `json:"as_of,omitzero" doc:"The record is behind: what happened from this moment on may be missing."`
	}
}

type eventsOutput struct {
	Body struct {
		Events []*mail.Event `json:"events"`
		Next   string        `json:"next,omitempty" doc:"Cursor to go on from."`
		AsOf   time.Time     `json:"as_of,omitzero" doc:"Of a message's events: the record is behind, and what happened from this moment on may be missing."`
	}
}

type eventsInput struct {
	Cursor  string   `query:"cursor" doc:"next of the page before; the oldest event kept when left out."`
	Account string   `query:"account"`
	Stream  string   `query:"stream" enum:"transactional,bulk"`
	Types   []string `query:"type" enum:"accepted,rejected,suppressed,held,deferred,relayed,delivered,bounced,expired,cancelled,complained,auto_replied,unsubscribed,opened,clicked" doc:"All when left out."`
	Max     int      `query:"max" minimum:"1" maximum:"1000" default:"100"`
	Wait    int      `query:"wait" minimum:"0" maximum:"30" doc:"Seconds to wait for an event when there is none yet."`
	Tail    bool     `query:"tail" doc:"Begin behind the newest event: only what happens from now on."`
}

type searchInput struct {
	Account   string    `query:"account"`
	Stream    string    `query:"stream" enum:"transactional,bulk"`
	Recipient string    `query:"recipient" doc:"A whole address, in any spelling."`
	MessageID string    `query:"message_id" doc:"The Message-ID header field, with or without angle brackets."`
	Domain    string    `query:"domain" doc:"Of the recipient."`
	Sender    string    `query:"sender" doc:"Envelope or header sender: an address, or a domain."`
	Subject   string    `query:"subject"`
	Tag       string    `query:"tag"`
	State     string    `query:"state" enum:"queued,held,deferred,delivered,relayed,bounced,expired,suppressed,cancelled"`
	Class     string    `query:"class" enum:"invalid-recipient,invalid-domain,inactive,mailbox-full,content-size,policy-spam,blocklisted-ip,auth-failure,rate-limited,greylisted,relay-denied,protocol,transient-system,network,expired,other"`
	Route     string    `query:"route"`
	Source    string    `query:"source"`
	MX        string    `query:"mx" doc:"MX host of the last attempt; with a leading dot any host below the name." example:".mail.example"`
	Receiver  string    `query:"receiver" doc:"Mailbox provider, as its MX hosts show it."`
	From      time.Time `query:"from"`
	To        time.Time `query:"to"`
	Cursor    string    `query:"cursor"`
	Max       int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type searchOutput struct {
	Body struct {
		Deliveries []*store.Delivery `json:"deliveries"`
		Next       string            `json:"next,omitempty"`
		SearchedTo time.Time         `json:"searched_to,omitzero" doc:"The page ends here although there may be more: everything newer has been looked at."`
		AsOf       time.Time         `json:"as_of,omitzero" doc:"The record is behind: what happened from this moment on may be missing."`
	}
}

type statsInput struct {
	Of      string    `query:"of" enum:"account,site,route,sender,outcome,sender_outcome,domain_outcome,mark,speed" default:"account" doc:"The first four count events by when they happened, the others deliveries by when they were accepted, as they stand now."`
	By      []string  `query:"by" enum:"account,stream,type,class,receiver,site,route,source,sender,domain,outcome,mark,within" doc:"Dimensions kept apart."`
	Step    string    `query:"step" enum:"hour,day"`
	From    time.Time `query:"from"`
	To      time.Time `query:"to"`
	Account string    `query:"account"`
}

type statsOutput struct {
	Body struct {
		Rows []store.StatsRow `json:"rows"`
		AsOf time.Time        `json:"as_of,omitzero" doc:"The record is behind: what happened from this moment on may be missing."`
	}
}

func (a *API) registerRecord() {
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"record"}}
	}
	huma.Register(a.huma, get("get-message", "/v1/messages/{id}", "A message and where its deliveries stand"), a.message)
	huma.Register(a.huma, get("get-message-events", "/v1/messages/{id}/events", "All events of a message"), a.messageEvents)
	huma.Register(a.huma, get("search-deliveries", "/v1/messages", "Find deliveries, newest first"), a.search)
	huma.Register(a.huma, get("get-delivery", "/v1/deliveries/{id}", "Where one delivery stands, and what it waits for"), a.delivery)
	huma.Register(a.huma, get("get-delivery-events", "/v1/deliveries/{id}/events", "The timeline of one delivery"), a.timeline)
	huma.Register(a.huma, get("list-events", "/v1/events", "Events in commit order, after a cursor"), a.events)
	huma.Register(a.huma, get("get-stats", "/v1/stats", "How many events there were"), a.stats)
}

// errBehind is for what neither the spool nor the record knows while the record is behind: it may be on its way from
// the one to the other.
var errBehind = errors.New("the record is behind")

// reach is how far the record comes.
type reach struct {
	current bool      // it holds all that the spool showed as the request came
	asOf    time.Time // else when the first event it lacks happened; zero where nothing is known of it
}

// settle waits a little until the record holds what the spool shows as the request comes, so that a client reads its own
// writes, and tells how far it comes now. An error of the store is not one of the reader: the spool still knows
// what is live.
func (a *API) settle(ctx context.Context) (reach, error) {
	begun, newest := a.o.Now().UTC(), a.o.Live.NewestEvent()
	mark, err := a.o.Store.WaitFor(ctx, a.o.Live.ID(), newest)
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return reach{}, nil
	case err != nil:
		return reach{}, err
	case mark >= newest:
		return reach{current: true}, nil
	}
	missing, err := a.o.Live.ReadOutbox(ctx, mark, 1)
	switch {
	case err != nil:
		return reach{}, err
	case len(missing) == 0: // it is still being written
		return reach{asOf: begun}, nil
	}
	return reach{asOf: missing[0].At.UTC()}, nil
}

func (a *API) message(ctx context.Context, in *messageInput) (*messageOutput, error) {
	id, err := mail.ParseMessageID(in.ID)
	if err != nil {
		return nil, badRequest("id", "it is no message id (msg_ and 26 characters)")
	}
	m, to, err := a.findMessage(ctx, id)
	if err != nil {
		return nil, a.problemOf(err)
	}
	var after mail.DeliveryID
	if in.Cursor != "" {
		if after, err = mail.ParseDeliveryID(in.Cursor); err != nil {
			return nil, badRequest("cursor", "it is not a cursor of this list")
		}
	}
	out := MessageStatus{Message: *m, AsOf: a.o.Now().UTC()}
	if out.Deliveries, err = a.messageDeliveries(ctx, m, to, after, in.Max); err != nil {
		return nil, a.problemOf(err)
	}
	if out.ResentAs, err = a.o.Store.Resends(ctx, id); err != nil && !errors.Is(err, store.ErrUnavailable) {
		return nil, a.problemOf(err)
	}
	if n := len(out.Deliveries); n == in.Max {
		out.Next = out.Deliveries[n-1].ID.String()
	}
	return &messageOutput{Body: out}, nil
}

// messageDeliveries returns where deliveries of a message stand, in order of id: what the record has, and where it is not
// current, or has not all of them (a gap in it was accepted), also what only the spool has. It returns errBehind where some of the
// first page are in neither and may still come into the record.
func (a *API) messageDeliveries(ctx context.Context, m *mail.Message, to reach, after mail.DeliveryID, max int) ([]DeliveryStatus, error) {
	out := []DeliveryStatus{}
	recorded, err := a.o.Store.Deliveries(ctx, m.ID, after, max)
	away := errors.Is(err, store.ErrUnavailable)
	if err != nil && (to.current || !errors.Is(err, store.ErrUnavailable)) && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	known := map[mail.DeliveryID]bool{}
	for _, d := range recorded {
		x, err := a.withLive(ctx, *d, to)
		if err != nil {
			return nil, err
		}
		known[d.ID] = true
		out = append(out, x)
	}
	if whole := len(out) >= max || after.IsZero() && len(out) >= m.Recipients; to.current && whole {
		return out, nil
	}
	live, err := a.o.Live.Deliveries(ctx, m.ID, after, max)
	if err != nil {
		return nil, err
	}
	for _, d := range live {
		if !known[d.ID] {
			out = append(out, a.liveDelivery(ctx, m, d))
		}
	}
	// A delivery may have left the spool and not have come into the record yet; without it a message would seem to be over, or
	// to have gone to fewer. Of a store that does not answer nothing better will come.
	if !to.current && !away && after.IsZero() && len(out) < min(max, m.Recipients) {
		return nil, errBehind
	}
	slices.SortFunc(out, func(x, y DeliveryStatus) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	return out[:min(len(out), max)], nil
}

// findMessage looks a message up for the caller: in the record, else in the spool. to is how far the record came before.
func (a *API) findMessage(ctx context.Context, id mail.MessageID) (m *mail.Message, to reach, err error) {
	account, err := readable(ctx, "")
	if err != nil {
		return nil, reach{}, err
	}
	if to, err = a.settle(ctx); err != nil {
		return nil, reach{}, err
	}
	if m, err = a.o.Store.Message(ctx, id); err != nil {
		if live, lerr := a.o.Live.Message(ctx, id); lerr == nil {
			m, err = live, nil
		}
	}
	switch {
	case errors.Is(err, store.ErrNotFound) && !to.current:
		return nil, reach{}, errBehind
	case err != nil:
		return nil, reach{}, err
	case account != "" && m.Account != account:
		return nil, reach{}, store.ErrNotFound
	}
	return m, to, nil
}

// withLive adds what the spool knows of a delivery the record says is live.
func (a *API) withLive(ctx context.Context, d store.Delivery, to reach) (DeliveryStatus, error) {
	out := DeliveryStatus{Delivery: d}
	if d.State.Final() {
		return out, nil
	}
	live, err := a.o.Live.Delivery(ctx, d.ID)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		out.AsOf = to.asOf
		return out, nil // settled meanwhile; the record will say so
	case err != nil:
		return out, err
	}
	out.overlay(live)
	out.Why = a.why(ctx, d.ID)
	return out, nil
}

func (a *API) liveDelivery(ctx context.Context, m *mail.Message, d *mail.Delivery) DeliveryStatus {
	out := DeliveryStatus{Delivery: store.Delivery{
		ID: d.ID, Message: d.Message, Account: m.Account, Stream: m.Stream, Recipient: d.Recipient.String(), Domain: d.Queue.Domain,
		Sender: m.From.String(), HeaderFrom: m.HeaderFrom, Subject: m.Subject, Tags: m.Tags, State: store.StateQueued,
		Created: d.CreatedAt, Updated: d.CreatedAt,
	}}
	out.overlay(d)
	out.Why = a.why(ctx, d.ID)
	return out
}

func (d *DeliveryStatus) overlay(live *mail.Delivery) {
	d.Attempts, d.Next, d.ExpiresAt, d.Uncertain = live.Attempts, live.Due, live.ExpiresAt, d.Uncertain || live.Uncertain
	switch {
	case live.Held != "":
		d.State, d.Next = store.StateHeld, time.Time{}
	case live.Last != nil:
		d.State, d.Class, d.Scope, d.Reply, d.Host = store.State(live.Last.Result), live.Last.Class, live.Last.Scope, live.Last.Reply, live.Last.Host
		d.Updated = live.Last.At
	case d.State == store.StateHeld: // a release is no event: the record does not know of it
		d.State, d.Reason = store.StateQueued, ""
	}
}

func (a *API) why(ctx context.Context, id mail.DeliveryID) string {
	why, err := a.o.Queue.Why(ctx, id)
	if err != nil {
		return "" // settled meanwhile
	}
	return told(ctx, why)
}

// told hides addresses from accounts in what a lane says of itself: its last answer may have been to another account's
// mail. What a delivery was answered itself is in its events, word for word.
func told(ctx context.Context, why string) string {
	if callerOf(ctx).operator {
		return why
	}
	return mail.MaskAddresses(why)
}

func (a *API) messageEvents(ctx context.Context, in *messageInput) (*eventsOutput, error) {
	id, err := mail.ParseMessageID(in.ID)
	if err != nil {
		return nil, badRequest("id", "it is no message id (msg_ and 26 characters)")
	}
	_, to, err := a.findMessage(ctx, id)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &eventsOutput{}
	out.Body.AsOf = to.asOf
	events, next, err := a.o.Store.MessageEvents(ctx, id, in.Cursor, in.Max)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, a.problemOf(err)
	}
	out.Body.Events, out.Body.Next = tellable(events), next
	return out, nil
}

// tellable leaves out of events how the content is kept.
func tellable(events []*mail.Event) []*mail.Event {
	out := make([]*mail.Event, len(events))
	for i, e := range events {
		out[i] = e.Told()
	}
	return out
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// findDelivery looks a delivery up for the caller, likewise.
func (a *API) findDelivery(ctx context.Context, text string) (DeliveryStatus, reach, error) {
	id, err := mail.ParseDeliveryID(text)
	if err != nil {
		return DeliveryStatus{}, reach{}, badRequest("id", "it is no delivery id (dlv_ and 26 characters)")
	}
	account, err := readable(ctx, "")
	if err != nil {
		return DeliveryStatus{}, reach{}, err
	}
	to, err := a.settle(ctx)
	if err != nil {
		return DeliveryStatus{}, reach{}, err
	}
	var out DeliveryStatus
	recorded, err := a.o.Store.Delivery(ctx, id)
	if err == nil {
		out, err = a.withLive(ctx, *recorded, to)
	} else if live, lerr := a.o.Live.Delivery(ctx, id); lerr == nil {
		var m *mail.Message
		switch m, err = a.o.Live.Message(ctx, live.Message); {
		case err == nil:
			out = a.liveDelivery(ctx, m, live)
		case errors.Is(err, spool.ErrNotFound):
			err = store.ErrNotFound // it was settled between the two questions
		}
	}
	switch {
	case errors.Is(err, store.ErrNotFound) && !to.current:
		return DeliveryStatus{}, reach{}, errBehind
	case err != nil:
		return DeliveryStatus{}, reach{}, err
	case account != "" && out.Account != account:
		return DeliveryStatus{}, reach{}, store.ErrNotFound
	}
	return out, to, nil
}

func (a *API) delivery(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	d, _, err := a.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &deliveryOutput{Body: d}, nil
}

func (a *API) timeline(ctx context.Context, in *deliveryInput) (*timelineOutput, error) {
	d, to, err := a.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &timelineOutput{}
	out.Body.AsOf = to.asOf
	events, err := a.o.Store.Timeline(ctx, d.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, a.problemOf(err)
	}
	out.Body.Events = tellable(events)
	return out, nil
}

func (a *API) events(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	q := store.EventQuery{Account: account, Stream: mail.Stream(in.Stream), Max: in.Max}
	for _, t := range in.Types {
		q.Types = append(q.Types, mail.EventType(t))
	}
	if q.After, err = store.ParseCursor(in.Cursor); err != nil {
		return nil, a.problemOf(err)
	}
	if in.Tail && in.Cursor == "" {
		if q.After, err = a.o.Store.Tail(ctx); err != nil {
			return nil, a.problemOf(err)
		}
	}
	deadline := a.o.Now().Add(min(time.Duration(in.Wait)*time.Second, maxWait))
	for {
		page, err := a.o.Store.Events(ctx, q)
		if err != nil {
			return nil, a.problemOf(err)
		}
		if len(page.Events) > 0 || (!page.More && (!a.o.Now().Before(deadline) || a.stopping())) {
			out := &eventsOutput{}
			out.Body.Events, out.Body.Next = tellable(page.Events), page.Next.String()
			return out, nil
		}
		q.After = page.Next
		if !page.More {
			// Wait for the record to move on; it answers at once when it does.
			mark, err := a.o.Store.Watermark(ctx, a.o.Live.ID())
			if err == nil {
				_, err = a.o.Store.WaitFor(ctx, a.o.Live.ID(), mark+1)
			}
			if err != nil {
				return nil, a.problemOf(err)
			}
		}
	}
}

// normalise brings what people write into the form the record has, and refuses what could find nothing: somebody who looks
// for a delivery must not take a typing mistake for the answer.
func (in *searchInput) normalise() error {
	if in.Recipient != "" {
		to, err := mail.ParseAddress(strings.TrimSpace(in.Recipient))
		if err != nil {
			return badRequest("recipient", "want a whole address, such as ann@example.net; domain finds all of a domain")
		}
		in.Recipient = to.String()
	}
	var err error
	if in.Domain, err = domainOf("domain", in.Domain); err != nil {
		return err
	}
	if in.Sender, err = senderOf(in.Sender); err != nil {
		return err
	}
	in.MessageID = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(in.MessageID), "<"), ">")
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return badRequest("to", "it must be later than from")
	}
	return nil
}

// domainOf is a domain as addresses have it, of what people write for one; "" stays.
func domainOf(field, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	domain, err := mail.ParseDomain(strings.TrimPrefix(strings.TrimSpace(text), "@"))
	if err != nil {
		return "", badRequest(field, "it is not a domain")
	}
	return domain, nil
}

// senderOf is an address or a domain, likewise.
func senderOf(text string) (string, error) {
	if strings.Contains(strings.TrimPrefix(strings.TrimSpace(text), "@"), "@") {
		from, err := mail.ParseAddress(strings.TrimSpace(text))
		if err != nil {
			return "", badRequest("sender", "it is neither an address nor a domain")
		}
		return from.String(), nil
	}
	return domainOf("sender", text)
}

// known refuses an account of which there is nothing: its name is a typing mistake.
func (a *API) known(account string) error {
	if account != "" && account != platform.SystemAccount && a.o.Manager.Snapshot().Account(account) == nil {
		return notFound(fmt.Sprintf("there is no account %.63q, and nothing of one", account))
	}
	return nil
}

func (a *API) search(ctx context.Context, in *searchInput) (*searchOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if err := in.normalise(); err != nil {
		return nil, err
	}
	to, err := a.settle(ctx)
	if err != nil {
		return nil, a.problemOf(err)
	}
	var hosts []string
	if in.MX != "" {
		hosts = append(hosts, in.MX)
	}
	if in.Receiver != "" {
		if in.MX != "" {
			return nil, badRequest("receiver", "give mx or receiver, not both")
		}
		suffixes := a.o.Reporting.HostsOf(in.Receiver)
		if len(suffixes) == 0 {
			return nil, badRequest("receiver", "there is no mailbox provider of this name; mx finds hosts by theirs")
		}
		hosts = append(hosts, suffixes...)
	}
	page, err := a.o.Store.Search(ctx, store.SearchQuery{
		Hosts:   hosts,
		Account: account, Stream: mail.Stream(in.Stream), Recipient: in.Recipient, RFC822ID: in.MessageID, Domain: in.Domain,
		Sender: in.Sender, Subject: in.Subject, Tag: in.Tag, State: store.State(in.State), Class: mail.Class(in.Class),
		Route: in.Route, Source: in.Source, From: in.From, To: in.To, Cursor: in.Cursor, Max: in.Max,
	})
	if err != nil {
		return nil, a.problemOf(err)
	}
	if len(page.Deliveries) == 0 && page.Next == "" && in.Cursor == "" {
		if err := a.known(account); err != nil {
			return nil, err
		}
	}
	out := &searchOutput{}
	out.Body.Deliveries, out.Body.Next, out.Body.SearchedTo = orEmpty(page.Deliveries), page.Next, page.SearchedTo
	out.Body.AsOf = to.asOf
	return out, nil
}

func (a *API) stats(ctx context.Context, in *statsInput) (*statsOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	q := store.StatsQuery{Of: store.Question(in.Of), From: in.From, To: in.To, Step: store.Step(in.Step)}
	if account != "" {
		if !slices.Contains(q.Of.Dimensions(), store.ByAccount) {
			return nil, badRequest("of", "an account sees its own figures only, and these are not kept by account")
		}
		q.Where = map[store.Dimension]string{store.ByAccount: account}
	}
	for _, by := range in.By {
		q.By = append(q.By, store.Dimension(by))
	}
	if q.To.IsZero() {
		q.To = a.o.Now()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-24 * time.Hour)
	}
	to, err := a.settle(ctx)
	if err != nil {
		return nil, a.problemOf(err)
	}
	rows, err := a.o.Store.Stats(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &statsOutput{}
	out.Body.Rows, out.Body.AsOf = orEmpty(rows), to.asOf
	return out, nil
}
