package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/sync/semaphore"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/reporting"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
	"github.com/postroad/postroad/internal/webhook"
)

// Live is what the spool knows of mail that is not settled yet; *spool.Spool implements it.
type Live interface {
	ID() mail.SpoolID
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	Delivery(ctx context.Context, id mail.DeliveryID) (*mail.Delivery, error)
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error)
	// NewestEvent is the newest event whose effects the others may show.
	NewestEvent() uint64
	ReadOutbox(ctx context.Context, after uint64, max int) ([]*mail.Event, error)
}

// Limits of requests.
const (
	// maxEnvelope is what a JSON request may hold besides its base64 content, in octets.
	maxEnvelope = 1 << 20
	// readTimeout bounds the reading of one request body.
	readTimeout = 5 * time.Minute
	// smallRequest is up to where a request's body costs too little memory to count, in octets.
	smallRequest = 256 << 10
	// largeRequests is how many requests of the largest size are in memory at one time; smaller ones are more.
	largeRequests = 4
	// largeWait is how long a large request waits for room.
	largeWait = 10 * time.Second
)

// Options are what an API needs.
type Options struct {
	Submission *submission.Service
	Manager    *manage.Manager
	Queue      *queue.Queue
	Store      store.Store
	Live       Live
	Reporting  *reporting.Service
	Archive    *archive.Archive
	Webhooks   *webhook.Service
	// Suppress is the suppression list.
	Suppress *manage.Suppressions
	Inbox    Inbox
	// Received is called after each report that was put into the inbox. It must not block. nil: nobody is told.
	Received func()
	// NotReady lists why mail cannot be taken in at the moment; empty: it can.
	NotReady func() []string
	// Metrics serves /metrics.
	Metrics http.Handler
	// AdminSocket is told to clients on this machine, so that they find the door its owner may use.
	AdminSocket string
	// TrustedProxies may say in X-Forwarded-For who the client is.
	TrustedProxies []netip.Prefix
	// Stopping is closed when the platform stops: requests that wait for more then end. nil: never.
	Stopping <-chan struct{}
	Version  string
	Now      func() time.Time
	Logger   *slog.Logger
}

// API is the HTTP door.
type API struct {
	o     Options
	mux   *http.ServeMux
	huma  huma.API
	large *semaphore.Weighted // octets of large requests in memory

	sendSchema *huma.Schema
	public     map[string]bool // paths that need no key
	// parameters are those of each operation's query, by its pattern in mux.
	parameters map[string][]string
}

// New makes the door. It listens nowhere.
func New(o Options) (*API, error) {
	if o.Submission == nil || o.Manager == nil || o.Queue == nil || o.Store == nil || o.Live == nil || o.Reporting == nil || o.Archive == nil || o.Metrics == nil {
		return nil, errors.New("api: Submission, Manager, Queue, Store, Live, Reporting, Archive and Metrics are required")
	}
	if o.Webhooks == nil {
		return nil, errors.New("api: Webhooks is required")
	}
	if o.Suppress == nil {
		return nil, errors.New("api: Suppress is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NotReady == nil {
		o.NotReady = func() []string { return nil }
	}
	if o.Inbox == nil {
		return nil, errors.New("api: Inbox is required")
	}
	if o.Received == nil {
		o.Received = func() {}
	}
	a := &API{o: o, mux: http.NewServeMux(), public: map[string]bool{"/openapi.json": true, "/openapi.yaml": true}}
	a.large = semaphore.NewWeighted(largeRequests * a.bodyLimit())
	cfg := huma.DefaultConfig("Postroad", o.Version)
	cfg.Info.Description = "Hand in mail, and ask what became of it."
	cfg.DocsPath = ""
	cfg.SchemasPath = ""
	cfg.CreateHooks = nil // no $schema field in answers
	cfg.Transformers = []huma.Transformer{problemTransformer}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "An API key of an account: `Authorization: Bearer pr_…`."},
	}
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Security = []map[string][]string{{"key": {}}}
	a.huma = humago.New(a.mux, cfg)
	a.registerSuppressions()
	a.registerMessages()
	a.registerContent()
	a.registerResend()
	a.registerArchive()
	a.registerErase()
	a.registerRecord()
	a.registerReports()
	a.registerUnfinished()
	a.registerFeedback()
	a.registerQueue()
	a.registerState()
	a.registerPlatform()
	a.registerWebhooks()
	a.registerHealth()
	a.sendSchema = a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[SendBody](), true, "SendBody")
	a.documentProblems()
	a.parameters = parametersOf(a.huma.OpenAPI())
	return a, nil
}

// Handler serves clients that come over the network.
func (a *API) Handler() http.Handler {
	return a.authenticate(a.declared(a.negotiate(a.routed())), false)
}

// LocalHandler serves clients of the admin socket: whoever may open it is the operator. It has the profiles of
// /debug/pprof/ besides.
func (a *API) LocalHandler() http.Handler {
	return withProfiles(a.authenticate(a.declared(a.negotiate(a.routed())), true))
}

// routed answers what no route takes with a problem of ours.
func (a *API) routed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := a.mux.Handler(r)
		if pattern != "" {
			a.mux.ServeHTTP(w, r)
			return
		}
		probe := &statusOnly{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status != http.StatusMethodNotAllowed {
			writeProblem(w, *notFound("there is nothing at this path; /openapi.json lists what there is"))
			return
		}
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		writeProblem(w, Problem{Type: typeOf("method"), Title: "The method is not possible here", Status: http.StatusMethodNotAllowed, Detail: "possible are " + allow})
	})
}

// statusOnly takes an answer and keeps its head.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

// room waits until n octets of a large request may be in memory. release gives them back.
func (a *API) room(ctx context.Context, n int64) (release func(), err error) {
	if n <= smallRequest {
		return func() {}, nil
	}
	n = min(n, a.bodyLimit())
	wait, cancel := context.WithTimeout(ctx, largeWait)
	defer cancel()
	if a.large.Acquire(wait, n) != nil {
		return nil, &submission.Error{Kind: submission.Unavailable, Detail: "too many large requests at one time; try again later"}
	}
	return func() { a.large.Release(n) }, nil
}

func (a *API) stopping() bool {
	select {
	case <-a.o.Stopping:
		return true
	default:
		return false
	}
}

// documentProblems puts our form of errors into the contract in place of the framework's.
func (a *API) documentProblems() {
	doc := a.huma.OpenAPI()
	problem := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	response := &huma.Response{
		Description: "What went wrong (RFC 9457).",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
	}
	for _, op := range operations(doc) {
		op.Responses["default"] = response
	}
	schemas := doc.Components.Schemas.Map()
	for _, unused := range []string{"ErrorModel", "ErrorDetail", "Content"} {
		delete(schemas, unused)
	}
	for _, name := range []string{"Message", "MessageStatus", "ArchivedMessage"} { // how content is kept is never told
		delete(schemas[name].Properties, "content")
		schemas[name].Required = slices.DeleteFunc(schemas[name].Required, func(p string) bool { return p == "content" })
	}
}

// operations yields the contract's operations with their methods and paths, in no order.
func operations(contract *huma.OpenAPI) iter.Seq2[string, *huma.Operation] {
	return func(yield func(string, *huma.Operation) bool) {
		for path, item := range contract.Paths {
			for method, op := range map[string]*huma.Operation{
				http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodDelete: item.Delete,
			} {
				if op != nil && !yield(method+" "+path, op) {
					return
				}
			}
		}
	}
}

// OpenAPI returns the contract as JSON.
func (a *API) OpenAPI() ([]byte, error) { return json.MarshalIndent(a.huma.OpenAPI(), "", "  ") }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails; nobody is left to tell
}
