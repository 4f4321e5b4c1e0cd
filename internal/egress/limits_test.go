package egress

import (
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func TestLimits(t *testing.T) {
	mx, relay := mail.RouteMX, mail.RouteRelay
	for _, tc := range []struct {
		name     string
		r        platform.Route
		receiver string
		want     Limit
	}{
		{"unknown site", platform.Route{Kind: mx}, "", DefaultMX},
		{"relay", platform.Route{Kind: relay}, "", DefaultRelay},
		{"google", platform.Route{Kind: mx}, "google", Limit{Connections: 5, MessagesPerConnection: 50}},
		{"a relay is no receiver", platform.Route{Kind: relay}, "google", DefaultRelay},
		{"route asks for more than the receiver takes", platform.Route{Kind: mx, MaxConnections: 50}, "google", Limit{Connections: 5, MessagesPerConnection: 50}},
		{"route asks for less", platform.Route{Kind: mx, MaxConnections: 2, MessagesPerConnection: 3}, "google", Limit{Connections: 2, MessagesPerConnection: 3}},
		{"route says so", platform.Route{Kind: mx, MaxConnections: 50}, "", Limit{Connections: 50, MessagesPerConnection: 100}},
		{"paced", platform.Route{Kind: mx}, "yahoo-jp", Limit{Connections: 2, MessagesPerConnection: 20, PerSecond: 10}},
	} {
		if got := Limits(&tc.r, tc.receiver); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	for name, l := range receivers {
		if l.Connections < 1 || l.MessagesPerConnection < 1 || l.PerSecond < 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestMaxRecipients(t *testing.T) {
	for _, tc := range []struct {
		r    platform.Route
		want int
	}{
		{platform.Route{Kind: mail.RouteMX, MaxRecipients: 50}, 1},
		{platform.Route{Kind: mail.RouteMX, MaxRecipients: 50, ReturnPath: platform.ReturnPathSender}, 50},
		{platform.Route{Kind: mail.RouteMX, ReturnPath: platform.ReturnPathSender}, 1},
		{platform.Route{Kind: mail.RouteRelay}, DefaultMaxRecipients},
		{platform.Route{Kind: mail.RouteRelay, MaxRecipients: 7}, 7},
		{platform.Route{Kind: mail.RouteRelay, ReturnPath: platform.ReturnPathVERP}, 1},
	} {
		if got := MaxRecipients(&tc.r); got != tc.want {
			t.Errorf("%+v: %d, want %d", tc.r, got, tc.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	lane := Effect{Delay: ExtentLane}
	want := []time.Duration{1, 2, 5, 10, 20, 30, 30, 30}
	for i, m := range want {
		if got := Backoff(lane, mail.ClassNetwork, i+1, 0, 0); got != m*time.Minute {
			t.Errorf("failure %d: %s", i+1, got)
		}
		if got := Backoff(lane, mail.ClassNetwork, i+1, 0, 0.999); got > m*time.Minute*11/10 || got <= m*time.Minute {
			t.Errorf("failure %d with jitter: %s", i+1, got)
		}
	}
	if got := Backoff(lane, mail.ClassNetwork, 1, time.Hour, 0); got != time.Hour {
		t.Errorf("the peer asked for an hour: %s", got)
	}
	if got := Backoff(lane, mail.ClassNetwork, 6, time.Second, 0); got != 30*time.Minute {
		t.Errorf("the peer asked for a second: %s", got)
	}
	if rate, net := Backoff(lane, mail.ClassRateLimited, 1, 0, 0), Backoff(lane, mail.ClassNetwork, 1, 0, 0); rate <= net {
		t.Errorf("rate limits begin at %s", rate)
	}
	if got := Backoff(Effect{Delay: ExtentRoute, PauseRoute: true}, mail.ClassProtocol, 1, 0, 0); got < 10*time.Minute {
		t.Errorf("a refused login is tried again after %s", got)
	}
	if got := Backoff(lane, mail.ClassNetwork, 0, 0, 0); got != time.Minute {
		t.Errorf("no failures: %s", got)
	}
}
