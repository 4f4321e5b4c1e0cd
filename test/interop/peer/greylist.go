package peer

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Greylist answers Postfix's policy protocol, and Exim's ${readsocket}: a client, sender and recipient that are new
// are put off; known ones pass after Delay.
type Greylist struct {
	Addr  string
	Delay time.Duration

	mu    sync.Mutex
	first map[string]time.Time
}

// NewGreylist listens until the test ends.
func NewGreylist(t testing.TB, delay time.Duration) *Greylist {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Greylist{Addr: l.Addr().String(), Delay: delay, first: make(map[string]time.Time)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				g.serve(c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return g
}

// serve reads requests: attributes up to an empty line (Postfix), or one line "exim KEY".
func (g *Greylist) serve(c net.Conn) {
	attributes := map[string]string{}
	for s := bufio.NewScanner(c); s.Scan(); {
		line := s.Text()
		if key, ok := strings.CutPrefix(line, "exim "); ok {
			fmt.Fprintln(c, map[bool]string{true: "new", false: "known"}[g.isNew(key)])
			return
		}
		if line != "" {
			name, value, _ := strings.Cut(line, "=")
			attributes[name] = value
			continue
		}
		action := "DUNNO"
		if strings.HasPrefix(attributes["recipient"], "greylist") && g.isNew(attributes["client_address"]+attributes["sender"]+attributes["recipient"]) {
			action = "DEFER 4.7.1 Greylisted, please try again later"
		}
		fmt.Fprintf(c, "action=%s\n\n", action)
		clear(attributes)
	}
}

func (g *Greylist) isNew(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.first[key]; !ok {
		g.first[key] = time.Now()
	}
	return time.Since(g.first[key]) < g.Delay
}
