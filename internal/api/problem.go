package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
	"github.com/postroad/postroad/internal/webhook"
)

// Problem is an error as clients get it (RFC 9457), media type application/problem+json.
type Problem struct {
	Type   string         `json:"type" doc:"What kind of problem it is; stable, for programs to look at." example:"https://postroad.dev/problems/sender-not-allowed"`
	Title  string         `json:"title" doc:"The kind in words."`
	Status int            `json:"status" doc:"The HTTP status."`
	Detail string         `json:"detail,omitempty" doc:"What is wrong here, and what to do."`
	Errors []FieldProblem `json:"errors,omitempty" doc:"The fields that are wrong, each with what is wrong with it."`
	// after is the Retry-After in seconds; 0: none.
	after int
}

// FieldProblem says what is wrong with one field. It never repeats the field's value.
type FieldProblem struct {
	Field  string `json:"field" example:"to[0].email"`
	Detail string `json:"detail"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.after > 0 {
		h.Set("Retry-After", strconv.Itoa(p.after))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="postroad"`)
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// typeOf returns the type URI of a kind of problem.
func typeOf(kind string) string { return "https://postroad.dev/problems/" + kind }

func writeProblem(w http.ResponseWriter, p Problem) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(&p) // the client is gone if this fails
}

// kinds is how each kind of submission error is told over HTTP.
var kinds = map[submission.Kind]struct {
	status int
	title  string
	after  int
}{
	submission.BadRequest:        {http.StatusUnprocessableEntity, "The request is not valid", 0},
	submission.BadAddress:        {http.StatusUnprocessableEntity, "An address is not valid", 0},
	submission.BadContent:        {http.StatusUnprocessableEntity, "The message is not valid", 0},
	submission.SenderNotAllowed:  {http.StatusForbidden, "The account may not write as this sender", 0},
	submission.Forbidden:         {http.StatusForbidden, "The credential may not do this", 0},
	submission.Paused:            {http.StatusForbidden, "The account is paused", 0},
	submission.TooLarge:          {http.StatusRequestEntityTooLarge, "The message is too large", 0},
	submission.TooManyRecipients: {http.StatusUnprocessableEntity, "Too many recipients", 0},
	submission.NoRecipients:      {http.StatusUnprocessableEntity, "There is no recipient", 0},
	submission.Quota:             {http.StatusTooManyRequests, "The account's quota is used up", 60},
	submission.BadCredentials:    {http.StatusUnauthorized, "The API key is not valid", 0},
	submission.Throttled:         {http.StatusTooManyRequests, "Too many failed log-ins", 60},
	submission.InProgress:        {http.StatusConflict, "The first request with this idempotency key is still running", 1},
	submission.KeyReused:         {http.StatusUnprocessableEntity, "The idempotency key was used with another request", 0},
	submission.NoSpace:           {http.StatusInsufficientStorage, "There is no room for new mail", 60},
	submission.Unavailable:       {http.StatusServiceUnavailable, "Not available at the moment", 5},
}

// problemOf translates an error of the works. Inner errors stay inside; they are for the log.
func (a *API) problemOf(err error) *Problem {
	var p *Problem
	var sub *submission.Error
	var invalid *manage.Invalid
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errBehind):
		return &Problem{Type: typeOf("not-recorded-yet"), Title: "Not recorded yet", Status: http.StatusServiceUnavailable, Detail: "the record is behind; ask again in a moment", after: 1}
	case errors.As(err, &sub):
		k, ok := kinds[sub.Kind]
		if !ok {
			k = kinds[submission.Unavailable]
		}
		out := &Problem{Type: typeOf(string(sub.Kind)), Title: k.title, Status: k.status, Detail: sub.Detail, after: k.after}
		if sub.After > 0 {
			out.after = int((sub.After + time.Second - 1) / time.Second)
		}
		if sub.Field != "" {
			out.Errors = []FieldProblem{{Field: sub.Field, Detail: sub.Detail}}
		}
		if sub.Err != nil && k.status >= 500 {
			a.o.Logger.Error("request failed", mail.LogEvent, "request_failed", mail.LogErr, sub)
		}
		return out
	case errors.As(err, &invalid):
		out := &Problem{Type: typeOf("invalid-state"), Title: "The state is not valid", Status: http.StatusUnprocessableEntity, Detail: "nothing was changed"}
		for _, x := range invalid.Problems {
			out.Errors = append(out.Errors, FieldProblem{Field: x.Where, Detail: x.What})
		}
		return out
	case errors.Is(err, webhook.ErrNotFound), errors.Is(err, manage.ErrNoWebhook):
		return notFound("there is no such webhook, event or replay, or it is not yours to see")
	case errors.Is(err, webhook.ErrNotWaiting):
		return &Problem{Type: typeOf("conflict"), Title: "The webhook does not wait for that event", Status: http.StatusConflict, Detail: "read its status again; only the event in hand that was refused can be passed over"}
	case errors.Is(err, webhook.ErrBusy):
		return &Problem{Type: typeOf("conflict"), Title: "Another one is under way", Status: http.StatusConflict, Detail: "wait until the other test, resend or replay of this webhook has ended"}
	case errors.Is(err, store.ErrNotFound), errors.Is(err, spool.ErrNotFound):
		return notFound("there is no such thing, or it is not yours to see")
	case errors.Is(err, store.ErrBadCursor), errors.Is(err, queue.ErrBadCursor):
		return badRequest("cursor", "it is not a cursor of this list")
	case errors.Is(err, store.ErrBadQuery):
		return badRequest("query", strings.TrimPrefix(err.Error(), store.ErrBadQuery.Error()+": "))
	case errors.Is(err, store.ErrConflict):
		return &Problem{Type: typeOf("conflict"), Title: "Changed by someone else meanwhile", Status: http.StatusConflict, Detail: "read the state again and repeat the change"}
	case errors.Is(err, queue.ErrEverything):
		return badRequest("filter", `it has no condition; set "everything": true to mean all mail`)
	}
	if !errors.Is(err, context.Canceled) { // the client went away: nobody reads this
		a.o.Logger.Error("request failed", mail.LogEvent, "request_failed", mail.LogErr, err)
	}
	return &Problem{Type: typeOf("unavailable"), Title: "Not available at the moment", Status: http.StatusServiceUnavailable, Detail: "the request could not be answered; try again later", after: 5}
}

func badRequest(field, detail string) *Problem {
	return &Problem{Type: typeOf("bad-request"), Title: "The request is not valid", Status: http.StatusBadRequest, Detail: field + ": " + detail, Errors: []FieldProblem{{field, detail}}}
}

func notFound(detail string) *Problem {
	return &Problem{Type: typeOf("not-found"), Title: "Not found", Status: http.StatusNotFound, Detail: detail}
}

func forbidden(detail string) *Problem {
	return &Problem{Type: typeOf("forbidden"), Title: "The credential may not do this", Status: http.StatusForbidden, Detail: detail}
}

// problemTransformer turns the framework's own errors into problems of ours. Theirs repeat the value that was wrong,
// which may be a password or somebody's mail.
func problemTransformer(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{Type: typeOf("bad-request"), Title: "The request is not valid", Status: e.Status, Detail: e.Detail}
	if e.Status >= 500 {
		p.Type, p.Title = typeOf("unavailable"), "Not available at the moment"
	}
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		p.Type, p.Title = typeOf(string(submission.TooLarge)), kinds[submission.TooLarge].title
		if op := ctx.Operation(); op != nil && op.MaxBodyBytes > 0 {
			p.Detail = fmt.Sprintf("the request is larger than %d octets", op.MaxBodyBytes)
		}
	case http.StatusUnsupportedMediaType:
		p.Type, p.Title = typeOf("media-type"), "The media type is not known here"
		p.Detail = "the Content-Type must be " + strings.Join(mediaTypes(ctx.Operation()), " or ")
		return p, nil // that the body cannot be read follows from it
	}
	if p.Errors = fieldProblems(e.Errors); len(p.Errors) > 0 {
		p.Detail = summary(p.Errors)
	}
	return p, nil
}

// mediaTypes are what an operation takes as its body.
func mediaTypes(op *huma.Operation) []string {
	if op == nil || op.RequestBody == nil {
		return []string{"application/json"}
	}
	return slices.Sorted(maps.Keys(op.RequestBody.Content))
}

// summary is the detail of a problem with fields, for who shows no more than that.
func summary(fields []FieldProblem) string {
	text := fields[0].Field + ": " + fields[0].Detail
	if n := len(fields) - 1; n > 0 {
		text += fmt.Sprintf("; and %d more in errors", n)
	}
	return text
}

// maxFieldName bounds the name of a field that is told back: an unknown one is the client's own word.
const maxFieldName = 100

// fieldProblems tells the framework's findings in our form.
func fieldProblems(list []*huma.ErrorDetail) []FieldProblem {
	var out []FieldProblem
	for _, d := range list {
		field := d.Location
		for _, in := range []string{"body.", "query.", "path.", "header."} {
			field = strings.TrimPrefix(field, in)
		}
		if doc, ok := d.Value.(string); ok && field == "body" {
			if in := badBase64(doc); in != "" {
				out = append(out, FieldProblem{Field: in, Detail: "it is not base64"})
				continue
			}
		}
		out = append(out, FieldProblem{Field: fieldName(field), Detail: finding(d.Message)})
	}
	return out
}

// fieldName makes a name the client may have made up fit to be told back.
func fieldName(name string) string {
	if len(name) > maxFieldName {
		name = name[:maxFieldName] + "…"
	}
	return strings.ToValidUTF8(name, "?")
}

// badBase64 finds the field of a message in JSON whose content cannot be decoded: encoding/json does not say.
func badBase64(doc string) string {
	var m struct {
		Raw         string
		Attachments []struct{ Content string }
	}
	if json.Unmarshal([]byte(doc), &m) != nil {
		return ""
	}
	bad := func(s string) bool { _, err := base64.StdEncoding.DecodeString(s); return err != nil }
	if bad(m.Raw) {
		return "raw"
	}
	for i := range m.Attachments {
		if bad(m.Attachments[i].Content) {
			return fmt.Sprintf("attachments[%d].content", i)
		}
	}
	return ""
}

// finding lets the framework's own words pass, and no others: what encoding/json, strconv and time say quotes the
// value that was wrong.
func finding(message string) string {
	switch {
	case message == "unexpected property":
		return "there is no such field"
	case strings.HasPrefix(message, "expected value to match exactly one schema"):
		return "it has none of the forms it may have; see /openapi.json"
	case strings.HasPrefix(message, "invalid date/time"):
		return wantTime
	case strings.HasPrefix(message, "invalid character "), message == "unexpected end of JSON input":
		return "it is no JSON, or breaks off"
	case strings.HasPrefix(message, "expected ") && !strings.Contains(message, ": "):
		return message
	case strings.HasPrefix(message, "required "), message == "request body is required":
		return message
	case strings.HasPrefix(message, "invalid ") && !strings.ContainsAny(message, "'\":"):
		return message
	}
	return "it cannot be read; see /openapi.json for its form"
}
