package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/paper"
	"github.com/postroad/postroad/internal/platform"
)

type reportInput struct {
	Account string `query:"account" doc:"Whose mail; an operator who leaves it out gets everyone's."`
	Period  string `query:"period" default:"7d" doc:"Days of UTC: today, yesterday, 7d (today included), 2026-03, 2026-03-15, or 2026-03-01..2026-03-15 (both included)." example:"2026-03"`
	Format  string `query:"format" enum:"json,csv,html" default:"json"`
}

type documentOutput struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// registerReports adds what reports are asked for.
func (a *API) registerReports() {
	op := huma.Operation{
		OperationID: "get-report", Method: http.MethodGet, Path: "/v1/reports", Tags: []string{"reports"},
		Summary: "What became of the mail accepted in a period",
	}
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[figures.Report](), true, "DeliveryReport")
	text := &huma.Schema{Type: huma.TypeString}
	op.Responses = map[string]*huma.Response{"200": {Description: "The report.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: schema}, "text/csv": {Schema: text}, "text/html": {Schema: text},
	}}}
	huma.Register(a.huma, op, a.report)
}

// schemaName names a type in the contract. The types of reports have names that others have too.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() != reflect.TypeFor[figures.Report]().PkgPath() {
		return name
	}
	if name == "Report" {
		return "DeliveryReport"
	}
	return "Report" + name
}

func (a *API) report(ctx context.Context, in *reportInput) (*documentOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	p, err := figures.ParsePeriod(in.Period, a.o.Now())
	if err != nil {
		return nil, badRequest("period", "it is no period, or too long a one; want "+figures.PeriodForms)
	}
	if account != "" && account != platform.SystemAccount && a.o.Manager.Snapshot().Account(account) == nil {
		return nil, notFound("there is no such account")
	}
	if _, err := a.settle(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	r, err := a.o.Reporting.Report(ctx, account, p)
	if err != nil {
		return nil, a.problemOf(err)
	}
	var b bytes.Buffer
	out := &documentOutput{}
	switch in.Format {
	case "csv":
		out.ContentType, out.Disposition = "text/csv; charset=utf-8; header=present", `attachment; filename="report.csv"`
		err = paper.CSV(&b, r)
	case "html":
		out.ContentType, out.Policy = "text/html; charset=utf-8", paper.ContentSecurityPolicy
		err = paper.HTML(&b, r)
	default:
		out.ContentType = "application/json"
		err = json.NewEncoder(&b).Encode(r)
	}
	if err != nil {
		return nil, a.problemOf(err)
	}
	out.Body = b.Bytes()
	return out, nil
}
