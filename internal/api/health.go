package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// ListenerInfo is what /.well-known/postroad tells a client on this machine.
type ListenerInfo struct {
	Product     string `json:"product"`
	Version     string `json:"version"`
	AdminSocket string `json:"admin_socket,omitempty"`
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status  string   `json:"status" enum:"ok,ready,not ready"`
	Reasons []string `json:"reasons,omitempty" doc:"Why mail is not taken in."`
}

// registerHealth serves what needs no key.
func (a *API) registerHealth() {
	a.open("/healthz", "get-health", "Whether the process answers", "application/json", reflect.TypeFor[Health](), func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, Health{Status: "ok"})
	})
	a.open("/readyz", "get-readiness", "Whether mail is taken in; 503 if not", "application/json", reflect.TypeFor[Health](), func(w http.ResponseWriter, _ *http.Request) {
		if why := a.o.NotReady(); len(why) > 0 {
			writeJSON(w, http.StatusServiceUnavailable, Health{Status: "not ready", Reasons: why})
			return
		}
		writeJSON(w, http.StatusOK, Health{Status: "ready"})
	})
	a.open("/metrics", "get-metrics", "Figures for Prometheus", "text/plain", reflect.TypeFor[string](), a.o.Metrics.ServeHTTP)
	a.open("/.well-known/postroad", "get-listener", "What listens here, and where its admin socket is", "application/json", reflect.TypeFor[ListenerInfo](), func(w http.ResponseWriter, r *http.Request) {
		info := ListenerInfo{Product: "postroad", Version: a.o.Version}
		if callerOf(r.Context()).ip.IsLoopback() {
			info.AdminSocket = a.o.AdminSocket
		}
		writeJSON(w, http.StatusOK, info)
	})
}

// open serves a path that tells nothing about anybody, and so needs no key.
func (a *API) open(path, id, summary, media string, answer reflect.Type, serve http.HandlerFunc) {
	a.public[path] = true
	a.mux.HandleFunc("GET "+path, serve)
	doc := a.huma.OpenAPI()
	doc.Paths[path] = &huma.PathItem{Get: &huma.Operation{
		OperationID: id, Summary: summary, Tags: []string{"health"}, Security: []map[string][]string{{}},
		Responses: map[string]*huma.Response{"200": {Description: summary, Content: map[string]*huma.MediaType{
			media: {Schema: doc.Components.Schemas.Schema(answer, true, id)},
		}}},
	}}
}
