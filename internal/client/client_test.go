package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and returns a client of it.
func serve(t *testing.T, o Options, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o.URL = s.URL + "/"
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestDo(t *testing.T) {
	c := serve(t, Options{Key: "pr_x", Account: "shop"}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer pr_x" || r.Header.Get("Postroad-Account") != "shop" || r.URL.String() != "/v1/x?a=b+c" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		_, _ = w.Write([]byte(`{"n":1}`))
	})
	var out struct{ N int }
	if err := c.Do(t.Context(), http.MethodPost, "/v1/x", url.Values{"a": {"b c"}}, map[string]int{"m": 2}, &out); err != nil || out.N != 1 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{422, `{"title":"Not valid","status":422,"detail":"it is too long","errors":[{"field":"to[0]","detail":"it is too long"}]}`, "Not valid: to[0]: it is too long"},
		{422, `{"title":"Not valid","status":422,"detail":"a: x; and 1 more in errors","errors":[{"field":"a","detail":"x"},{"field":"b","detail":"y"}]}`, "Not valid\n  a: x\n  b: y"},
		{422, `{"title":"Not valid","status":422,"detail":"validation failed","errors":[{"field":"a","detail":"x"},{"field":"b","detail":"y"}]}`, "Not valid: validation failed\n  a: x\n  b: y"},
		{404, `{"title":"Not found","status":404}`, "Not found"},
		{502, `<html>proxy</html>`, "502 Bad Gateway"},
		{500, ``, "500 Internal Server Error"},
	} {
		c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		})
		err := c.Do(t.Context(), http.MethodGet, "/", nil, nil, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Status != tt.status || p.Error() != tt.want {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("not JSON")) })
	if err := c.Do(t.Context(), http.MethodGet, "/x", nil, nil, &struct{}{}); err == nil || !strings.Contains(err.Error(), "/x") {
		t.Errorf("%v", err)
	}
}

// TestBehind: what is not recorded yet is asked for again, a change is not.
func TestBehind(t *testing.T) {
	var asked atomic.Int64
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"type":"https://postroad.dev/problems/not-recorded-yet","title":"Not recorded yet","status":503}`))
			return
		}
		_, _ = w.Write([]byte(`{"n":2}`))
	})
	var out struct{ N int }
	if err := c.Do(t.Context(), http.MethodGet, "/v1/x", nil, nil, &out); err != nil || out.N != 2 || asked.Load() != 2 {
		t.Errorf("%+v, %v, asked %d times", out, err, asked.Load())
	}
	asked.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Do(ctx, http.MethodGet, "/v1/x", nil, nil, &out); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked until the end of time: %v", err)
	}
	asked.Store(0)
	var p *Problem
	if err := c.Do(t.Context(), http.MethodPost, "/v1/x", nil, map[string]int{}, nil); !errors.As(err, &p) || asked.Load() != 1 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

func TestUnreachable(t *testing.T) {
	c, err := New(Options{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), http.MethodGet, "/", nil, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, http.MethodGet, "/", nil, nil, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
	for _, o := range []Options{{}, {URL: "nonsense"}, {URL: "ftp://x"}, {URL: "http://"}, {URL: "http://[::1"}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) = nil", o)
		}
	}
}

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ok":true}`)) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })

	found, err := Discover(t.Context(), dir, "http://127.0.0.1:1")
	if err != nil || found != socket {
		t.Fatalf("%q, %v", found, err)
	}
	c, err := New(Options{Socket: found})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := c.Raw(t.Context(), http.MethodPut, "/v1/state", nil, "application/toml", []byte("x"), http.Header{"X-A": {"b"}})
	if err != nil || string(b) != `{"ok":true}` {
		t.Errorf("%s, %v", b, err)
	}

	for body, want := range map[string]string{
		`{"product":"postroad","admin_socket":"` + socket + `"}`: "",
		`{"product":"postroad"}`:                                 "--url",
		`{"product":"postroad","admin_socket":"/nowhere/s"}`:     "--url",
		`{"product":"other"}`:                                    "not Postroad",
		`hello`:                                                  "not Postroad",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		found, err := Discover(t.Context(), t.TempDir(), s.URL)
		s.Close()
		if want == "" && (err != nil || found != socket) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v, want %q", body, found, err, want)
		}
	}
	if _, err := Discover(t.Context(), t.TempDir(), "http://127.0.0.1:1"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
