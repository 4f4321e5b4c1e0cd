package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options say how to reach a platform.
type Options struct {
	// URL of the API, such as http://127.0.0.1:2080. With Key it is enough.
	URL string
	Key string
	// Socket is the path of an admin socket; it needs no key.
	Socket string
	// Account is the account an operator acts for; "": the key's own.
	Account string
}

// Client speaks to one platform.
type Client struct {
	o    Options
	base string
	http *http.Client
}

// Problem is an error the platform answered with (RFC 9457).
type Problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail"`
	Errors []FieldProblem `json:"errors"`
}

// FieldProblem is what is wrong with one field.
type FieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error implements error: the title, the detail, and every field on a line of its own; one field alone, whose trouble
// is the detail, stands before it.
func (p *Problem) Error() string {
	if len(p.Errors) == 1 && strings.HasSuffix(p.Detail, p.Errors[0].Detail) {
		return p.Title + ": " + p.Errors[0].Field + ": " + p.Errors[0].Detail
	}
	s := p.Title
	if p.Detail != "" && !(len(p.Errors) > 1 && strings.HasPrefix(p.Detail, p.Errors[0].Field+": "+p.Errors[0].Detail)) {
		s += ": " + p.Detail
	}
	for _, f := range p.Errors {
		s += "\n  " + f.Field + ": " + f.Detail
	}
	return s
}

// maxBehind is how long a question is asked again while the platform's record is behind what it has accepted.
const maxBehind = 30 * time.Second

// ErrUnreachable is wrapped where no platform answers.
var ErrUnreachable = errors.New("no platform answers")

// New makes a client; it connects to nothing yet.
func New(o Options) (*Client, error) {
	// Connections of its own, so that Close closes nobody else's.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &Client{o: o, http: &http.Client{Transport: transport}}
	switch {
	case o.Socket != "":
		c.base = "http://admin"
		var d net.Dialer
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", o.Socket)
		}
	case o.URL != "":
		u, err := url.Parse(o.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, fmt.Errorf("client: %q is not an http or https address", o.URL)
		}
		c.base = strings.TrimSuffix(o.URL, "/")
	default:
		return nil, errors.New("client: neither an address nor an admin socket was given")
	}
	return c, nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Discover finds the admin socket of a platform on this machine: in its data folder, or by asking a listener on
// loopback ("": none) where it is. The socket's file permissions decide who may use it.
func Discover(ctx context.Context, data, loopback string) (string, error) {
	if data != "" {
		if socket := filepath.Join(data, "admin.sock"); exists(socket) {
			return filepath.Abs(socket)
		}
	}
	if loopback == "" {
		return "", fmt.Errorf("client: %w: there is no admin socket in %s; start one with postroad serve, or name another with --data or --url", ErrUnreachable, data)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // where nothing listens the answer comes at once
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(loopback, "/")+"/.well-known/postroad", nil)
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	r.Close = true // one question
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("client: %w: there is no admin socket in %s, and nothing listens at %s", ErrUnreachable, data, loopback)
	}
	defer resp.Body.Close()
	var info struct {
		Product     string `json:"product"`
		AdminSocket string `json:"admin_socket"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&info); err != nil || info.Product != "postroad" {
		return "", fmt.Errorf("client: what answers at %s is not Postroad", loopback)
	}
	if info.AdminSocket == "" || !exists(info.AdminSocket) {
		return "", fmt.Errorf("client: the platform at %s has no admin socket here; use --url and an API key", loopback)
	}
	return info.AdminSocket, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Do makes a request with a JSON body (nil: none) and reads the JSON answer into out (nil: dropped). An error the
// platform answered with is a *Problem. What the platform has accepted and not recorded yet is asked for again, as its
// answer says, for half a minute; so do the others that read.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, query, "application/json", body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	if err != nil {
		return fmt.Errorf("client: read the answer of %s %s: %w", method, path, err)
	}
	return nil
}

// Raw makes a request with a body of any type and returns the whole answer.
func (c *Client) Raw(ctx context.Context, method, path string, query url.Values, contentType string, body []byte, header http.Header) ([]byte, error) {
	resp, err := c.do(ctx, method, path, query, contentType, bytes.NewReader(body), header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("client: read the answer of %s %s: %w", method, path, err)
	}
	return b, nil
}

// Fetch makes a GET request for a media type and writes the answer to w as it comes. An error after some of it was written
// means that the answer is not complete.
func (c *Client) Fetch(ctx context.Context, path string, query url.Values, accept string, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, "", nil, http.Header{"Accept": {accept}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("client: the answer of %s was cut off: %w", path, err)
	}
	return nil
}

// Stream makes a request with a body of any length (nil: none) and returns the answer's, which the caller closes.
func (c *Client) Stream(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader) (io.ReadCloser, error) {
	resp, err := c.do(ctx, method, path, query, contentType, body, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader, header http.Header) (*http.Response, error) {
	patience := time.Now().Add(maxBehind)
	for {
		resp, after, err := c.once(ctx, method, path, query, contentType, body, header)
		if after == 0 || method != http.MethodGet || body != nil || time.Now().Add(after).After(patience) {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(after):
		}
	}
}

// once makes one request. after is how long to wait before asking again, where the answer is that the record is behind.
func (c *Client) once(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader, header http.Header) (resp *http.Response, after time.Duration, err error) {
	u := c.base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, 0, fmt.Errorf("client: %w", err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	if c.o.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	if c.o.Account != "" {
		r.Header.Set("Postroad-Account", c.o.Account)
	}
	resp, err = c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, fmt.Errorf("client: %w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode < 400 {
		return resp, 0, nil
	}
	defer resp.Body.Close()
	p := &Problem{Status: resp.StatusCode, Title: resp.Status}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err == nil {
		_ = json.Unmarshal(b, p) // not ours: the status line says enough
	}
	if resp.StatusCode == http.StatusServiceUnavailable && strings.HasSuffix(p.Type, "not-recorded-yet") {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 1
		}
		after = time.Duration(seconds) * time.Second
	}
	return nil, after, p
}
