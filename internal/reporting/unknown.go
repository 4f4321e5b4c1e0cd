package reporting

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// follower is the name under which the place in the event stream is kept.
const follower = "unknown-replies"

// Run collects replies no rule understood from the recorded events, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if s.o.Replies == nil {
		<-ctx.Done()
		return nil
	}
	return store.Follow(ctx, s.o.Replies, store.FollowOptions{
		Name: follower, Spool: s.o.Spool, Types: []mail.EventType{mail.EventDeferred, mail.EventBounced}, Max: store.MaxPage, Logger: s.o.Logger,
	}, s.collect)
}

// nobody puts an address of nobody's in the place of each in a reply: it is kept for its wording, for longer than the
// record keeps the person's, and a rule can still be made of it.
func nobody(reply string) string {
	return strings.ReplaceAll(mail.MaskAddresses(reply), mail.MaskedAddress, "user@example.com")
}

// collect notes the replies of class other. The store skips those it has counted.
func (s *Service) collect(ctx context.Context, events []*mail.Event) error {
	var notes []store.ReplyNote
	for _, e := range events {
		a := e.Attempt
		if e.Class != mail.ClassOther || a == nil || a.Reply == "" {
			continue
		}
		print := s.o.Fingerprint(a.Reply)
		if print == "" {
			continue // no words: nothing a rule could be made of
		}
		x := store.ReplyNote{Event: e.ID, Fingerprint: print, At: e.At, Stage: a.Stage, Reply: nobody(a.Reply), Host: cmp.Or(s.o.Receiver(a.Host), a.Host)}
		if e.Report != nil {
			x.Stage, x.Host = mail.StageReport, cmp.Or(x.Host, e.Report.MTA)
		}
		if a.Code > 0 {
			x.Code = strconv.Itoa(a.Code)
		}
		if a.Enhanced != "" {
			x.Code += " " + a.Enhanced
		}
		notes = append(notes, x)
	}
	return s.o.Replies.NoteReplies(ctx, notes)
}
