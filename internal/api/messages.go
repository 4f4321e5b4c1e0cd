package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/submission"
)

// ReplayedHeader says that an answer was given before, to the first request with the same idempotency key.
const ReplayedHeader = "Idempotent-Replayed"

type sendInput struct {
	Account string `header:"Postroad-Account" doc:"Operators only: the account to send for."` // read by authenticate
	Key     string `header:"Idempotency-Key" maxLength:"256" doc:"A second request with this key and the same body within 24 hours sends nothing and gets the first one's answer."`
	RawBody []byte
	Body    SendBody
}

type sendOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotent-Replayed"`
	Body     Sent
}

// bodyLimit is how large a JSON request may be: content of the largest message in base64, and the rest.
func (a *API) bodyLimit() int64 { return a.o.Submission.MaxSize()*4/3 + maxEnvelope }

func (a *API) registerMessages() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "send-message", Method: http.MethodPost, Path: "/v1/messages", Tags: []string{"messages"},
		Summary:       "Hand in a message",
		Description:   "With 202 the message is on disk and will be delivered or reported. Besides JSON this takes `message/rfc822` (a whole message; envelope in the query parameters `from` and `to`, or in its header) and `application/x-ndjson` (one JSON message per line; the answer has one line for each).",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: a.bodyLimit(), BodyReadTimeout: readTimeout,
	}, a.send)
	op := a.huma.OpenAPI().Paths["/v1/messages"].Post
	op.RequestBody.Content["message/rfc822"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "A message as RFC 5322 writes it."}}
	op.RequestBody.Content[ndjson] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "One JSON message per line."}}
	delete(op.RequestBody.Content, "application/octet-stream")
	op.Parameters = append(op.Parameters,
		&huma.Param{Name: "from", In: "query", Description: "Of message/rfc822: the envelope sender; without it Sender or From of the header.", Schema: &huma.Schema{Type: huma.TypeString}},
		&huma.Param{Name: "to", In: "query", Description: "Of message/rfc822: a recipient, repeated for each; without it those of To, Cc and Bcc.", Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}},
	)
	op.Responses["200"] = &huma.Response{
		Description: "To a batch: a line for each line, as soon as it is taken; each has a status of its own.",
		Content:     map[string]*huma.MediaType{ndjson: {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[BatchLine](), true, "BatchLine")}},
	}
}

func (a *API) send(ctx context.Context, in *sendInput) (*sendOutput, error) {
	p, err := a.sender(ctx)
	if err != nil {
		return nil, a.problemOf(err)
	}
	r := in.Body.request()
	a.fill(ctx, &r, in.Key, in.RawBody)
	receipt, err := a.o.Submission.Send(ctx, p, r)
	if err != nil {
		return nil, a.sendProblem(err, &r)
	}
	out := &sendOutput{Location: "/v1/messages/" + receipt.Message.String(), Body: sentOf(receipt)}
	if receipt.Replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// sendProblem is problemOf for a request made of JSON, where header fields have names and no order.
func (a *API) sendProblem(err error, r *submission.Request) *Problem {
	p := a.problemOf(err)
	for i := range p.Errors {
		f := &p.Errors[i]
		var n int
		if _, err := fmt.Sscanf(f.Field, "headers[%d]", &n); err == nil && n < len(r.Headers) {
			f.Field = fieldName("headers." + r.Headers[n].Name)
		}
	}
	return p
}

// fill adds to a request what does not stand in its body.
func (a *API) fill(ctx context.Context, r *submission.Request, key string, body []byte) {
	c := callerOf(ctx)
	r.ClientIP, r.Protocol, r.IdempotencyKey = c.ip, "HTTP", key
	if c.tls {
		r.Protocol = "HTTPS"
	}
	if key != "" {
		r.BodyHash = sha256.Sum256(body)
	}
}

// negotiate sends the two other forms of POST /v1/messages to their own readers, and sees to it that large requests do
// not fill the memory.
func (a *API) negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/messages" {
			next.ServeHTTP(w, r)
			return
		}
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch media {
		case ndjson, "application/ndjson", "application/jsonl":
			a.sendBatch(w, r) // has its own way with long lines
			return
		}
		body := &largeBody{ReadCloser: r.Body, a: a, ctx: r.Context(), want: a.bodyLimit()}
		defer body.release()
		if r.ContentLength >= 0 {
			body.want = r.ContentLength
			if err := body.reserve(r.ContentLength); err != nil {
				writeProblem(w, *a.problemOf(err))
				return
			}
		}
		r.Body = body
		if media == "message/rfc822" {
			a.sendRaw(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// largeBody is a request body that takes room in memory before it gets large.
type largeBody struct {
	io.ReadCloser
	a    *API
	ctx  context.Context // of the request
	want int64           // how large it may get
	read int64
	free func() // nil: it has no room yet
}

// reserve takes the room once it is known that more than n octets come.
func (b *largeBody) reserve(n int64) (err error) {
	if n > smallRequest && b.free == nil {
		b.free, err = b.a.room(b.ctx, b.want)
	}
	return err
}

func (b *largeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if rerr := b.reserve(b.read); rerr != nil {
		return 0, rerr
	}
	return n, err
}

func (b *largeBody) release() {
	if b.free != nil {
		b.free()
	}
}

// sendRaw takes a whole message as the body.
func (a *API) sendRaw(w http.ResponseWriter, r *http.Request) {
	receipt, err := a.takeRaw(w, r)
	if err != nil {
		writeProblem(w, *a.problemOf(err))
		return
	}
	w.Header().Set("Location", "/v1/messages/"+receipt.Message.String())
	if receipt.Replayed {
		w.Header().Set(ReplayedHeader, "true")
	}
	writeJSON(w, http.StatusAccepted, sentOf(receipt))
}

func (a *API) takeRaw(w http.ResponseWriter, r *http.Request) (*submission.Receipt, error) {
	p, err := a.sender(r.Context())
	if err != nil {
		return nil, err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)) // a recorder of tests has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.o.Submission.MaxSize()))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &submission.Error{Kind: submission.TooLarge, Detail: "the message is larger than " + strconv.FormatInt(a.o.Submission.MaxSize(), 10) + " octets"}
	case err != nil && errors.As(err, new(*submission.Error)):
		return nil, err
	case err != nil:
		return nil, badRequest("body", "it ended early, or took too long")
	}
	q := r.URL.Query()
	req := submission.Request{Raw: body, From: submission.Person{Email: q.Get("from")}}
	for _, to := range q["to"] {
		req.To = append(req.To, submission.Person{Email: to})
	}
	a.fill(r.Context(), &req, r.Header.Get("Idempotency-Key"), append([]byte(r.URL.RawQuery+"\n"), body...))
	return a.o.Submission.Send(r.Context(), p, req)
}
