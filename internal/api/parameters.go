package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// parametersOf returns the names the contract gives to parameters of queries, by method and path.
func parametersOf(contract *huma.OpenAPI) map[string][]string {
	all := map[string][]string{}
	for pattern, op := range operations(contract) {
		names := []string{}
		for _, p := range op.Parameters {
			if p.In == "query" {
				names = append(names, p.Name)
			}
		}
		all[pattern] = names
	}
	return all
}

// declared refuses parameters of the query that the contract does not have: a condition that is passed over selects more than
// was meant, and a dry run that is passed over is none.
func (a *API) declared(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			next.ServeHTTP(w, r)
			return
		}
		_, pattern := a.mux.Handler(r)
		known, ok := a.parameters[pattern]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeProblem(w, *badRequest("query", "it cannot be read: a % or ; in it is not escaped"))
			return
		}
		var unknown []FieldProblem
		for name := range query {
			if !slices.Contains(known, name) {
				unknown = append(unknown, FieldProblem{Field: fieldName(name), Detail: "there is no such parameter here"})
			}
		}
		if len(unknown) > 0 {
			slices.SortFunc(unknown, func(x, y FieldProblem) int { return strings.Compare(x.Field, y.Field) })
			p := badRequest(unknown[0].Field, unknown[0].Detail)
			p.Errors = unknown
			writeProblem(w, *p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// wantTime is said of a parameter that is no time.
const wantTime = "want a time like 2026-01-31T12:00:00Z"

// queryTimes reads times, as far as a query has them, by the names of their parameters.
func queryTimes(query url.Values, into map[string]*time.Time) (err error) {
	for name, to := range into {
		text := query.Get(name)
		if text == "" {
			continue
		}
		if *to, err = time.Parse(time.RFC3339, text); err != nil {
			return badRequest(name, wantTime)
		}
	}
	return nil
}
