package delivery

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// The token field is in front of everything, names the delivery where a transaction has one, and counts in SIZE.
func TestToken(t *testing.T) {
	const size = len("X-Postroad-Token: m1\r\n")
	for name, tt := range map[string]struct {
		group  int
		chunks bool
		want   []string
	}{
		"each apart":        {1, false, []string{"d1", "d2", "d3"}},
		"by BDAT":           {1, true, []string{"d1", "d2", "d3"}},
		"together":          {3, false, []string{"mm"}},
		"two, and the rest": {2, false, []string{"mm", "d3"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.state.Routes[0].ReturnPath, w.state.Routes[0].MaxRecipients = platform.ReturnPathSender, tt.group
			limit := len(body) + size
			offers := []string{"PIPELINING", fmt.Sprintf("SIZE %d", limit)}
			if tt.chunks {
				offers = append(offers, "CHUNKING")
			}
			w.one().offers = [][]string{offers}
			j := job(body, "b@example.com", "c@example.com", "d@example.com")
			w.opts.Token = func(m *mail.Message, d *mail.Delivery) string {
				for i := range j.Deliveries {
					if d == j.Deliveries[i] {
						return fmt.Sprintf("d%d", i+1)
					}
				}
				return "mm"
			}
			d := w.build()
			if words, outcomes := w.run(d, direct, j); words[0] != "delivered mx1" {
				t.Fatalf("%v: %s", words, outcomes[0].Attempt.Reply)
			}
			var got []string
			for _, c := range w.one().contents {
				token, rest, _ := strings.Cut(strings.TrimPrefix(c, "X-Postroad-Token: "), "\r\n")
				if rest != body {
					t.Errorf("arrived as %q", c)
				}
				got = append(got, token)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("tokens %v, want %v", got, tt.want)
			}
			for _, m := range w.one().did("MAIL") {
				if !strings.Contains(m, fmt.Sprintf(" SIZE=%d", limit)) {
					t.Errorf("%s, want SIZE=%d", m, limit)
				}
			}
			// One octet less would be too much for the peer.
			w.one().offers = [][]string{{fmt.Sprintf("SIZE %d", limit-1)}}
			if words, _ := w.run(d, direct, j); words[0] != "bounced content-size/message at mail mx1" {
				t.Errorf("with a limit of one octet less: %v", words)
			}
		})
	}
}
