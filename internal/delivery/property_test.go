package delivery

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// TestWhateverThePeerDoes draws peers with any mixture of answers, extensions and broken connections, and jobs with any
// number of recipients, and holds what must be true of every attempt: each delivery of each job taken is settled
// exactly once; what is settled as delivered has reached a peer that said so; what a peer said it took is settled as
// delivered, or as uncertain where it could not be understood; nobody gets a message twice; a content that a peer took
// is whole.
func TestWhateverThePeerDoes(t *testing.T) {
	replies := map[string][]string{
		"":     {"220 hi", "220 hi", "220 hi", "220 hi", "421 busy", "554 no", "CLOSE", "nonsense"},
		"EHLO": {"250 mx", "250 mx", "250-mx\n250 PIPELINING", "250-mx\n250 PIPELINING", "250-mx\n250-PIPELINING\n250 CHUNKING", "250-mx\n250 CHUNKING", "550 no", "421 no", "CLOSE"},
		"MAIL": {"250 ok", "250 ok", "250 ok", "250 ok", "250 ok", "250 ok", "451 later", "550 no", "421 no", "CLOSE", "354 what", "x"},
		"RCPT": {"250 ok", "250 ok", "250 ok", "250 ok", "250 ok", "250 ok", "450 4.2.0 greylisted", "550 5.1.1 no such user", "452 4.5.3 too many recipients", "421 no", "CLOSE", "250-a\n550 b"},
		"DATA": {"354 go", "354 go", "354 go", "354 go", "354 go", "354 go", "451 later", "554 no", "421 no", "CLOSE", "250 what"},
		".":    {"250 taken", "250 taken", "451 later", "554 spam", "421 no", "LOST", "CLOSE", "x"},
	}
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		w.state.Routes[0].ReturnPath, w.state.Routes[0].MaxRecipients = platform.ReturnPathSender, rapid.IntRange(1, 5).Draw(r, "group")
		for _, p := range []*peer{w.one(), w.two()} { // in order: rapid plays a failure back by its draws
			for _, command := range slices.Sorted(maps.Keys(replies)) {
				all := replies[command]
				if list := rapid.SliceOfN(rapid.SampledFrom(all), 0, 6).Draw(r, command); len(list) > 0 {
					p.set(command, append(list, all[0])...)
				}
			}
			p.record = true
		}
		var jobs []mail.Job
		n := 0
		for i := range rapid.IntRange(1, 5).Draw(r, "jobs") {
			var to []string
			for range rapid.IntRange(1, 6).Draw(r, "recipients") {
				n++
				to = append(to, fmt.Sprintf("user%d@example.com", n))
			}
			jobs = append(jobs, job(fmt.Sprintf("From: a@example.org\r\nX-Job: %d\r\n\r\nHello.\r\n", i), to...))
		}
		d := w.build()
		settled := map[string]mail.Outcome{}
		taken := 0
		d.Session(t.Context(), direct, func(context.Context) (mail.Job, bool) {
			if taken == len(jobs) {
				return mail.Job{}, false
			}
			taken++
			return jobs[taken-1], true
		}, func(j mail.Job, o mail.Outcome) {
			for _, dl := range j.Deliveries {
				if dl.ID == o.Delivery {
					if _, twice := settled[dl.Recipient.Local]; twice {
						r.Fatalf("%s is settled twice", dl.Recipient)
					}
					settled[dl.Recipient.Local] = o
				}
			}
		})
		w.running.Wait()
		took, lost := map[string]int{}, map[string]bool{}
		for _, p := range w.peers {
			for _, x := range p.taken {
				for _, to := range x.to {
					if x.said == "" {
						lost[to] = true
					} else {
						took[to]++
					}
				}
			}
		}
		for i, j := range jobs[:taken] {
			for _, dl := range j.Deliveries {
				name := dl.Recipient.Local
				o, ok := settled[name]
				switch {
				case !ok:
					r.Fatalf("%s of job %d is not settled", name, i)
				case o.Result == mail.Delivered && took[name] == 0, took[name] > 0 && o.Result != mail.Delivered && !o.Attempt.Uncertain:
					r.Fatalf("%s is %s, but was taken %d times", name, inWords(&o), took[name])
				case took[name] > 1:
					r.Fatalf("%s was taken %d times", name, took[name])
				case lost[name] && !o.Attempt.Uncertain:
					r.Fatalf("%s was taken by a peer that could not say so, but is %s", name, inWords(&o))
				case o.Result == mail.Bounced && o.Attempt.Code/100 != 5:
					r.Fatalf("%s bounced without a 5xx: %s", name, inWords(&o))
				}
			}
			whole, _ := io.ReadAll(open(t, j.Body))
			for _, p := range w.peers {
				for _, x := range p.taken {
					if len(x.to) > 0 && x.to[0] == j.Deliveries[0].Recipient.Local && x.content != string(whole) {
						r.Fatalf("content arrived as %q", x.content)
					}
				}
			}
		}
		if len(settled) > 0 && taken < len(jobs) {
			for _, j := range jobs[taken:] {
				if _, ok := settled[j.Deliveries[0].Recipient.Local]; ok {
					r.Fatalf("a job not taken is settled")
				}
			}
		}
	})
}
