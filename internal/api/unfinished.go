package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/reporting"
	"github.com/postroad/postroad/internal/store"
)

type unfinishedInput struct {
	Account string `query:"account"`
	Older   string `query:"older" doc:"Only what was accepted at least so long ago, rounded to the whole hour before: 30m, 1h, 36h, 3d, 2w." example:"1h"`
	Cursor  string `query:"cursor"`
	Max     int    `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type unfinishedOutput struct{ Body reporting.Unfinished }

type unknownInput struct {
	Done bool `query:"done" doc:"Also those dealt with."`
	Max  int  `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type unknownOutput struct {
	Body struct {
		Replies []store.UnknownReply `json:"replies"`
	}
}

type markReplyInput struct {
	Body struct {
		Fingerprint string `json:"fingerprint"`
		Done        bool   `json:"done" doc:"Whether it was dealt with."`
	}
}

func (a *API) registerUnfinished() {
	op := func(method, id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"reports"}}
	}
	huma.Register(a.huma, op(http.MethodGet, "list-unfinished", "/v1/unfinished", "Deliveries without a final outcome, and why"), a.unfinished)
	huma.Register(a.huma, op(http.MethodGet, "list-unknown-replies", "/v1/replies/unknown", "Replies no bounce rule understood, by wording"), a.unknownReplies)
	huma.Register(a.huma, op(http.MethodPost, "mark-unknown-reply", "/v1/replies/unknown", "Say that an unknown reply was dealt with, or that it was not"), a.markReply)
}

func (a *API) unfinished(ctx context.Context, in *unfinishedInput) (*unfinishedOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	q := reporting.UnfinishedQuery{Account: account, Cursor: in.Cursor, Max: in.Max}
	if in.Older != "" {
		if q.Older, err = mail.ParseSpan(in.Older); err != nil {
			return nil, badRequest("older", "it is "+err.Error())
		}
	}
	if _, err := a.settle(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	out, err := a.o.Reporting.Unfinished(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	for i := range out.Deliveries {
		out.Deliveries[i].Why = told(ctx, out.Deliveries[i].Why)
	}
	return &unfinishedOutput{Body: *out}, nil
}

func (a *API) unknownReplies(ctx context.Context, in *unknownInput) (*unknownOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	out := &unknownOutput{}
	var err error
	if out.Body.Replies, err = a.o.Store.UnknownReplies(ctx, store.RepliesQuery{Done: in.Done, Max: in.Max}); err != nil {
		return nil, a.problemOf(err)
	}
	return out, nil
}

func (a *API) markReply(ctx context.Context, in *markReplyInput) (*struct{}, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	now := a.o.Now().UTC()
	entry := store.AuditEntry{At: now, Actor: callerOf(ctx).actor(), Action: "reply.reopen", Kind: "reply", Name: in.Body.Fingerprint}
	var at time.Time
	if in.Body.Done {
		at, entry.Action = now, "reply.done"
	}
	err := a.o.Store.MarkReply(ctx, in.Body.Fingerprint, entry.Actor, at, entry)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("there is no unknown reply of this wording")
	}
	if err != nil {
		return nil, a.problemOf(err)
	}
	return nil, nil
}
