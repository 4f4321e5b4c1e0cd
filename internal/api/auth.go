package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

// caller is who makes a request.
type caller struct {
	principal platform.Principal // zero for the operator at the admin socket
	operator  bool
	account   string // that it wants to act for; "": its own, or as operator everybody's
	ip        netip.Addr
	tls       bool
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// actor names the caller in the audit log.
func (c caller) actor() string {
	if c.principal.Account == nil {
		return "operator/local"
	}
	return "credential/" + c.principal.Account.Name + "/" + c.principal.Credential.Name
}

// AccountHeader lets the operator act for an account.
const AccountHeader = "Postroad-Account"

// authenticate finds out who makes the request, or refuses it.
func (a *API) authenticate(next http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller{ip: a.clientIP(r), tls: r.TLS != nil, operator: local, account: r.Header.Get(AccountHeader)}
		if !a.public[r.URL.Path] {
			if key := bearer(r); key != "" {
				p, err := a.o.Submission.Key(key, c.ip)
				if err != nil {
					writeProblem(w, *a.problemOf(err))
					return
				}
				c.principal, c.operator = p, p.Credential.Allows(platform.ScopeAdmin)
			} else if !local {
				writeProblem(w, Problem{
					Type: typeOf(string(submission.BadCredentials)), Title: "An API key is needed", Status: http.StatusUnauthorized,
					Detail: "send the header Authorization: Bearer KEY; an operator makes keys with `postroad apply`",
				})
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

// clientIP is the peer, or what a trusted proxy says it is: the last address in X-Forwarded-For that is not a trusted
// proxy itself.
func (a *API) clientIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap()
	// All lines of the field: a proxy that adds one of its own must not leave the client's to be read alone.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && a.trusted(ip); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		ip = hop.Unmap()
	}
	return ip
}

func (a *API) trusted(ip netip.Addr) bool {
	for _, p := range a.o.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// sender returns the account the caller sends for. The operator names one.
func (a *API) sender(ctx context.Context) (platform.Principal, error) {
	c := callerOf(ctx)
	account := c.account
	if account == "" || (c.principal.Account != nil && account == c.principal.Account.Name) {
		if c.principal.Account != nil {
			return c.principal, nil
		}
		return platform.Principal{}, badRequest("header "+AccountHeader, "the operator must name the account it sends for")
	}
	if !c.operator {
		return platform.Principal{}, forbidden("only an operator may act for another account")
	}
	acc := a.o.Manager.Snapshot().Account(account)
	if acc == nil {
		return platform.Principal{}, notFound("there is no such account")
	}
	return submission.Operator(acc), nil
}

// readable returns the account whose mail the caller may read; "" means everybody's. want is the account asked for, ""
// for whatever the caller may see.
func readable(ctx context.Context, want string) (string, error) {
	return allowed(ctx, want, platform.ScopeRead)
}

// allowed is readable for any scope.
func allowed(ctx context.Context, want string, scope platform.Scope) (string, error) {
	c := callerOf(ctx)
	if want == "" {
		want = c.account
	}
	switch {
	case c.operator:
		return want, nil
	case !c.principal.Credential.Allows(scope):
		return "", forbidden(`the credential has no scope "` + string(scope) + `"`)
	case want != "" && want != c.principal.Account.Name:
		return "", forbidden("only an operator may ask for another account's mail")
	}
	return c.principal.Account.Name, nil
}

// admin refuses callers that are no operator.
func admin(ctx context.Context) error {
	if !callerOf(ctx).operator {
		return forbidden(`this needs an API key with the scope "admin", or the admin socket`)
	}
	return nil
}
