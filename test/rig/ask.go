package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Secret is a password or key that was made by Apply.
type Secret struct {
	Where string `json:"where"`
	Login string `json:"login"`
	Value string `json:"value"`
}

// Apply makes the platform's state match a document, as `postroad apply` does.
func (p *Platform) Apply(ctx context.Context, state string) ([]Secret, error) {
	var report struct {
		Secrets []Secret `json:"secrets"`
	}
	b, err := p.client.Raw(ctx, http.MethodPut, "/v1/state", nil, "application/toml", []byte(state), nil)
	if err != nil {
		return nil, fmt.Errorf("rig: apply: %w", err)
	}
	if err := unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("rig: apply: %w", err)
	}
	return report.Secrets, nil
}

// Events calls fn with every event of the record, in commit order.
func (p *Platform) Events(ctx context.Context, fn func(*mail.Event) error) error {
	q := url.Values{"max": {"1000"}}
	for {
		var page struct {
			Events []*mail.Event `json:"events"`
			Next   string        `json:"next"`
		}
		if err := p.client.Do(ctx, http.MethodGet, "/v1/events", q, nil, &page); err != nil {
			return fmt.Errorf("rig: read events: %w", err)
		}
		if len(page.Events) == 0 {
			return nil
		}
		for _, e := range page.Events {
			if err := fn(e); err != nil {
				return err
			}
		}
		q.Set("cursor", page.Next)
	}
}

// Message is what GET /v1/messages/{id} answers: a message and where its deliveries stand.
type Message struct {
	mail.Message
	Deliveries []Delivery `json:"deliveries"`
}

// Delivery is where one delivery stands.
type Delivery struct {
	store.Delivery
	Why string `json:"why"`
}

// Message asks for a message.
func (p *Platform) Message(ctx context.Context, id mail.MessageID) (*Message, error) {
	m := new(Message)
	if err := p.client.Do(ctx, http.MethodGet, "/v1/messages/"+id.String(), url.Values{"max": {"1000"}}, nil, m); err != nil {
		return nil, fmt.Errorf("rig: read message %s: %w", id, err)
	}
	return m, nil
}

// Timeline asks for the events of a delivery.
func (p *Platform) Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error) {
	var out struct {
		Events []*mail.Event `json:"events"`
	}
	if err := p.client.Do(ctx, http.MethodGet, "/v1/deliveries/"+id.String()+"/events", nil, nil, &out); err != nil {
		return nil, fmt.Errorf("rig: read the timeline of %s: %w", id, err)
	}
	return out.Events, nil
}

// Metrics are the platform's figures by name with labels, as in `name{label="value"}`.
func (p *Platform) Metrics(ctx context.Context) (map[string]float64, error) {
	b, err := p.client.Raw(ctx, http.MethodGet, "/metrics", nil, "", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("rig: read metrics: %w", err)
	}
	out := make(map[string]float64)
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := s.Text()
		name, value, ok := cutLast(line, " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out, nil
}

// Settled waits until no delivery is live and the record holds everything.
func (p *Platform) Settled(ctx context.Context) error {
	last := "it did not tell"
	err := Poll(ctx, 50*time.Millisecond, func() bool {
		m, err := p.Metrics(ctx)
		if err != nil {
			return !p.Running()
		}
		live, lag := m[`postroad_spool_entries{kind="deliveries"}`], m["postroad_record_lag_events"]
		last = fmt.Sprintf("%.0f deliveries are live, %.0f events are not in the record", live, lag)
		return live == 0 && lag == 0
	})
	switch {
	case err != nil:
		return fmt.Errorf("rig: the platform does not come to rest: %s: %w", last, err)
	case !p.Running():
		return fmt.Errorf("rig: the platform ended\n%s", p.LogTail())
	}
	return nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func unmarshal(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read the answer %.200q: %w", b, err)
	}
	return nil
}

// For returns a client that acts for an account, as the operator may.
func (p *Platform) For(account string) (*client.Client, error) {
	return client.New(client.Options{Socket: p.socket(), Account: account})
}
