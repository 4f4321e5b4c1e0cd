package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

type eraseInput struct {
	Body struct {
		Recipient string `json:"recipient" doc:"The address of the person."`
		Account   string `json:"account,omitempty" doc:"Only of this account's mail; of everybody's when left out."`
		Suppress  bool   `json:"suppress,omitempty" doc:"Keep mail from the address from now on, also where it was not suppressed; by a hash."`
		Note      string `json:"note,omitempty" doc:"Why; for the audit log. Do not name the person."`
	}
}

type erasureOutput struct {
	Location string `header:"Location"`
	Body     store.Erasure
}

type erasureID struct {
	ID string `path:"id"`
}

type erasuresInput struct {
	Max int `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

func (a *API) registerErase() {
	op := func(method, id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"archive"}}
	}
	begin := op(http.MethodPost, "erase-recipient", "/v1/erasures", "Take a person out of record, archive and search")
	begin.DefaultStatus = http.StatusAccepted
	begin.Description = "With 202 the erasure is on disk and will be finished, after a crash too. Rows stay with a marker in place of the address, so that counts and timelines stay true; entries of the suppression list stay as a hash. A legal hold that covers something of it refuses it. Event files are rewritten. Not touched: backups (restored, they bring the person back: erase again), exports, what other systems were told, and content that went to others too (`shared` counts it)."
	huma.Register(a.huma, begin, a.erase)
	huma.Register(a.huma, op(http.MethodGet, "list-erasures", "/v1/erasures", "Erasures, newest first"), a.listErasures)
	huma.Register(a.huma, op(http.MethodGet, "get-erasure", "/v1/erasures/{id}", "Where an erasure stands, and what it took out"), a.erasure)
}

func (a *API) erase(ctx context.Context, in *eraseInput) (*erasureOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	address, err := mail.ParseAddress(in.Body.Recipient)
	if err != nil {
		return nil, badRequest("recipient", strings.TrimPrefix(err.Error(), mail.ErrBadAddress.Error()+": "))
	}
	if address.Domain == archive.ErasedDomain {
		return nil, badRequest("recipient", "it is the marker of somebody who was erased")
	}
	e, err := a.o.Archive.Erase(ctx, archive.EraseRequest{
		Address: address, Account: in.Body.Account, Actor: callerOf(ctx).actor(), Note: in.Body.Note, Suppress: in.Body.Suppress,
	})
	var held *archive.HeldError
	if errors.As(err, &held) {
		h := held.Hold
		return nil, &Problem{
			Type: typeOf("legal-hold"), Title: "A legal hold stands", Status: http.StatusConflict,
			Detail: "legal hold " + h.Name + " covers something of it, since " + h.Since.Format("2006-01-02") + ": " + h.Reason + " (" + h.Author + "); nothing was erased",
		}
	}
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &erasureOutput{Location: "/v1/erasures/" + e.ID, Body: e}, nil
}

func (a *API) erasure(ctx context.Context, in *erasureID) (*struct{ Body store.Erasure }, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	e, err := a.o.Archive.Erasure(ctx, in.ID)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &struct{ Body store.Erasure }{e}, nil
}

func (a *API) listErasures(ctx context.Context, in *erasuresInput) (*listOf[store.Erasure], error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	list, err := a.o.Archive.Erasures(ctx, in.Max)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &listOf[store.Erasure]{}
	out.Body.Items = orEmpty(list)
	return out, nil
}
