package egress

import (
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

func TestEffectOf(t *testing.T) {
	for _, tc := range []struct {
		scope mail.Scope
		class mail.Class
		kind  mail.RouteKind
		want  Effect
	}{
		{mail.ScopeNone, mail.ClassNone, mail.RouteMX, Effect{CountsAttempt: true}},
		{mail.ScopeRecipient, mail.ClassMailboxFull, mail.RouteMX, Effect{CountsAttempt: true}},
		{mail.ScopeMessage, mail.ClassContentSize, mail.RouteRelay, Effect{CountsAttempt: true}},
		{mail.ScopeSender, mail.ClassPolicySpam, mail.RouteMX, Effect{CountsAttempt: true}},
		{mail.ScopeSender, mail.ClassRateLimited, mail.RouteMX, Effect{Delay: ExtentAccount, CountsAttempt: true}},
		{mail.ScopeSession, mail.ClassNetwork, mail.RouteMX, Effect{NewConnection: true, CountsAttempt: true}},
		{mail.ScopeHost, mail.ClassNetwork, mail.RouteMX, Effect{NextHost: true, NewConnection: true, Delay: ExtentLane}},
		{mail.ScopeSite, mail.ClassRateLimited, mail.RouteMX, Effect{NewConnection: true, Delay: ExtentLane}},
		{mail.ScopeReceiver, mail.ClassRateLimited, mail.RouteMX, Effect{NewConnection: true, Delay: ExtentReceiver}},
		{mail.ScopeSource, mail.ClassBlocklistedIP, mail.RouteMX, Effect{NewConnection: true, OtherSource: true, CountsAttempt: true}},
		{mail.ScopeSource, mail.ClassRateLimited, mail.RouteMX, Effect{NewConnection: true, Delay: ExtentReceiver}},
		{mail.ScopeSource, mail.ClassNetwork, mail.RouteMX, Effect{NewConnection: true, Delay: ExtentSource, Alert: AlertSourceFailed}},
		{mail.ScopeRoute, mail.ClassProtocol, mail.RouteRelay, Effect{NewConnection: true, Delay: ExtentRoute, PauseRoute: true, Alert: AlertRouteRefused}},
		{mail.ScopeRoute, mail.ClassRelayDenied, mail.RouteProvider, Effect{NewConnection: true, Delay: ExtentRoute, PauseRoute: true, Alert: AlertRouteRefused}},
		{mail.ScopeRoute, mail.ClassTransientSystem, mail.RouteRelay, Effect{NewConnection: true, Delay: ExtentRoute}},
		{mail.ScopeRoute, mail.ClassRelayDenied, mail.RouteMX, Effect{NewConnection: true, Delay: ExtentLane}},
		{mail.ScopeAccount, mail.ClassPolicySpam, mail.RouteMX, Effect{Delay: ExtentAccount, Alert: AlertAccountRefused, CountsAttempt: true}},
		{"unheard-of", mail.ClassOther, mail.RouteMX, Effect{CountsAttempt: true}},
	} {
		if got := EffectOf(tc.scope, tc.class, tc.kind); got != tc.want {
			t.Errorf("%s, %s, %s: %+v, want %+v", tc.scope, tc.class, tc.kind, got, tc.want)
		}
	}
}

// What reaches beyond the delivery must not use up an attempt of it, and no sender may burn a pool.
func TestEffectsHang(t *testing.T) {
	scopes := []mail.Scope{
		mail.ScopeNone, mail.ScopeRecipient, mail.ScopeMessage, mail.ScopeSender, mail.ScopeSession, mail.ScopeHost,
		mail.ScopeSite, mail.ScopeReceiver, mail.ScopeSource, mail.ScopeRoute, mail.ScopeAccount,
	}
	for _, scope := range scopes {
		for _, class := range mail.Classes {
			for _, kind := range []mail.RouteKind{mail.RouteMX, mail.RouteRelay, mail.RouteProvider} {
				e := EffectOf(scope, class, kind)
				if rests := e.Delay != ExtentNone && e.Delay != ExtentAccount; rests == e.CountsAttempt {
					t.Errorf("%s, %s, %s: rests %q and counts %t", scope, class, kind, e.Delay, e.CountsAttempt)
				}
				if e.OtherSource && scope != mail.ScopeSource {
					t.Errorf("%s, %s, %s: another source", scope, class, kind)
				}
				if e.PauseRoute && (kind == mail.RouteMX || e.Delay != ExtentRoute || e.Alert == "") {
					t.Errorf("%s, %s, %s: %+v", scope, class, kind, e)
				}
			}
		}
	}
}
