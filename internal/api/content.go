package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// MessageContent is a message's content for people: its header, its texts, and what is attached.
type MessageContent struct {
	Message     string        `json:"message"`
	From        string        `json:"from" enum:"spool,archive" doc:"Where it lies: spool while the message is on its way, archive afterwards."`
	Size        int64         `json:"size" doc:"Octets."`
	Headers     []HeaderField `json:"headers" doc:"Every field as it stands, unfolded, encoded words decoded."`
	Text        string        `json:"text,omitempty" doc:"The first text/plain part."`
	HTML        string        `json:"html,omitempty" doc:"The first text/html part."`
	Attachments []ContentPart `json:"attachments" doc:"The other parts, without their content."`
	Problem     string        `json:"problem,omitempty" doc:"What could not be read of its structure; the message itself has everything."`
}

// HeaderField is one field of a header.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ContentPart is one part of a message.
type ContentPart struct {
	ContentType string `json:"content_type"`
	Filename    string `json:"filename,omitempty"`
	Size        int    `json:"size" doc:"Octets as they stand in the message, encoded."`
}

// contentScope returns the account whose content the caller may read; "" for everybody's.
func contentScope(ctx context.Context, want string) (string, error) {
	account, err := readable(ctx, want)
	if err != nil {
		return "", err
	}
	if c := callerOf(ctx); !c.operator && !c.principal.Credential.Allows(platform.ScopeContent) {
		return "", forbidden(`the content of mail needs the scope "content" besides "read"`)
	}
	return account, nil
}

func (a *API) registerContent() {
	a.mux.HandleFunc("GET /v1/messages/{id}/content", func(w http.ResponseWriter, r *http.Request) {
		if err := a.serveContent(w, r); err != nil {
			writeProblem(w, *a.problemOf(err))
		}
	})
	a.huma.OpenAPI().Paths["/v1/messages/{id}/content"] = &huma.PathItem{Get: &huma.Operation{
		OperationID: "get-message-content", Summary: "What was sent", Tags: []string{"archive"},
		Description: "While the message is on its way, and afterwards if the account keeps an archive. With `Accept: message/rfc822` the message as it was stored at acceptance, octet by octet: signatures are made when it goes out and are not part of it. Needs the scopes `read` and `content`; every look is in the audit log.",
		Parameters: []*huma.Param{
			{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "Accept", In: "header", Description: "application/json (default) or message/rfc822", Schema: &huma.Schema{Type: huma.TypeString}},
		},
		Responses: map[string]*huma.Response{"200": {Description: "The content.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[MessageContent](), true, "MessageContent")},
			"message/rfc822":   {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}}
}

// findContent finds the content of a message for the caller.
func (a *API) findContent(ctx context.Context, account, text string) (*archive.Content, error) {
	id, err := mail.ParseMessageID(text)
	if err != nil {
		return nil, badRequest("id", "it is no message id (msg_ and 26 characters)")
	}
	c, err := a.o.Archive.Content(ctx, account, id)
	if !errors.Is(err, archive.ErrNotArchived) {
		return c, err
	}
	// Which of the two: no such message, or one whose content is gone?
	m, _, err := a.findMessage(ctx, id)
	if err != nil {
		return nil, err
	}
	why := "it has expired, or was erased"
	if acc := a.o.Manager.Snapshot().Account(m.Account); acc == nil || !acc.Archive.Keeps(m.Stream) {
		why = "account " + m.Account + " keeps no archive of its " + string(m.Stream) + " mail (archive.days), so it was gone with the last delivery"
	}
	return nil, &Problem{Type: typeOf("not-archived"), Title: "The content is not kept", Status: http.StatusNotFound, Detail: why}
}

func (a *API) serveContent(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	account, err := contentScope(ctx, "")
	if err != nil {
		return err
	}
	c, err := a.findContent(ctx, account, r.PathValue("id"))
	if err != nil {
		return err
	}
	// Before it is shown: a look that is not in the log must not be had.
	if err := a.auditContent(ctx, "content.read", c.Message, nil); err != nil {
		return err
	}
	if acceptsRaw(r.Header.Values("Accept")) {
		body, err := c.Open()
		if err != nil {
			return err
		}
		defer body.Close()
		w.Header().Set("Content-Type", "message/rfc822")
		w.Header().Set("Content-Length", strconv.FormatInt(c.Message.Size, 10))
		w.Header().Set("Content-Disposition", `attachment; filename="`+c.Message.ID.String()+`.eml"`)
		w.Header().Set("Cache-Control", "no-store")
		if _, err := io.Copy(w, body); err != nil {
			a.o.Logger.Error("content was cut off", mail.LogEvent, "content_failed", mail.LogMsg, c.Message.ID, mail.LogErr, err)
			panic(http.ErrAbortHandler) // the client must not take it for whole
		}
		return nil
	}
	release, err := a.room(ctx, 2*c.Message.Size)
	if err != nil {
		return err
	}
	defer release()
	body, err := c.Open()
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, readContent(c, raw))
	return nil
}

// acceptsRaw reports whether the client would rather have the message itself than JSON.
func acceptsRaw(accept []string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, _, err := mime.ParseMediaType(strings.TrimSpace(part))
		switch {
		case err != nil:
		case media == "message/rfc822" || media == "message/global" || media == "message/*":
			return true
		case media == "application/json":
			return false
		}
	}
	return false
}

// readContent reads a message for people. What cannot be read is said, not hidden.
func readContent(c *archive.Content, raw []byte) MessageContent {
	out := MessageContent{Message: c.Message.ID.String(), From: c.From, Size: c.Message.Size, Headers: []HeaderField{}, Attachments: []ContentPart{}}
	h, _ := message.ReadHeaderLenient(raw, 0)
	for _, f := range h.Fields() {
		out.Headers = append(out.Headers, HeaderField{f.Name, message.DecodeWords(f.Value())})
	}
	err := message.Walk(raw, message.WalkOptions{Lenient: true, MaxBytes: int64(len(raw)) + 1}, func(p message.Part) error {
		if p.Children {
			return nil
		}
		kind := p.Media.Type
		disposition, _ := p.Header.Get("Content-Disposition")
		attached := disposition != "" && message.ParseMedia(disposition).Type != "inline"
		into := map[string]*string{"text/plain": &out.Text, "text/html": &out.HTML}[kind]
		if into == nil || *into != "" || attached {
			out.Attachments = append(out.Attachments, ContentPart{ContentType: kind, Filename: p.Filename(), Size: len(p.Body)})
			return nil
		}
		text, err := message.DecodeTransfer(p.Encoding, p.Body)
		if err != nil {
			out.Problem = "a text could not be decoded: " + err.Error()
		}
		*into, _ = message.DecodeCharset(p.Media.Params["charset"], text)
		return nil
	})
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

// auditContent writes down who looked at, or sent again, what was sent.
func (a *API) auditContent(ctx context.Context, action string, m *mail.Message, more any) error {
	e := store.AuditEntry{At: a.o.Now().UTC(), Actor: callerOf(ctx).actor(), Action: action, Kind: "message", Name: m.ID.String(), Note: "account " + m.Account}
	if more != nil {
		after, err := json.Marshal(more)
		if err != nil {
			return err
		}
		e.After = string(after)
	}
	return a.o.Store.RecordAudit(ctx, e)
}
