package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

// ReplayedHeader says that an answer was given before, to the first request with the same idempotency key.
const ReplayedHeader = "Idempotent-Replayed"

type sendInput struct {
	Account string `header:"Postroad-Account" doc:"Operators only: the account to send for."`
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
	op.RequestBody.Content["application/x-ndjson"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "One JSON message per line."}}
}

func (a *API) send(ctx context.Context, in *sendInput) (*sendOutput, error) {
	p, err := a.sender(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	r := in.Body.request()
	a.fill(ctx, &r, in.Key, in.RawBody)
	receipt, err := a.o.Submission.Send(ctx, p, r)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &sendOutput{Location: "/v1/messages/" + receipt.Message.String(), Body: sentOf(receipt)}
	if receipt.Replayed {
		out.Replayed = "true"
	}
	return out, nil
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

// negotiate sends the two other forms of POST /v1/messages to their own readers.
func (a *API) negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/messages" {
			switch media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media {
			case "message/rfc822":
				a.sendRaw(w, r)
				return
			case "application/x-ndjson", "application/ndjson", "application/jsonl":
				a.sendBatch(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// sendRaw takes a whole message as the body.
func (a *API) sendRaw(w http.ResponseWriter, r *http.Request) {
	p, err := a.sender(r.Context(), r.Header.Get(AccountHeader))
	if err != nil {
		writeProblem(w, *a.problemOf(err))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.o.Submission.MaxSize()))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, *a.problemOf(&submission.Error{Kind: submission.TooLarge, Detail: "the message is larger than the limit"}))
		return
	case err != nil:
		writeProblem(w, *badRequest("body", "it ended early"))
		return
	}
	q := r.URL.Query()
	req := submission.Request{Raw: body, From: submission.Person{Email: q.Get("from")}}
	for _, to := range q["to"] {
		req.To = append(req.To, submission.Person{Email: to})
	}
	a.fill(r.Context(), &req, r.Header.Get("Idempotency-Key"), append([]byte(r.URL.RawQuery+"\n"), body...))
	receipt, err := a.o.Submission.Send(r.Context(), p, req)
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

// BatchLine is the answer to one line of a batch.
type BatchLine struct {
	Line    int      `json:"line"`
	Status  int      `json:"status"`
	Message *Sent    `json:"message,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// sendBatch takes one message per line and answers each line as soon as it is on disk, so that a client can resume
// after the last answer it got. An Idempotency-Key covers each line by its number.
func (a *API) sendBatch(w http.ResponseWriter, r *http.Request) {
	p, err := a.sender(r.Context(), r.Header.Get(AccountHeader))
	if err != nil {
		writeProblem(w, *a.problemOf(err))
		return
	}
	// Answers begin before the request has been read to its end.
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 has it anyway
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	out := json.NewEncoder(w)
	in := bufio.NewReaderSize(r.Body, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(in, a.bodyLimit())
		if errors.Is(err, io.EOF) {
			return
		}
		answer := BatchLine{Line: n, Status: http.StatusAccepted}
		if err != nil {
			answer.Problem = badRequest("body", "the line is too long, or the request ended early")
			answer.Status = answer.Problem.Status
			_ = out.Encode(answer)
			return
		}
		if len(line) == 0 {
			continue
		}
		a.batchLine(r, p, line, &answer)
		if out.Encode(answer) != nil {
			return
		}
		if in.Buffered() == 0 {
			_ = rc.Flush()
		}
	}
}

func (a *API) batchLine(r *http.Request, p platform.Principal, line []byte, answer *BatchLine) {
	fail := func(p *Problem) { answer.Problem, answer.Status = p, p.Status }
	var body SendBody
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		fail(jsonProblem(err))
		return
	}
	req := body.request()
	key := r.Header.Get("Idempotency-Key")
	if key != "" {
		key += "\x00line " + itoa(answer.Line)
	}
	a.fill(r.Context(), &req, key, line)
	receipt, err := a.o.Submission.Send(r.Context(), p, req)
	if err != nil {
		fail(a.problemOf(err))
		return
	}
	sent := sentOf(receipt)
	answer.Message = &sent
}

// jsonProblem says where a JSON document is wrong, without repeating what stands there.
func jsonProblem(err error) *Problem {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return badRequest("body", "it is not JSON, at octet "+itoa(int(syntax.Offset)))
	case errors.As(err, &typ):
		return badRequest(typ.Field, "want "+typ.Type.String()+", got "+typ.Value)
	case errors.Is(err, errPerson):
		return badRequest("body", errPerson.Error())
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badRequest(strings.Trim(name, `"`), "there is no such field")
	}
	return badRequest("body", "it is not a JSON message")
}

// readLine reads a line without its end, at most max octets of it.
func readLine(in *bufio.Reader, max int64) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if int64(len(line)+len(part)) > max {
			return nil, bufio.ErrTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSpace(line), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return bytes.TrimSpace(line), nil
		default:
			return nil, err
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
