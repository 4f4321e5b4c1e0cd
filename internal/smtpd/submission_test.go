package smtpd

import (
	"context"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

// A refusal of the service must come out as no Transaction at all, not as one that holds a nil pointer.
func TestServeRefuses(t *testing.T) {
	s, err := submission.New(submission.Options{
		Spool:    struct{ submission.Spool }{},
		Snapshot: func() *platform.Snapshot { return platform.NewSnapshot(platform.State{}, "mx.example.net") },
		Added:    func(*mail.Message, []*mail.Delivery, []mail.QueueKey, mail.Body) {},
		TakeQuota: func(context.Context, string, string, int64, int64) (int64, error) {
			t.Error("a message that was refused took quota")
			return 0, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := Serve(s)
	tx, err := in.Begin(t.Context(), principal("gone", 1), submission.Client{}, mail.Address{}, submission.Envelope{})
	if tx != nil || submission.KindOf(err) != submission.Forbidden {
		t.Errorf("Begin = %v, %v; want nil, forbidden", tx, err)
	}
}
