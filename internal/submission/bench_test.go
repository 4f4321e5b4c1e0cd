package submission

import (
	"context"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// nowhere takes everything and keeps nothing: what is left is the cost of submission itself.
type nowhere struct{ Spool }

func (nowhere) Commit(context.Context, *spool.Batch) error { return nil }

func BenchmarkAccept4KiB(b *testing.B) {
	s := newTestbed(b, func(o *Options) {
		o.Spool = nowhere{}
		o.Added = func(*mail.Message, []*mail.Delivery, []mail.QueueKey, mail.Body) {}
	})
	content := plainMessage + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52)
	p, ctx, to := s.shop(), b.Context(), address(b, "you@example.com")
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		tx, err := s.Begin(ctx, p, Client{Protocol: "ESMTPSA"}, mail.Address{}, Envelope{})
		if err != nil {
			b.Fatal(err)
		}
		if err := tx.AddRecipient(ctx, to, RecipientOptions{}); err != nil {
			b.Fatal(err)
		}
		if _, err := tx.Accept(ctx, strings.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}
