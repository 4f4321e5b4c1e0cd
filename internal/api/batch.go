package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

const ndjson = "application/x-ndjson"

// lineTimeout is how long a client may take over one line of a batch.
const lineTimeout = 5 * time.Minute

// BatchLine is the answer to one line of a batch.
type BatchLine struct {
	Line    int      `json:"line"`
	Status  int      `json:"status"`
	Message *Sent    `json:"message,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// batch is one request of many messages, a line each.
type batch struct {
	a   *API
	r   *http.Request
	rc  *http.ResponseController
	in  *bufio.Reader
	out *json.Encoder
	p   platform.Principal
	key string
}

// stopNudge is how often a batch is reminded of a stop.
const stopNudge = 50 * time.Millisecond

// sendBatch takes one JSON message per line and answers each with a line, as it comes.
func (a *API) sendBatch(w http.ResponseWriter, r *http.Request) {
	p, err := a.sender(r.Context())
	if err != nil {
		writeProblem(w, *a.problemOf(err))
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > submission.MaxIdempotencyKey {
		writeProblem(w, *badRequest("Idempotency-Key", "it is too long"))
		return
	}
	b := &batch{
		a: a, r: r, rc: http.NewResponseController(w), in: bufio.NewReaderSize(r.Body, 64<<10), out: json.NewEncoder(w), p: p, key: key,
	}
	// Answers begin before the request has been read to its end; HTTP/2 has it anyway.
	_ = b.rc.EnableFullDuplex()
	w.Header().Set("Content-Type", ndjson)
	w.WriteHeader(http.StatusOK)
	_ = b.rc.Flush()
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-a.o.Stopping:
		case <-over:
			return
		}
		// Wakes a read that waits for the client; again and again, for others set the connection's deadline too.
		again := time.NewTicker(stopNudge)
		defer again.Stop()
		for {
			_ = b.rc.SetReadDeadline(time.Unix(1, 0))
			select {
			case <-again.C:
			case <-over:
				return
			}
		}
	}()
	b.run()
	close(over)
	<-watched
	if a.stopping() {
		// The last line's deadline may be later than the wake: the server would wait so long for the rest of the body.
		_ = b.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (b *batch) run() {
	for n := 1; ; n++ {
		line, release, err := b.read()
		if errors.Is(err, io.EOF) {
			return
		}
		answer := BatchLine{Line: n, Status: http.StatusAccepted}
		switch {
		case err != nil:
			answer.Problem = b.readProblem(err)
		case len(line) == 0:
			release()
			continue
		default:
			answer.Message, answer.Problem = b.take(n, line)
			release()
		}
		if answer.Problem != nil {
			answer.Status = answer.Problem.Status
		}
		if b.out.Encode(answer) != nil || err != nil {
			return
		}
		if b.in.Buffered() == 0 {
			_ = b.rc.Flush()
		}
	}
}

// read reads the next line. Where it is long it waits for room in memory, which release gives back.
func (b *batch) read() (line []byte, release func(), err error) {
	if b.in.Buffered() == 0 {
		_ = b.rc.SetReadDeadline(time.Now().Add(lineTimeout))
	}
	if b.a.stopping() {
		return nil, nil, os.ErrDeadlineExceeded
	}
	release = func() {}
	limit := b.a.bodyLimit()
	line, err = readLine(b.in, limit, func() error {
		var err error
		release, err = b.a.room(b.r.Context(), limit)
		return err
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return line, release, nil
}

// readProblem says why no further line was read.
func (b *batch) readProblem(err error) *Problem {
	var sub *submission.Error
	switch {
	case errors.As(err, &sub):
		return b.a.problemOf(err)
	case b.a.stopping():
		return &Problem{Type: typeOf(string(submission.Unavailable)), Title: "The platform is stopping", Status: http.StatusServiceUnavailable, Detail: "this line and those after it were not taken; send them again", after: 5}
	case errors.Is(err, bufio.ErrTooLong):
		return b.a.problemOf(&submission.Error{Kind: submission.TooLarge, Detail: "the line is longer than a message may be; it and those after it were not taken"})
	}
	return badRequest("body", "it ended early, or took too long; this line and those after it were not taken")
}

// take accepts the message of one line.
func (b *batch) take(n int, line []byte) (*Sent, *Problem) {
	body, problem := b.a.decode(line)
	if problem != nil {
		return nil, problem
	}
	req := body.request()
	b.a.fill(b.r.Context(), &req, b.key, line)
	req.Part = n
	receipt, err := b.a.o.Submission.Send(b.r.Context(), b.p, req)
	if err != nil {
		return nil, b.a.sendProblem(err, &req)
	}
	sent := sentOf(receipt)
	return &sent, nil
}

// decode reads a message in JSON and holds it against the same schema as the body of a request of one message.
func (a *API) decode(doc []byte) (SendBody, *Problem) {
	var any any
	if err := json.Unmarshal(doc, &any); err != nil {
		return SendBody{}, badRequest("body", "it is not a JSON object")
	}
	res := huma.ValidateResult{}
	huma.Validate(a.huma.OpenAPI().Components.Schemas, a.sendSchema, huma.NewPathBuffer(make([]byte, 0, 64), 0), huma.ModeWriteToServer, any, &res)
	var list []*huma.ErrorDetail
	for _, err := range res.Errors {
		var d *huma.ErrorDetail
		if errors.As(err, &d) {
			list = append(list, d)
		}
	}
	var body SendBody
	if len(list) == 0 {
		if err := json.Unmarshal(doc, &body); err != nil {
			list = append(list, &huma.ErrorDetail{Location: "body", Message: err.Error(), Value: string(doc)})
		}
	}
	if len(list) > 0 {
		wrong := fieldProblems(list)
		return SendBody{}, &Problem{
			Type: typeOf(string(submission.BadRequest)), Title: kinds[submission.BadRequest].title, Status: http.StatusUnprocessableEntity,
			Detail: summary(wrong), Errors: wrong,
		}
	}
	return body, nil
}

// longLine is from where a line has to wait for room in memory, in octets.
const longLine = 1 << 20

// readLine reads a line without its end, at most max octets of it. room is called once, for a line over longLine.
func readLine(in *bufio.Reader, max int64, room func() error) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if int64(len(line)+len(part)) > max {
			return nil, bufio.ErrTooLong
		}
		if before := len(line); before <= longLine && before+len(part) > longLine {
			if err := room(); err != nil {
				return nil, err
			}
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
