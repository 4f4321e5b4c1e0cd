package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Bounds of what the log keeps.
const (
	maxLoggedBody  = 64 << 10 // of a request's body, in octets
	maxErrorText   = 500      // of an error's text, in octets
	maxHeaderValue = 1 << 10  // of one header value of an answer, in octets
	maxHeaders     = 50       // header fields of an answer
)

// request is one event on its way to one webhook.
type request struct {
	hook  *platform.Webhook
	kind  store.WebhookKind
	event string // webhook-id
	typ   mail.EventType
	n     int
	body  []byte
	mark  [2]string // a header field besides; "": none
}

// errAborted is the cause of a request that was broken off because the platform stops: no fault of the receiver.
var errAborted = errors.New("webhook: the platform stops")

// send makes one attempt and returns what is to be logged of it, and how long the receiver asked to be left alone. A ctx
// that ends leaves it StopGrace to finish; then ok is false and nothing is known.
func (s *Service) send(ctx context.Context, r request) (a *store.WebhookAttempt, after time.Duration, ok bool) {
	now := time.Now()
	a = &store.WebhookAttempt{
		Webhook: r.hook.ID, Kind: r.kind, Event: r.event, Type: r.typ, N: r.n, At: now.UTC().Truncate(time.Microsecond), URL: r.hook.URL,
		RequestBody: strings.ToValidUTF8(string(r.body[:min(len(r.body), maxLoggedBody)]), "\uFFFD"),
	}
	// One deadline for the header, and the stop of the platform.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	deadline := time.AfterFunc(s.o.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer deadline.Stop()
	defer context.AfterFunc(ctx, func() {
		grace := time.AfterFunc(s.o.StopGrace, func() { cancel(errAborted) })
		context.AfterFunc(work, func() { grace.Stop() })
	})()

	resp, err := s.post(work, &r, now, a)
	if err != nil {
		a.Took = time.Since(now)
		if cause := context.Cause(work); cause != nil {
			err = cause
		}
		if errors.Is(err, errAborted) {
			return nil, 0, false
		}
		a.Error = cut(explain(err, s.o.Timeout), maxErrorText)
		return a, 0, true
	}
	deadline.Reset(bodyWait)
	s.answer(resp, a)
	a.Took = time.Since(now)
	if !a.Taken && asksForPause(a.Status) {
		after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return a, after, true
}

// post signs and sends the request.
func (s *Service) post(ctx context.Context, r *request, now time.Time, a *store.WebhookAttempt) (*http.Response, error) {
	secrets, err := s.secrets(r.hook, now)
	if err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.hook.URL, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if q.URL.Scheme != "https" && !s.o.AllowHTTP {
		return nil, errors.New("not connected: events are sent over https only")
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", s.o.UserAgent)
	q.Header.Set(headerID, r.event)
	q.Header.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	q.Header.Set(headerSignature, Signature(secrets, r.event, now, r.body))
	if r.mark[0] != "" {
		q.Header.Set(r.mark[0], r.mark[1])
	}
	a.RequestHeader = q.Header.Clone()
	return s.client.Do(q)
}

// secrets opens the secrets that sign at a time, the newest first.
func (s *Service) secrets(w *platform.Webhook, now time.Time) (list [][]byte, err error) {
	for i := range w.Keys {
		k := &w.Keys[i]
		if !k.Expires.IsZero() && !now.Before(k.Expires) {
			continue
		}
		secret, openErr := s.o.Secret(w, k)
		if openErr != nil {
			err = openErr
			continue
		}
		list = append(list, secret)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("not sent: no secret to sign with: %w", err)
	}
	return list, nil
}

// answer reads what is kept of an answer. The status alone says whether the event was taken.
func (s *Service) answer(resp *http.Response, a *store.WebhookAttempt) {
	defer resp.Body.Close()
	a.Status = resp.StatusCode
	a.Taken = a.Status >= 200 && a.Status <= 299
	if !a.Taken {
		a.Error = "answered " + strconv.Itoa(a.Status)
		if a.Status >= 300 && a.Status <= 399 {
			a.Error += "; redirects are not followed"
		}
	}
	a.ResponseHeader = keptHeader(resp.Header)
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a.Cut = len(b) > maxAnswer || err != nil
	a.ResponseBody = strings.ToValidUTF8(string(b[:min(len(b), maxAnswer)]), "\uFFFD")
}

// keptHeader is what the log keeps of an answer's header: no cookies, and everything bounded.
func keptHeader(h http.Header) http.Header {
	kept := http.Header{}
	n := 0
	for name, values := range h {
		if name == "Set-Cookie" {
			continue
		}
		for _, v := range values {
			if n++; n > maxHeaders {
				return kept
			}
			kept[name] = append(kept[name], cut(strings.ToValidUTF8(v, "\uFFFD"), maxHeaderValue))
		}
	}
	return kept
}

// cut shortens text to at most max octets, at the begin of a character.
func cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	return strings.ToValidUTF8(text[:max], "") + "…"
}
