package reporting

import (
	"context"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Report makes the report of an account, or of everyone's mail where account is "". Its errors are those of the store.
func (s *Service) Report(ctx context.Context, account string, p figures.Period) (*figures.Report, error) {
	now := s.o.Now()
	b := figures.New(account, p, now)
	if s.o.Retention > 0 { // a day that a legal hold keeps is in the figures nevertheless
		b.KeptFrom(now.UTC().Add(-s.o.Retention).Truncate(24 * time.Hour))
	}
	whose := map[store.Dimension]string{}
	if account != "" {
		whose[store.ByAccount] = account
	}
	ask := func(of store.Question, step store.Step, count func(*store.StatsRow), by ...store.Dimension) error {
		list, err := s.o.Record.Stats(ctx, store.StatsQuery{Of: of, From: p.From, To: p.To, Step: step, By: by, Where: whose})
		if err != nil {
			return fmt.Errorf("reporting: %s figures: %w", of, err)
		}
		for i := range list {
			count(&list[i])
		}
		return nil
	}
	step := store.StepDay
	if p.Step() == time.Hour {
		step = store.StepHour
	}
	for _, err := range []error{
		ask(store.PerOutcome, step, func(r *store.StatsRow) {
			b.Outcome(r.Time, string(r.Outcome), r.Class, r.Count)
		}, store.ByOutcome, store.ByClass),
		ask(store.PerMark, store.StepTotal, func(r *store.StatsRow) { b.Mark(string(r.Mark), r.Count) }, store.ByMark),
		ask(store.PerSpeed, store.StepTotal, func(r *store.StatsRow) { b.Took(speed(r.Within), r.Count, r.Delay) }, store.BySpeed),
		ask(store.PerSenderOutcome, store.StepTotal, func(r *store.StatsRow) {
			b.Sender(r.Sender, string(r.Outcome), r.Count)
		}, store.BySender, store.ByOutcome),
		ask(store.PerDomainOutcome, store.StepTotal, func(r *store.StatsRow) {
			b.Domain(r.Domain, string(r.Outcome), r.Class, r.Count)
		}, store.ByDomain, store.ByOutcome, store.ByClass),
		ask(store.PerAccount, store.StepTotal, func(r *store.StatsRow) { b.Arrived(string(r.Type), r.Count) }, store.ByType),
	} {
		if err != nil {
			return nil, err
		}
	}
	prints := map[string]string{}
	more, err := s.o.Record.Failures(ctx, store.FailureQuery{Account: account, From: p.From, To: p.To}, func(x *store.Failure) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if x.Code/100 == 2 {
			x.Code, x.Enhanced, x.Reply = 0, "", "" // what it was taken with; the report that it was bounced has no words
		}
		print, known := prints[x.Reply]
		if !known {
			if print = s.o.Fingerprint(x.Reply); len(prints) < maxPrints {
				prints[x.Reply] = print
			}
		}
		b.Failure(&figures.Failure{
			Domain: x.Domain, Receiver: s.o.Receiver(x.Host), Host: x.Host, Waiting: x.State == store.State(mail.Deferred), Class: x.Class,
			Code: x.Code, Enhanced: x.Enhanced, Reply: x.Reply, Fingerprint: print,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reporting: failures: %w", err)
	}
	if more {
		b.Partial()
	}
	return b.Report(), nil
}

// maxPrints is how many fingerprints one report remembers: making one costs some microseconds, and replies repeat.
const maxPrints = 10_000

// speed returns the bound of a value of store.BySpeed.
func speed(name string) time.Duration {
	for _, s := range store.Speeds {
		if s.Name == name {
			return s.Max
		}
	}
	return figures.Beyond
}
