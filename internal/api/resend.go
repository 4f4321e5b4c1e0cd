package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
)

type resendInput struct {
	ID      string `path:"id" doc:"Message id, or the id of one of its deliveries for its recipient alone."`
	Key     string `header:"Idempotency-Key" maxLength:"256" doc:"A second request with this key within 24 hours sends nothing and gets the first one's answer."`
	RawBody []byte
	Body    struct {
		To    []string `json:"to,omitempty" maxItems:"1000" doc:"Who gets it, in place of the original recipients. Needs the scope content besides send."`
		Force bool     `json:"force,omitempty" doc:"Operators only: send also to who is suppressed."`
	}
}

type resendOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotent-Replayed"`
	Body     Sent
}

func (a *API) registerResend() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "resend-message", Method: http.MethodPost, Path: "/v1/messages/{id}/resend", Tags: []string{"messages"},
		Summary: "Send a message again", DefaultStatus: http.StatusAccepted,
		Description: "Takes the archived content, or while the message is on its way the spool's, and sends it as a new message whose `resent_of` names the original. Message-ID and Date stay; Resent fields (RFC 5322 §3.6.6) are put before the header. Sender, quota and suppression are checked as for any other message.",
	}, a.resend)
}

func (a *API) resend(ctx context.Context, in *resendInput) (*resendOutput, error) {
	c := callerOf(ctx)
	account, err := allowed(ctx, "", platform.ScopeSend)
	switch {
	case err != nil:
		return nil, a.problemOf(err)
	case in.Body.Force && !c.operator:
		return nil, a.problemOf(forbidden("only an operator may send to who is suppressed"))
	case len(in.Body.To) > 0 && !c.operator && !c.principal.Credential.Allows(platform.ScopeContent):
		return nil, a.problemOf(forbidden(`to send it to others than its recipients shows them its content: that needs the scope "content"`))
	}
	content, to, err := a.resendTo(ctx, account, in)
	if err != nil {
		return nil, a.problemOf(err)
	}
	p := c.principal
	if acc := a.o.Manager.Snapshot().Account(content.Message.Account); c.operator && (p.Account == nil || p.Account.Name != content.Message.Account) {
		if acc == nil {
			return nil, a.problemOf(notFound("the account of the message is there no more"))
		}
		p = submission.Operator(acc)
	}
	body, err := content.Open()
	if err != nil {
		return nil, a.problemOf(err)
	}
	defer body.Close()
	protocol := "HTTP"
	if c.tls {
		protocol = "HTTPS"
	}
	r := submission.Resend{
		Original: content.Message, Content: body, To: to, Force: in.Body.Force, ClientIP: c.ip, Protocol: protocol,
		BodyHash: sha256.Sum256(append([]byte(in.ID+"\n"), in.RawBody...)),
	}
	if in.Key != "" {
		r.IdempotencyKey = "resend/" + in.Key
	}
	receipt, err := a.o.Submission.Resend(ctx, p, r)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if !receipt.Replayed {
		// It is on its way: an error now would make the client do it again.
		err := a.auditContent(ctx, "resend", content.Message, map[string]any{"message": receipt.Message, "recipients": receipt.Count, "others": len(in.Body.To) > 0, "force": in.Body.Force})
		if err != nil {
			a.o.Logger.Error("audit entry not written", mail.LogEvent, "audit_failed", mail.LogErr, err)
		}
	}
	out := &resendOutput{Location: "/v1/messages/" + receipt.Message.String(), Body: sentOf(receipt)}
	if receipt.Replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// resendTo finds the content and whom it goes to.
func (a *API) resendTo(ctx context.Context, account string, in *resendInput) (content *archive.Content, to []mail.Address, err error) {
	text := in.ID
	reached, err := a.settle(ctx)
	if err != nil {
		return nil, nil, err
	}
	var one mail.DeliveryID
	if strings.HasPrefix(text, mail.PrefixDelivery) {
		if one, err = mail.ParseDeliveryID(text); err != nil {
			return nil, nil, badRequest("id", "it is no delivery id (dlv_ and 26 characters)")
		}
		d, err := a.o.Store.Delivery(ctx, one)
		if errors.Is(err, store.ErrNotFound) && !reached.current {
			err = errBehind
		}
		if err != nil {
			return nil, nil, err
		}
		if account != "" && d.Account != account {
			return nil, nil, store.ErrNotFound
		}
		text = d.Message.String()
	}
	if content, err = a.findContent(ctx, account, text); err != nil {
		return nil, nil, err
	}
	for _, s := range in.Body.To {
		addr, err := mail.ParseAddress(s)
		if err != nil {
			return nil, nil, badRequest("to", strings.TrimPrefix(err.Error(), mail.ErrBadAddress.Error()+": "))
		}
		to = append(to, addr)
	}
	if len(to) > 0 {
		return content, to, nil
	}
	if content.From == archive.FromSpool && !reached.current {
		return nil, nil, errBehind // the record may have some of its recipients only
	}
	var after mail.DeliveryID
	for {
		page, err := content.Recipients(ctx, after, store.MaxPage)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, nil, err
		}
		for _, x := range page {
			after = x.Delivery
			if !one.IsZero() && x.Delivery != one {
				continue
			}
			addr, err := mail.ParseAddress(x.Address)
			if err != nil || addr.Domain == archive.ErasedDomain {
				continue // erased since
			}
			to = append(to, addr)
		}
		if len(page) < store.MaxPage || len(to) > submission.MaxResend {
			break
		}
	}
	if len(to) == 0 {
		return nil, nil, badRequest("to", "its recipients are not known any more; name who is to get it")
	}
	return content, to, nil
}
