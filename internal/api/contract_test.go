package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

const contractFile = "../../docs/openapi.json"

// The contract in the documentation is the one that is served.
func TestContractFile(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Version = "v1" })
	doc, err := g.api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	doc = append(doc, '\n')
	if *update {
		if err := os.WriteFile(contractFile, doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, doc) {
		t.Error("docs/openapi.json is not what the code serves; run test/generate.sh")
	}
}

type contract struct {
	OpenAPI string                                  `json:"openapi"`
	Info    struct{ Title, Version string }         `json:"info"`
	Paths   map[string]map[string]contractOperation `json:"paths"`
}

type contractOperation struct {
	OperationID string                   `json:"operationId"`
	Summary     string                   `json:"summary"`
	Tags        []string                 `json:"tags"`
	Parameters  []map[string]any         `json:"parameters"`
	Responses   map[string]any           `json:"responses"`
	Security    []map[string]any         `json:"security"`
	RequestBody *struct{ Required bool } `json:"requestBody"`
}

func readContract(t *testing.T, g *rig) (contract, any) {
	t.Helper()
	a := g.do("", http.MethodGet, "/openapi.json", "")
	var c contract
	var raw any
	if err := json.Unmarshal(a.body, &c); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d, %v", a.status, err)
	}
	if err := json.Unmarshal(a.body, &raw); err != nil {
		t.Fatal(err)
	}
	return c, raw
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func TestContractIsSound(t *testing.T) {
	g := newRig(t, nil)
	c, raw := readContract(t, g)
	if !strings.HasPrefix(c.OpenAPI, "3.1.") || c.Info.Title == "" || c.Info.Version == "" {
		t.Errorf("openapi %s, info %+v", c.OpenAPI, c.Info)
	}
	ids := map[string]string{}
	for path, ops := range c.Paths {
		for method, op := range ops {
			where := method + " " + path
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) == 0 {
				t.Errorf("%s: id %q, summary %q, tags %v", where, op.OperationID, op.Summary, op.Tags)
			}
			if other, ok := ids[op.OperationID]; ok {
				t.Errorf("%s and %s share the id %s", where, other, op.OperationID)
			}
			ids[op.OperationID] = where
			if op.Responses["default"] == nil || len(op.Responses) < 2 {
				t.Errorf("%s: responses %v", where, op.Responses)
			}
			for _, name := range pathParameter.FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range op.Parameters {
					found = found || p["in"] == "path" && p["name"] == name[1] && p["required"] == true
				}
				if !found {
					t.Errorf("%s: the parameter %s is not described", where, name[1])
				}
			}
		}
	}
	checkReferences(t, raw, raw, "#")
	text := fmt.Sprint(raw)
	for _, foreign := range []string{"ErrorModel", "$schema", "body_hash"} {
		if strings.Contains(text, foreign) {
			t.Errorf("the contract speaks of %s", foreign)
		}
	}
}

// checkReferences follows every $ref.
func checkReferences(t *testing.T, root, v any, at string) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			target := root
			for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := target.(map[string]any)
				target = m[step]
			}
			if target == nil {
				t.Errorf("%s refers to %s, which is not there", at, ref)
			}
		}
		for k, x := range v {
			checkReferences(t, root, x, at+"/"+k)
		}
	case []any:
		for i, x := range v {
			checkReferences(t, root, x, fmt.Sprintf("%s/%d", at, i))
		}
	}
}

// Every operation of the contract exists, asks who is there, and answers in our form; what the design promises is in
// the contract.
func TestEveryOperation(t *testing.T) {
	g := newRig(t, nil)
	c, _ := readContract(t, g)
	for _, path := range []string{
		"/v1/suppressions", "/v1/suppressions/{address}", "/v1/suppressions/import", "/v1/suppressions/export", "/v1/suppressions/undo",
		"/v1/messages", "/v1/messages/{id}", "/v1/messages/{id}/events", "/v1/deliveries/{id}", "/v1/deliveries/{id}/events", "/v1/events", "/v1/stats",
		"/v1/accounts", "/v1/senders", "/v1/credentials", "/v1/pools", "/v1/sources", "/v1/routes", "/v1/policies", "/v1/holds", "/v1/holds/{name}",
		"/v1/queues", "/v1/queues/deliveries", "/v1/queues/retry", "/v1/queues/cancel", "/v1/state", "/v1/alerts", "/v1/audit",
		"/v1/messages/{id}/content", "/v1/messages/{id}/resend", "/v1/archive", "/v1/archive/messages", "/v1/legal-holds", "/v1/legal-holds/{name}",
		"/v1/webhooks", "/v1/webhooks/{name}", "/v1/webhooks/{name}/replay", "/v1/webhooks/{name}/deliveries",
		"/healthz", "/readyz", "/metrics", "/.well-known/postroad",
	} {
		if c.Paths[path] == nil {
			t.Errorf("%s is not in the contract", path)
		}
	}
	for path, ops := range c.Paths {
		for method, op := range ops {
			method = strings.ToUpper(method)
			t.Run(method+path, func(t *testing.T) {
				at := pathParameter.ReplaceAllString(path, "x")
				if op.Security != nil { // health
					if a := g.do("", method, at, ""); a.status == http.StatusUnauthorized {
						t.Errorf("%d %s", a.status, a.body)
					}
					return
				}
				for _, key := range []string{"", "pr_nobody", adminKey[:len(adminKey)-1], strings.ToUpper(adminKey)} {
					a := g.do(key, method, at, "{}", "X-Forwarded-For", "203.0.113.9")
					if a.status == http.StatusTooManyRequests {
						continue // after ten failures from one address
					}
					if p := a.problem(t); a.status != http.StatusUnauthorized || p.kind() != "bad-credentials" || a.header.Get("WWW-Authenticate") == "" {
						t.Errorf("key %q: %d %s", key, a.status, a.body)
					}
				}
				if a := g.do(adminKey, method, at, "{}"); a.status == http.StatusUnauthorized || a.status == http.StatusMethodNotAllowed ||
					a.status == http.StatusNotFound && op.OperationID != "get-metrics" && op.OperationID != "get-erasure" && !strings.HasPrefix(op.OperationID, "delete-") {
					t.Errorf("as operator: %d %s", a.status, a.body)
				}
			})
		}
	}
}

func TestNothingThere(t *testing.T) {
	g := newRig(t, nil)
	for _, tt := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 404, "not-found"},
		{"GET", "/v1/nothing", 404, "not-found"},
		{"GET", "/v1/messages/x/y/z", 404, "not-found"},
		{"DELETE", "/v1/messages", 405, "method"},
		{"PATCH", "/v1/state", 405, "method"},
		{"POST", "/healthz", 405, "method"},
	} {
		a := g.do(shopKey, tt.method, tt.path, "")
		if p := a.problem(t); a.status != tt.status || p.kind() != tt.kind {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, a.status, a.body)
		}
		if tt.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", tt.method, tt.path)
		}
	}
}

// docs/api.md has every problem with its status, and no others.
func TestDocumentedProblems(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([0-9, ]+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[2]] = row[1]
	}
	for kind, k := range kinds {
		if !strings.Contains(documented[string(kind)], fmt.Sprint(k.status)) {
			t.Errorf("%s is answered with %d, documented: %q", kind, k.status, documented[string(kind)])
		}
		delete(documented, string(kind))
	}
	for _, other := range []string{"invalid-state", "not-found", "method", "conflict", "media-type", "not-recorded-yet"} {
		if documented[other] == "" {
			t.Errorf("%s is not documented", other)
		}
		delete(documented, other)
	}
	if len(documented) > 0 {
		t.Errorf("documented, but not there: %v", documented)
	}
}
