package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const marker = "MARKER-s3cret"

func TestSend(t *testing.T) {
	g := newRig(t, nil)
	for name, body := range map[string]string{
		"one text":       `{"from":"info@shop.example","to":"you@example.com","text":"x"}`,
		"named":          `{"from":"The Shop <info@shop.example>","to":"You <you@example.com>","text":"x"}`,
		"objects":        `{"from":{"email":"info@shop.example","name":"The Shop"},"to":{"email":"you@example.com"},"text":"x"}`,
		"lists":          `{"from":"info@shop.example","to":["you@example.com",{"email":"me@example.com","name":"Me"}],"cc":"c@example.com","bcc":["b@example.com"],"html":"<p>x"}`,
		"private copies": `{"from":"info@shop.example","recipients":["a@example.com","b@example.com"],"text":"x","reply_to":"help@shop.example"}`,
		"everything": `{"from":"info@shop.example","to":"you@example.com","subject":"Zürich ✓","text":"x","html":"<img src=cid:a>","attachments":[
			{"filename":"a.txt","content":"aGVsbG8="},{"filename":"a.png","content":"aGVsbG8=","content_id":"a"}],"headers":{"X-Order":"12"},
			"tags":["a"],"metadata":{"order":"12"},"stream":"bulk","send_at":"2026-01-01T00:00:00Z","require_tls":true}`,
		"raw": `{"raw":"` + base64.StdEncoding.EncodeToString([]byte("From: info@shop.example\nTo: you@example.com\n\nx\n")) + `"}`,
	} {
		a := g.do(shopKey, http.MethodPost, "/v1/messages", body)
		var s Sent
		if err := json.Unmarshal(a.body, &s); err != nil || a.status != http.StatusAccepted || s.Count == 0 || s.Count != len(s.Recipients) ||
			a.header.Get("Location") != "/v1/messages/"+s.ID.String() || a.header.Get(ReplayedHeader) != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// A client reads its own writes: right after the 202 the message is there, whole.
func TestReadYourWrites(t *testing.T) {
	g := newRig(t, nil)
	g.hasty = true
	n := 200
	if testing.Short() {
		n = 50
	}
	for i := range n {
		s := g.send(shopKey, fmt.Sprintf(`{"from":"info@shop.example","recipients":["a%d@example.com","b%d@example.com"],"subject":"no. %d","text":"x"}`, i, i, i))
		var m struct {
			ID         string
			Subject    string
			Content    any
			Deliveries []struct{ ID, State, Recipient, Why string }
		}
		g.get(shopKey, "/v1/messages/"+s.ID.String(), &m)
		if m.ID != s.ID.String() || m.Subject != fmt.Sprintf("no. %d", i) || len(m.Deliveries) != 2 || m.Deliveries[0].State != "queued" || m.Content != nil {
			t.Fatalf("message %d: %+v", i, m)
		}
		var d struct{ State, Recipient string }
		g.get(shopKey, "/v1/deliveries/"+s.Recipients[0].Delivery.String(), &d)
		if d.State != "queued" || !strings.HasSuffix(d.Recipient, "@example.com") {
			t.Fatalf("delivery of message %d: %+v", i, d)
		}
	}
}

// Whatever is wrong is named, and what was written is never repeated: it may be a password, or somebody's letter.
func TestProblemsNameTheFieldAndKeepTheValue(t *testing.T) {
	g := newRig(t, nil)
	before := g.spool.Counts()
	message := func(field, value string) string {
		m := map[string]json.RawMessage{
			"from": json.RawMessage(`"info@shop.example"`), "to": json.RawMessage(`"you@example.com"`), "text": json.RawMessage(`"x"`),
		}
		m[field] = json.RawMessage(value)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	quoted, crlf := `"`+marker+`"`, `"`+marker+`\r\nBcc: x@example.com"`
	for _, tt := range []struct {
		field, value string
		status       int
		kind         string
		want         string // the field in the answer; "": field
	}{
		{"from", quoted, 422, "bad-address", ""},
		{"from", `"` + marker + `@rival.example"`, 403, "sender-not-allowed", "envelope sender"},
		{"from", `["` + marker + `"]`, 422, "bad-request", ""},
		{"from", `{"email":"info@shop.example","nmae":"` + marker + `"}`, 422, "bad-request", ""},
		{"from", `{"name":` + quoted + `}`, 422, "bad-request", ""},
		{"from", `{"email":"info@shop.example","name":` + crlf + `}`, 422, "bad-content", "from.name"},
		{"to", quoted, 422, "bad-address", "to[0]"},
		{"to", crlf, 422, "bad-address", "to[0]"},
		{"to", `"` + marker + `\u0000@example.com"`, 422, "bad-address", "to[0]"},
		{"to", `["a@example.com","` + marker + `@"]`, 422, "bad-address", "to[1]"},
		{"to", `12345`, 422, "bad-request", ""},
		{"to", `[["` + marker + `"]]`, 422, "bad-request", ""},
		{"cc", `"` + marker + `@a@b"`, 422, "bad-address", "cc[0]"},
		{"bcc", quoted, 422, "bad-address", "bcc[0]"},
		{"reply_to", quoted, 422, "bad-address", "reply_to[0]"},
		{"recipients", quoted, 422, "bad-request", ""},
		{"subject", crlf, 422, "bad-content", ""},
		{"subject", `["` + marker + `"]`, 422, "bad-request", ""},
		{"text", `{"x":"` + marker + `"}`, 422, "bad-request", ""},
		{"text", `"` + marker + `\u0000"`, 422, "bad-content", ""},
		{"html", `12345678901`, 422, "bad-request", ""},
		{"attachments", quoted, 422, "bad-request", ""},
		{"attachments", `[{"filename":"a","content":"*` + marker + `*"}]`, 422, "bad-request", "attachments[0].content"},
		{"attachments", `[{"filename":"a","content":"` + "AAAAA" + `"}]`, 422, "bad-request", "attachments[0].content"},
		{"attachments", `[{"filename":` + crlf + `,"content":"AAAA"}]`, 422, "bad-content", "attachments[0].filename"},
		{"attachments", `[{"filename":"a","content":"AAAA","content_type":` + crlf + `}]`, 422, "bad-content", "attachments[0].content_type"},
		{"headers", `{"X-A":` + crlf + `}`, 422, "bad-content", "headers.X-A"},
		{"headers", `{"Bcc":` + quoted + `}`, 422, "bad-content", "headers.Bcc"},
		{"headers", `{"From":` + quoted + `}`, 422, "bad-content", "headers.From"},
		{"headers", `[` + quoted + `]`, 422, "bad-request", ""},
		{"raw", `"*` + marker + `*"`, 422, "bad-request", ""},
		{"raw", quoted, 422, "bad-request", ""},
		{"tags", `["` + marker + `,x"]`, 422, "bad-content", ""},
		{"tags", `{"a":` + quoted + `}`, 422, "bad-request", ""},
		{"metadata", `{"order":"` + marker + `\n"}`, 422, "bad-content", ""},
		{"metadata", `{"order":["` + marker + `"]}`, 422, "bad-request", "metadata.order"},
		{"stream", quoted, 422, "bad-request", ""},
		{"send_at", quoted, 422, "bad-request", ""},
		{"send_at", `"2099-01-01T00:00:00Z"`, 422, "bad-request", ""},
		{"expires_at", `"yesterday ` + marker + `"`, 422, "bad-request", ""},
		{"expires_at", `"2020-01-01T00:00:00Z"`, 422, "bad-request", ""},
		{"require_tls", quoted, 422, "bad-request", ""},
		{"sbuject", quoted, 422, "bad-request", ""},
	} {
		for _, media := range []string{"application/json", ndjson} {
			body := message(tt.field, tt.value)
			a := g.do(shopKey, http.MethodPost, "/v1/messages", body, "Content-Type", media)
			var p Problem
			if media == ndjson {
				var line BatchLine
				if err := json.Unmarshal(a.body, &line); err != nil || line.Problem == nil || line.Status != line.Problem.Status || line.Message != nil {
					t.Errorf("%s: %s", body, a.body)
					continue
				}
				p = *line.Problem
			} else {
				p = a.problem(t)
			}
			want := tt.want
			if want == "" {
				want = tt.field
			}
			named := false
			for _, f := range p.Errors {
				named = named || f.Field == want || strings.HasPrefix(f.Field, want+"[") || strings.HasPrefix(f.Field, want+".")
			}
			if p.Status != tt.status || p.kind() != tt.kind || !named {
				t.Errorf("%s: %s: %d %s; want %d %s of %s", media, body, p.Status, a.body, tt.status, tt.kind, want)
			}
			if strings.Contains(string(a.body), marker) || strings.Contains(string(a.body), "12345") {
				t.Errorf("%s: %s: the answer repeats the value: %s", media, body, a.body)
			}
		}
	}
	for _, tt := range []struct {
		name, body string
		header     []string
		status     int
		kind       string
	}{
		{"no JSON", marker, nil, 400, "bad-request"},
		{"cut off", `{"from":"` + marker, nil, 400, "bad-request"},
		{"two documents", goodBody + goodBody, nil, 400, "bad-request"},
		{"something behind", goodBody + marker, nil, 400, "bad-request"},
		{"a list", `["` + marker + `"]`, nil, 422, "bad-request"},
		{"null", `null`, nil, 422, "bad-request"},
		{"empty", ``, nil, 400, "bad-request"},
		{"empty object", `{}`, nil, 422, "bad-request"},
		{"too deep", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), nil, 400, "bad-request"},
		{"a deep address", `{"to":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, nil, 422, "bad-request"},
		{"not UTF-8", "{\"from\":\"info@shop.example\",\"to\":\"you@example.com\",\"subject\":\"\xff\",\"text\":\"x\x00\"}", nil, 400, "bad-request"},
		{"another media type", goodBody, []string{"Content-Type", "application/xml"}, 415, "media-type"},
		{"key too long", goodBody, []string{"Idempotency-Key", strings.Repeat("k", 257)}, 422, "bad-request"},
		{"key too long, batch", goodBody, []string{"Idempotency-Key", strings.Repeat("k", 257), "Content-Type", ndjson}, 400, "bad-request"},
		{"key too long, raw", goodBody, []string{"Idempotency-Key", strings.Repeat("k", 257), "Content-Type", "message/rfc822"}, 422, "bad-request"},
		{"too large", `{"text":"` + strings.Repeat("x", 7<<20) + `"}`, nil, 413, "too-large"},
		{"too large, raw", strings.Repeat("x", 5<<20), []string{"Content-Type", "message/rfc822"}, 413, "too-large"},
		{"message too large", `{"from":"info@shop.example","to":"you@example.com","text":"` + strings.Repeat("x\\n", 3<<19) + `","html":"` + strings.Repeat("x\\n", 1<<19) + `"}`, nil, 413, "too-large"},
		{"raw: no From", "To: you@example.com\r\nSubject: " + marker + "\r\n\r\nx", []string{"Content-Type", "message/rfc822"}, 422, "bad-content"},
		{"raw: nothing", "", []string{"Content-Type", "message/rfc822"}, 422, "no-recipients"},
	} {
		a := g.do(shopKey, http.MethodPost, "/v1/messages", tt.body, tt.header...)
		if p := a.problem(t); p.Status != tt.status || p.kind() != tt.kind || strings.Contains(string(a.body), marker) {
			t.Errorf("%s: %d %.500s; want %d %s", tt.name, a.status, a.body, tt.status, tt.kind)
		}
	}
	if after := g.spool.Counts(); after != before {
		t.Errorf("bad input left a trace in the spool: %+v, before %+v", after, before)
	}
	var found struct{ Deliveries []any }
	if g.get(adminKey, "/v1/messages", &found); len(found.Deliveries) != 0 {
		t.Errorf("bad input left a trace in the record: %v", found)
	}
}

func TestWrongParameters(t *testing.T) {
	g := newRig(t, nil)
	for _, path := range []string{
		"/v1/messages?max=" + marker, "/v1/messages?max=0", "/v1/messages?max=1001", "/v1/messages?from=" + marker, "/v1/messages?stream=" + marker,
		"/v1/messages?cursor=" + marker, "/v1/events?cursor=" + marker, "/v1/events?wait=99", "/v1/events?wait=" + marker, "/v1/events?tail=" + marker,
		"/v1/stats?of=" + marker, "/v1/stats?step=" + marker, "/v1/stats?by=" + marker, "/v1/messages/" + marker, "/v1/messages/" + marker + "/events",
		"/v1/deliveries/" + marker, "/v1/deliveries/" + marker + "/events", "/v1/queues/deliveries?message=" + marker, "/v1/queues/deliveries?cursor=" + marker,
	} {
		a := g.do(adminKey, http.MethodGet, path, "")
		if p := a.problem(t); a.status != 400 && a.status != 422 || p.kind() != "bad-request" || strings.Contains(string(a.body), marker) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, body := range []string{`{"filter":{"delivery":"` + marker + `"}}`, `{"filter":{"recipient":"` + marker + `"}}`, `{"filter":{"stream":"` + marker + `"}}`, `{"filter":{}}`, `{}`} {
		a := g.do(adminKey, http.MethodPost, "/v1/queues/cancel", body)
		if p := a.problem(t); a.status != 400 && a.status != 422 || p.kind() != "bad-request" || strings.Contains(string(a.body), marker) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	g := newRig(t, nil)
	raw := "From: info@shop.example\r\nTo: you@example.com\r\n\r\nx\r\n"
	for _, tt := range []struct{ media, body, other, path string }{
		{"application/json", goodBody, strings.Replace(goodBody, "Hello", "Other", 1), "/v1/messages"},
		{"message/rfc822", raw, raw + "y\r\n", "/v1/messages?to=a@example.com"},
		{ndjson, goodBody + "\n", strings.Replace(goodBody, "Hello", "Other", 1) + "\n", "/v1/messages"},
	} {
		post := func(key, path, body string) answer {
			return g.do(shopKey, http.MethodPost, path, body, "Content-Type", tt.media, "Idempotency-Key", key)
		}
		first, second := post("k-"+tt.media, tt.path, tt.body), post("k-"+tt.media, tt.path, tt.body)
		if string(first.body) != string(second.body) || first.status != second.status || first.status > 299 {
			t.Errorf("%s: %d %s, then %d %s", tt.media, first.status, first.body, second.status, second.body)
		}
		if tt.media != ndjson && (first.header.Get(ReplayedHeader) != "" || second.header.Get(ReplayedHeader) != "true" || second.header.Get("Location") != first.header.Get("Location")) {
			t.Errorf("%s: headers %v, then %v", tt.media, first.header, second.header)
		}
		third := post("k-"+tt.media, tt.path, tt.other)
		if tt.media == ndjson {
			if !strings.Contains(string(third.body), `"status":422`) || !strings.Contains(string(third.body), "key-reused") {
				t.Errorf("%s: %s", tt.media, third.body)
			}
		} else if p := third.problem(t); p.Status != 422 || p.kind() != "key-reused" {
			t.Errorf("%s: %d %s", tt.media, third.status, third.body)
		}
		if tt.media == "message/rfc822" {
			if p := post("k-"+tt.media, "/v1/messages?to=b@example.com", tt.body).problem(t); p.kind() != "key-reused" {
				t.Errorf("another envelope is the same request: %+v", p)
			}
		}
		if other := post("other-"+tt.media, tt.path, tt.body); string(other.body) == string(first.body) {
			t.Errorf("%s: another key got the same answer", tt.media)
		}
	}
}

// Two lines of a batch that say the same are two messages, and stay two when the batch is sent again.
func TestIdempotencyKeyOfABatch(t *testing.T) {
	g := newRig(t, nil)
	twice := goodBody + "\n" + goodBody + "\n"
	first := g.do(shopKey, http.MethodPost, "/v1/messages", twice, "Content-Type", ndjson, "Idempotency-Key", "k")
	again := g.do(shopKey, http.MethodPost, "/v1/messages", twice+goodBody, "Content-Type", ndjson, "Idempotency-Key", "k")
	lines := strings.SplitAfter(string(again.body), "\n")
	if !strings.HasPrefix(string(again.body), string(first.body)) || lines[0] == lines[1] || len(lines) != 4 {
		t.Errorf("first %s\nagain %s", first.body, again.body)
	}
	if n := g.spool.Counts().Messages; n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

func TestActingForAnAccount(t *testing.T) {
	g := newRig(t, nil)
	for _, media := range []string{"application/json", "message/rfc822", ndjson} {
		body := goodBody
		if media == "message/rfc822" {
			body = "From: info@shop.example\r\nTo: you@example.com\r\n\r\nx\r\n"
		}
		for _, tt := range []struct {
			key, account string
			status       int
		}{
			{adminKey, "shop", 202},
			{adminKey, "rival", 403}, // it may act for rival, but rival may not write as shop
			{adminKey, "nobody", 404},
			{adminKey, "paused", 403},
			{adminKey, "", 403}, // its own account has no sender, and the credential no scope to send
			{shopKey, "shop", 202},
			{shopKey, "rival", 403},
			{shopKey, "nobody", 403},
			{readKey, "", 403},
			{sendKey, "", 202},
			{rivalKey, "", 403},
			{pausedKey, "", 403},
		} {
			a := g.do(tt.key, http.MethodPost, "/v1/messages", body, "Content-Type", media, AccountHeader, tt.account)
			status := a.status
			if media == ndjson && status == 200 {
				var line BatchLine
				if err := json.Unmarshal(a.body, &line); err != nil {
					t.Fatal(err)
				}
				status = line.Status
			}
			if status != tt.status {
				t.Errorf("%s, key %.8s for %q: %d %s, want %d", media, tt.key, tt.account, status, a.body, tt.status)
			}
		}
	}
}

// Large requests wait for room in memory, and are told to come again where there is none; small ones pass.
func TestLargeRequestsAreBounded(t *testing.T) {
	g := newRig(t, nil)
	if !g.api.large.TryAcquire(largeRequests * g.api.bodyLimit()) {
		t.Fatal("no room at all")
	}
	large := strings.Replace(goodBody, "It works.", strings.Repeat("x\\n", 200<<10), 1)
	raw := "From: info@shop.example\r\nTo: you@example.com\r\n\r\n" + strings.Repeat("x\r\n", 200<<10)
	g.send(shopKey, goodBody)
	full := func(media, body string, length bool) answer {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if !length {
			r.ContentLength = -1
		}
		r.RemoteAddr = "192.0.2.1:5"
		r.Header.Set("Authorization", "Bearer "+shopKey)
		r.Header.Set("Content-Type", media)
		w := httptest.NewRecorder()
		cancel() // nobody waits for room
		g.api.Handler().ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.Bytes()}
	}
	for _, length := range []bool{true, false} {
		for media, body := range map[string]string{"application/json": large, "message/rfc822": raw} {
			if a := full(media, body, length); a.status < 500 || a.problem(t).kind() != "unavailable" {
				t.Errorf("%s, length known %v: %d %s", media, length, a.status, a.body)
			}
		}
	}
	g.api.large.Release(largeRequests * g.api.bodyLimit())
	g.send(shopKey, large)
	g.send(shopKey, raw, "Content-Type", "message/rfc822")
	if !g.api.large.TryAcquire(largeRequests * g.api.bodyLimit()) {
		t.Error("room was not given back")
	}
}
