package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// SuppressionEntry is an entry of the suppression list.
type SuppressionEntry struct {
	platform.Suppression
	InForce bool `json:"in_force" doc:"It holds now: it has not expired."`
}

// SuppressionBody is an entry somebody makes.
type SuppressionBody struct {
	Address string         `json:"address" maxLength:"300" example:"ann@example.com" doc:"An address, or sha256: and the hash of one."`
	Stream  string         `json:"stream,omitempty" enum:"transactional,bulk" doc:"Left out: both, and bulk for complaint and unsubscribe."`
	Class   platform.Cause `json:"class,omitempty" enum:"invalid-recipient,invalid-domain,inactive,mailbox-full,complaint,unsubscribe,manual" doc:"What it rests on; left out: manual."`
	Reason  string         `json:"reason,omitempty" maxLength:"300" doc:"Why, in words; the suppressed event tells it."`
	Expires time.Time      `json:"expires,omitzero" doc:"Left out: never."`
}

type suppressionsInput struct {
	Account  string    `query:"account"`
	Platform bool      `query:"platform" doc:"Only entries of the whole platform."`
	Stream   string    `query:"stream" enum:"transactional,bulk"`
	Class    string    `query:"class" enum:"invalid-recipient,invalid-domain,inactive,mailbox-full,complaint,unsubscribe,manual"`
	Reason   string    `query:"reason" doc:"The whole reason."`
	Contains string    `query:"contains" doc:"Part of the address."`
	Domain   string    `query:"domain" doc:"Of the address."`
	Receiver string    `query:"receiver" doc:"Who refused: the mailbox provider, else the site."`
	Actor    string    `query:"actor" doc:"Who made it; automatic: made of an event."`
	Since    time.Time `query:"since" doc:"Made at this time or later."`
	Until    time.Time `query:"until" doc:"Made before this time."`
	Cursor   string    `query:"cursor"`
	Max      int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type suppressionsOutput struct {
	Body struct {
		Suppressions []SuppressionEntry `json:"suppressions"`
		Next         string             `json:"next,omitempty"`
	}
}

type addSuppressionsInput struct {
	Body struct {
		Account      string            `json:"account,omitempty" doc:"Whose list, as operator; an account has its own."`
		Platform     bool              `json:"platform,omitempty" doc:"The whole platform's list; operators only."`
		Suppressions []SuppressionBody `json:"suppressions" minItems:"1" maxItems:"1000"`
		Note         string            `json:"note,omitempty" doc:"Why; it stands in the audit log."`
	}
}

type addSuppressionsOutput struct {
	Status int
	Body   struct {
		Suppressions []SuppressionEntry `json:"suppressions"`
	}
}

type suppressionInput struct {
	Address string `path:"address" doc:"An address, or sha256: and the hash of one."`
	Account string `query:"account"`
}

// SuppressionCheck says whether an address is suppressed, and why.
type SuppressionCheck struct {
	Address       string             `json:"address" doc:"In the form addresses are compared in."`
	Transactional bool               `json:"transactional" doc:"Transactional mail to it is suppressed."`
	Bulk          bool               `json:"bulk" doc:"Bulk mail to it is suppressed."`
	Entries       []SuppressionEntry `json:"entries" doc:"All there are for it, also those that have expired."`
}

type suppressionOutput struct{ Body SuppressionCheck }

type removeSuppressionInput struct {
	Address  string `path:"address"`
	Account  string `query:"account"`
	Platform bool   `query:"platform" doc:"The whole platform's entry; operators only."`
	Stream   string `query:"stream" enum:"transactional,bulk" doc:"That of the entry; left out: the entry for both."`
	Note     string `query:"note"`
}

type undoInput struct {
	Body struct {
		Account  string         `json:"account,omitempty"`
		Platform bool           `json:"platform,omitempty"`
		Stream   string         `json:"stream,omitempty" enum:"transactional,bulk"`
		Class    platform.Cause `json:"class,omitempty" enum:"invalid-recipient,invalid-domain,inactive,mailbox-full,complaint,unsubscribe,manual"`
		Reason   string         `json:"reason,omitempty" doc:"The whole reason."`
		Contains string         `json:"contains,omitempty" doc:"Part of the address."`
		Domain   string         `json:"domain,omitempty" doc:"Of the address."`
		Receiver string         `json:"receiver,omitempty" doc:"Who refused: the mailbox provider, else the site."`
		Actor    string         `json:"actor,omitempty"`
		Since    time.Time      `json:"since,omitzero" doc:"Made at this time or later."`
		Until    time.Time      `json:"until,omitzero" doc:"Made before this time."`
		DryRun   bool           `json:"dry_run,omitempty" doc:"Only count."`
		Note     string         `json:"note,omitempty" doc:"Why; it stands in the audit log."`
	}
}

type undoOutput struct {
	Body struct {
		Count  int64 `json:"count" doc:"How many entries were removed, or would be."`
		DryRun bool  `json:"dry_run,omitempty"`
	}
}

func (a *API) registerSuppressions() {
	op := func(method, id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"suppressions"}}
	}
	huma.Register(a.huma, op(http.MethodGet, "list-suppressions", "/v1/suppressions", "The suppression list, in order of address"), a.suppressions)
	add := op(http.MethodPost, "add-suppressions", "/v1/suppressions", "Put addresses on the suppression list")
	add.DefaultStatus = http.StatusCreated
	huma.Register(a.huma, add, a.addSuppressions)
	huma.Register(a.huma, op(http.MethodGet, "check-suppression", "/v1/suppressions/{address}", "Is an address suppressed, and why"), a.checkSuppression)
	huma.Register(a.huma, op(http.MethodDelete, "remove-suppression", "/v1/suppressions/{address}", "Take one entry off the suppression list"), a.removeSuppression)
	huma.Register(a.huma, op(http.MethodPost, "undo-suppressions", "/v1/suppressions/undo", "Remove all entries that a filter selects"), a.undoSuppressions)

	a.mux.HandleFunc("POST /v1/suppressions/import", a.importSuppressions)
	a.mux.HandleFunc("GET /v1/suppressions/export", a.exportSuppressions)
	csv := map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}
	query := func(name, kind, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: kind}}
	}
	a.huma.OpenAPI().Paths["/v1/suppressions/import"] = &huma.PathItem{Post: &huma.Operation{
		OperationID: "import-suppressions", Summary: "Merge a list in CSV into the suppression list", Tags: []string{"suppressions"},
		Description: "With or without a header; columns are found by their names, those of widespread vendors too. An entry that lasts longer than the one of the list stays. Lines that cannot be read are refused one by one.",
		Parameters: []*huma.Param{
			query("account", huma.TypeString, "Whose list it goes on; without it the account each line names."),
			query("platform", huma.TypeBoolean, "Lines that name no account go on the whole platform's list; operators only."),
			query("stream", huma.TypeString, "Of lines that name none: transactional or bulk; without it both, and bulk for complaint and unsubscribe."),
			query("class", huma.TypeString, "Of lines that name none; without it manual."),
			query("reason", huma.TypeString, "Of lines that give none."),
			query("note", huma.TypeString, "Why; it stands in the audit log."),
			query("dry_run", huma.TypeBoolean, "Only read it, and tell what would be refused."),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: csv},
		Responses: map[string]*huma.Response{"200": {Description: "What came of it.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[manage.ImportReport](), true, "ImportReport")},
		}}},
	}}
	a.huma.OpenAPI().Paths["/v1/suppressions/export"] = &huma.PathItem{Get: &huma.Operation{
		OperationID: "export-suppressions", Summary: "The suppression list in CSV, as it can be imported", Tags: []string{"suppressions"},
		Parameters: []*huma.Param{
			query("account", huma.TypeString, "Whose."), query("platform", huma.TypeBoolean, "Only entries of the whole platform."),
			query("stream", huma.TypeString, ""), query("class", huma.TypeString, ""), query("reason", huma.TypeString, "The whole reason."),
			query("contains", huma.TypeString, "Part of the address."), query("domain", huma.TypeString, "Of the address."),
			query("receiver", huma.TypeString, "Who refused: the mailbox provider, else the site."),
			query("actor", huma.TypeString, "Who made it; automatic: made of an event."),
			query("since", huma.TypeString, "Made at this time or later."), query("until", huma.TypeString, "Made before this time."),
		},
		Responses: map[string]*huma.Response{"200": {Description: "The list.", Content: csv}},
	}}
}

func (a *API) entryOf(ctx context.Context, x platform.Suppression) SuppressionEntry {
	if c := callerOf(ctx); !c.operator && x.Account == "" {
		x.Actor = "operator" // which one is nobody's business
	}
	return SuppressionEntry{Suppression: x, InForce: suppression.InForce(&x, a.o.Now())}
}

func (a *API) entriesOf(ctx context.Context, list []platform.Suppression) []SuppressionEntry {
	out := make([]SuppressionEntry, len(list))
	for i, x := range list {
		out[i] = a.entryOf(ctx, x)
	}
	return out
}

// listOwner is the account whose list a caller changes; "" with platform set: the whole platform's.
func listOwner(ctx context.Context, account string, platformWide bool) (string, error) {
	account, err := allowed(ctx, account, platform.ScopeSend)
	switch {
	case err != nil:
		return "", err
	case platformWide && !callerOf(ctx).operator:
		return "", forbidden("only an operator may change the whole platform's list")
	case platformWide && account != "":
		return "", badRequest("platform", "the whole platform's list has no account; name one or the other")
	case !platformWide && account == "":
		return "", badRequest("account", `name the account whose list it is, or set "platform" for the whole platform's`)
	}
	return account, nil
}

func (a *API) suppressions(ctx context.Context, in *suppressionsInput) (*suppressionsOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if in.Platform && !callerOf(ctx).operator {
		return nil, forbidden("only an operator may read the whole platform's list")
	}
	if in.Domain, err = domainOf("domain", in.Domain); err != nil {
		return nil, err
	}
	list, next, err := a.o.Suppress.List(ctx, store.SuppressionQuery{
		Account: account, Platform: in.Platform, Stream: mail.Stream(in.Stream), Class: platform.Cause(in.Class), Reason: in.Reason,
		Contains: in.Contains, Domain: in.Domain, Receiver: in.Receiver, Actor: in.Actor, Since: in.Since, Until: in.Until, Cursor: in.Cursor, Max: in.Max,
	})
	if err != nil {
		return nil, a.problemOf(err)
	}
	if len(list) == 0 && next == "" && in.Cursor == "" {
		if err := a.known(account); err != nil {
			return nil, err
		}
	}
	out := &suppressionsOutput{}
	out.Body.Suppressions, out.Body.Next = a.entriesOf(ctx, list), next
	return out, nil
}

func (a *API) addSuppressions(ctx context.Context, in *addSuppressionsInput) (*addSuppressionsOutput, error) {
	account, err := listOwner(ctx, in.Body.Account, in.Body.Platform)
	if err != nil {
		return nil, a.problemOf(err)
	}
	var list []platform.Suppression
	for _, x := range in.Body.Suppressions {
		list = append(list, platform.Suppression{Account: account, Stream: mail.Stream(x.Stream), Address: x.Address, Class: x.Class, Reason: x.Reason, Expires: x.Expires})
	}
	made, err := a.o.Suppress.Add(ctx, callerOf(ctx).actor(), in.Body.Note, list)
	if err != nil {
		return nil, a.problemOf(asRequest(err))
	}
	out := &addSuppressionsOutput{Status: http.StatusCreated}
	out.Body.Suppressions = a.entriesOf(ctx, made)
	return out, nil
}

// asRequest tells what is wrong with a request in the words for requests, not in those for a declared state.
func asRequest(err error) error {
	var invalid *manage.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	p := &Problem{Type: typeOf("bad-request"), Title: "The request is not valid", Status: http.StatusUnprocessableEntity, Detail: "nothing was changed"}
	for _, x := range invalid.Problems {
		p.Errors = append(p.Errors, FieldProblem{Field: x.Where, Detail: x.What})
	}
	return p
}

func (a *API) checkSuppression(ctx context.Context, in *suppressionInput) (*suppressionOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if _, err := suppression.Subject(in.Address); err != nil {
		return nil, badRequest("address", "it is neither an address nor "+suppression.HashPrefix+" and 64 hexadecimal digits")
	}
	list, err := a.o.Suppress.Of(ctx, account, in.Address)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &suppressionOutput{}
	out.Body.Address, _ = suppression.Subject(in.Address) // Of has read it
	out.Body.Entries = a.entriesOf(ctx, list)
	for _, x := range out.Body.Entries {
		out.Body.Transactional = out.Body.Transactional || x.InForce && x.Stream != mail.Bulk
		out.Body.Bulk = out.Body.Bulk || x.InForce && x.Stream != mail.Transactional
	}
	return out, nil
}

func (a *API) removeSuppression(ctx context.Context, in *removeSuppressionInput) (*struct{}, error) {
	account, err := listOwner(ctx, in.Account, in.Platform)
	if err == nil {
		err = a.o.Suppress.Remove(ctx, callerOf(ctx).actor(), in.Note, account, mail.Stream(in.Stream), in.Address)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, notFound(a.noEntry(ctx, in))
	case err != nil:
		return nil, a.problemOf(asRequest(err))
	}
	return nil, nil
}

// noEntry says what there is of an address where the entry that was named is not.
func (a *API) noEntry(ctx context.Context, in *removeSuppressionInput) string {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return "there is no such entry"
	}
	list, err := a.o.Suppress.Of(ctx, account, in.Address)
	if err != nil || len(list) == 0 {
		return "nothing is on the list for this address"
	}
	var have []string
	for _, x := range list {
		stream, owner := "both streams", "account "+x.Account
		if x.Stream != "" {
			stream = "stream " + string(x.Stream)
		}
		if x.Account == "" {
			owner = "the platform"
		}
		have = append(have, "one of "+owner+" for "+stream)
	}
	return "there is no such entry; for this address there is " + strings.Join(have, ", ")
}

func (a *API) undoSuppressions(ctx context.Context, in *undoInput) (*undoOutput, error) {
	b := &in.Body
	account, err := allowed(ctx, b.Account, platform.ScopeSend)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if b.Platform && !callerOf(ctx).operator {
		return nil, forbidden("only an operator may change the whole platform's list")
	}
	if b.Domain, err = domainOf("domain", b.Domain); err != nil {
		return nil, err
	}
	n, err := a.o.Suppress.Undo(ctx, callerOf(ctx).actor(), b.Note, store.SuppressionQuery{
		Account: account, Platform: b.Platform, Stream: mail.Stream(b.Stream), Class: b.Class, Reason: b.Reason, Contains: b.Contains,
		Domain: b.Domain, Receiver: b.Receiver, Actor: b.Actor, Since: b.Since, Until: b.Until,
	}, b.DryRun)
	if err != nil {
		return nil, a.problemOf(asRequest(err))
	}
	out := &undoOutput{}
	out.Body.Count, out.Body.DryRun = n, b.DryRun
	return out, nil
}

// importSuppressions reads a list as it comes.
func (a *API) importSuppressions(w http.ResponseWriter, r *http.Request) {
	report, err := a.importList(w, r)
	if err != nil {
		writeProblem(w, *a.problemOf(asRequest(err)))
		return
	}
	writeJSON(w, http.StatusOK, report)
}

func (a *API) importList(w http.ResponseWriter, r *http.Request) (manage.ImportReport, error) {
	ctx, q := r.Context(), r.URL.Query()
	in := manage.Import{
		Actor: callerOf(ctx).actor(), Note: q.Get("note"), Stream: mail.Stream(q.Get("stream")), Class: platform.Cause(q.Get("class")), Reason: q.Get("reason"),
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "text/csv" {
		return manage.ImportReport{}, &Problem{Type: typeOf("media-type"), Title: "The media type is not known here", Status: http.StatusUnsupportedMediaType, Detail: "send text/csv"}
	}
	for name, to := range map[string]*bool{"platform": &in.Platform, "dry_run": &in.DryRun} {
		if v := q.Get(name); v != "" {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return manage.ImportReport{}, badRequest(name, "want true or false")
			}
			*to = b
		}
	}
	switch {
	case in.Stream != "" && !in.Stream.Valid():
		return manage.ImportReport{}, badRequest("stream", "want transactional or bulk")
	case in.Class != "" && !in.Class.Valid():
		return manage.ImportReport{}, badRequest("class", "it is no class of suppressions")
	case len(in.Reason) > manage.MaxSuppressionReason:
		return manage.ImportReport{}, badRequest("reason", "it is too long")
	}
	var err error
	if in.Account, err = allowed(ctx, q.Get("account"), platform.ScopeSend); err != nil {
		return manage.ImportReport{}, err
	}
	if in.Platform && !callerOf(ctx).operator {
		return manage.ImportReport{}, forbidden("only an operator may change the whole platform's list")
	}
	return a.o.Suppress.Import(ctx, &slowBody{r: r, rc: http.NewResponseController(w)}, in)
}

// slowBody is a request body each piece of which has to come within lineTimeout: as long as it comes it may be long.
type slowBody struct {
	r  *http.Request
	rc *http.ResponseController
}

// Read implements io.Reader.
func (b *slowBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(lineTimeout)) // where it cannot be set none is
	return b.r.Body.Read(p)
}

func (a *API) exportSuppressions(w http.ResponseWriter, r *http.Request) {
	ctx, q := r.Context(), r.URL.Query()
	account, err := readable(ctx, q.Get("account"))
	if err == nil && q.Get("platform") == "true" && !callerOf(ctx).operator {
		err = forbidden("only an operator may read the whole platform's list")
	}
	filter := store.SuppressionQuery{
		Account: account, Platform: q.Get("platform") == "true", Stream: mail.Stream(q.Get("stream")), Class: platform.Cause(q.Get("class")),
		Reason: q.Get("reason"), Contains: q.Get("contains"), Receiver: q.Get("receiver"), Actor: q.Get("actor"),
	}
	if err == nil {
		filter.Domain, err = domainOf("domain", q.Get("domain"))
	}
	if err == nil {
		err = queryTimes(q, map[string]*time.Time{"since": &filter.Since, "until": &filter.Until})
	}
	if err != nil {
		writeProblem(w, *a.problemOf(err))
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="suppressions.csv"`)
	if _, err = a.o.Suppress.Export(ctx, w, filter); err != nil {
		if ctx.Err() == nil {
			a.o.Logger.Error("an export broke off", mail.LogEvent, "export_failed", mail.LogErr, err)
		}
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}
