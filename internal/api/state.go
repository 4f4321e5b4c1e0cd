package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// maxState is the largest declared state, in octets.
const maxState = 64 << 20

// registerState serves the platform's state as one TOML document: what `postroad apply` and `postroad export` use.
func (a *API) registerState() {
	a.mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, r *http.Request) {
		if err := admin(r.Context()); err != nil {
			writeProblem(w, *a.problemOf(err))
			return
		}
		doc, err := manage.FormatState(a.o.Manager.Snapshot().State())
		if err != nil {
			writeProblem(w, *a.problemOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/toml")
		w.Header().Set("ETag", `"`+strconv.FormatInt(a.o.Manager.Version(), 10)+`"`)
		_, _ = w.Write(doc) // the client is gone if this fails
	})
	a.mux.HandleFunc("PUT /v1/state", func(w http.ResponseWriter, r *http.Request) {
		report, err := a.applyState(w, r)
		if err != nil {
			writeProblem(w, *a.problemOf(err))
			return
		}
		writeJSON(w, http.StatusOK, report)
	})
	toml := map[string]*huma.MediaType{"application/toml": {Schema: &huma.Schema{Type: huma.TypeString}}}
	a.huma.OpenAPI().Paths["/v1/state"] = &huma.PathItem{
		Get: &huma.Operation{
			OperationID: "export-state", Summary: "The platform's state, as a document that can be applied", Tags: []string{"platform"},
			Responses: map[string]*huma.Response{"200": {Description: "The state; secrets are not part of it.", Content: toml}},
		},
		Put: &huma.Operation{
			OperationID: "apply-state", Summary: "Make the platform match a declared state", Tags: []string{"platform"},
			Description: "Lists that are in the document are made to match, entries that are not in them are deleted; lists that are not in it stay as they are.",
			Parameters: []*huma.Param{
				{Name: "dry_run", In: "query", Description: "Only tell what would change.", Schema: &huma.Schema{Type: huma.TypeBoolean}},
				{Name: "note", In: "query", Description: "Why; it stands in the audit log.", Schema: &huma.Schema{Type: huma.TypeString}},
			},
			RequestBody: &huma.RequestBody{Required: true, Content: toml},
			Responses: map[string]*huma.Response{"200": {Description: "What changed, and the secrets that were made.", Content: map[string]*huma.MediaType{
				"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[manage.StateReport](), true, "StateReport")},
			}}},
		},
	}
}

func (a *API) applyState(w http.ResponseWriter, r *http.Request) (manage.StateReport, error) {
	if err := admin(r.Context()); err != nil {
		return manage.StateReport{}, err
	}
	dryRun := false
	if v := r.URL.Query().Get("dry_run"); v != "" {
		var err error
		if dryRun, err = strconv.ParseBool(v); err != nil {
			return manage.StateReport{}, badRequest("dry_run", "want true or false")
		}
	}
	doc, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxState))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return manage.StateReport{}, badRequest("body", "it is larger than "+strconv.Itoa(maxState)+" octets")
		}
		return manage.StateReport{}, badRequest("body", "it ended early")
	}
	state, kinds, err := manage.ParseState(doc)
	if err != nil {
		return manage.StateReport{}, err
	}
	return a.o.Manager.Apply(r.Context(), manage.Request{
		Actor: callerOf(r.Context()).actor(), Note: r.URL.Query().Get("note"), State: state, Kinds: kinds, DryRun: dryRun,
	})
}

// audit writes down an act that changes no declared state.
func (a *API) audit(ctx context.Context, action string, on any, count int, note string) error {
	after, err := json.Marshal(map[string]any{"filter": on, "count": count})
	if err != nil {
		return err
	}
	return a.o.Store.RecordAudit(ctx, store.AuditEntry{
		At: a.o.Now().UTC(), Actor: callerOf(ctx).actor(), Action: action, Kind: "queue", After: string(after), Note: note,
	})
}

type listOf[T any] struct {
	Body struct {
		Items []T `json:"items"`
	}
}

type none struct{}

// registerList serves one list of the platform's state to operators.
func registerList[T any](a *API, path, id, summary string, list func(platform.State) []T) {
	huma.Register(a.huma, huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"platform"}},
		func(ctx context.Context, _ *none) (*listOf[T], error) {
			if err := admin(ctx); err != nil {
				return nil, a.problemOf(err)
			}
			out := &listOf[T]{}
			out.Body.Items = orEmpty(list(a.o.Manager.Snapshot().State()))
			return out, nil
		})
}

// OwnedSender is a sender with its account.
type OwnedSender struct {
	Account string `json:"account"`
	platform.Sender
}

// OwnedCredential is a credential with its account.
type OwnedCredential struct {
	Account string `json:"account"`
	platform.Credential
}

type holdInput struct {
	Name string `path:"name"`
	Body holdBody
}

// holdBody is a hold that has its name from the path.
type holdBody struct {
	platform.Hold
	Name string `json:"name,omitempty" doc:"May be left out: the path has it."`
}

type holdName struct {
	Name string `path:"name"`
	Note string `query:"note"`
}

type reportOutput struct{ Body manage.StateReport }

type alertsInput struct {
	All bool `query:"all" doc:"Cleared ones too."`
}

type auditInput struct {
	Kind   string    `query:"kind"`
	Name   string    `query:"name"`
	Actor  string    `query:"actor"`
	Since  time.Time `query:"since" doc:"Done at this time or later."`
	Until  time.Time `query:"until" doc:"Done before this time."`
	Cursor string    `query:"cursor"`
	Max    int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

func (a *API) registerPlatform() {
	registerList(a, "/v1/accounts", "list-accounts", "Accounts", func(s platform.State) []platform.Account { return s.Accounts })
	registerList(a, "/v1/pools", "list-pools", "Pools", func(s platform.State) []platform.Pool { return s.Pools })
	registerList(a, "/v1/sources", "list-sources", "Sources", func(s platform.State) []platform.Source { return s.Sources })
	registerList(a, "/v1/routes", "list-routes", "Routes", func(s platform.State) []platform.Route { return s.Routes })
	registerList(a, "/v1/policies", "list-policies", "Policies", func(s platform.State) []platform.Policy { return s.Policies })
	registerList(a, "/v1/holds", "list-holds", "Standing holds", func(s platform.State) []platform.Hold { return s.Holds })
	registerList(a, "/v1/senders", "list-senders", "Senders of all accounts", func(s platform.State) (list []OwnedSender) {
		for _, acc := range s.Accounts {
			for _, x := range acc.Senders {
				list = append(list, OwnedSender{acc.Name, x})
			}
		}
		return list
	})
	registerList(a, "/v1/credentials", "list-credentials", "Credentials of all accounts, without their secrets", func(s platform.State) (list []OwnedCredential) {
		for _, acc := range s.Accounts {
			for _, x := range acc.Credentials {
				list = append(list, OwnedCredential{acc.Name, x})
			}
		}
		return list
	})
	huma.Register(a.huma, huma.Operation{OperationID: "put-hold", Method: http.MethodPut, Path: "/v1/holds/{name}", Summary: "Hold matching mail, also mail that comes later", Tags: []string{"queue"}}, a.putHold)
	huma.Register(a.huma, huma.Operation{OperationID: "delete-hold", Method: http.MethodDelete, Path: "/v1/holds/{name}", Summary: "Release a hold", Tags: []string{"queue"}, DefaultStatus: http.StatusOK}, a.deleteHold)
	huma.Register(a.huma, huma.Operation{OperationID: "list-alerts", Method: http.MethodGet, Path: "/v1/alerts", Summary: "Troubles the operator should know of", Tags: []string{"platform"}}, a.alerts)
	huma.Register(a.huma, huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "Who changed what, newest first", Tags: []string{"platform"}}, a.auditLog)
}

func (a *API) putHold(ctx context.Context, in *holdInput) (*reportOutput, error) {
	return a.edit(ctx, in.Body.Reason, func(s *platform.State) error {
		h := in.Body.Hold
		h.Name = in.Name
		i := slices.IndexFunc(s.Holds, func(old platform.Hold) bool { return old.Name == h.Name })
		if i < 0 {
			s.Holds = append(s.Holds, platform.Hold{})
			i = len(s.Holds) - 1
		}
		if h.Since.IsZero() {
			h.Since = s.Holds[i].Since
		}
		if h.Since.IsZero() {
			h.Since = a.o.Now().UTC().Truncate(time.Second)
		}
		s.Holds[i] = h
		return nil
	})
}

func (a *API) deleteHold(ctx context.Context, in *holdName) (*reportOutput, error) {
	return a.edit(ctx, in.Note, func(s *platform.State) error {
		n := len(s.Holds)
		if s.Holds = slices.DeleteFunc(s.Holds, func(h platform.Hold) bool { return h.Name == in.Name }); len(s.Holds) == n {
			return notFound("there is no such hold")
		}
		return nil
	})
}

func (a *API) edit(ctx context.Context, note string, edit func(*platform.State) error) (*reportOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	report, err := a.o.Manager.Edit(ctx, callerOf(ctx).actor(), note, edit)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &reportOutput{Body: report}, nil
}

func (a *API) alerts(ctx context.Context, in *alertsInput) (*listOf[platform.Alert], error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	list, err := a.o.Store.ListAlerts(ctx, store.AlertQuery{Cleared: in.All})
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &listOf[platform.Alert]{}
	out.Body.Items = orEmpty(list)
	return out, nil
}

type auditOutput struct {
	Body struct {
		Items []store.AuditEntry `json:"items"`
		Next  string             `json:"next,omitempty"`
	}
}

func (a *API) auditLog(ctx context.Context, in *auditInput) (*auditOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	q := store.AuditQuery{Kind: store.Kind(in.Kind), Name: in.Name, Actor: in.Actor, Since: in.Since, Until: in.Until, Max: in.Max}
	if in.Cursor != "" { // the id of the last entry of a page
		n, err := strconv.ParseInt(in.Cursor, 10, 64)
		if err != nil || n <= 0 {
			return nil, badRequest("cursor", "it is no cursor of this list")
		}
		q.Before = n
	}
	list, err := a.o.Store.ListAudit(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &auditOutput{}
	if len(list) == in.Max {
		out.Body.Next = strconv.FormatInt(list[in.Max-1].ID, 10)
	}
	out.Body.Items = orEmpty(list)
	return out, nil
}
