// Package mx decides where a domain takes mail (RFC 5321 §5) and names that place: its hosts in the order to try them,
// its site, its receiver, and the TLS policy that binds us there.
//
// Its door is Resolver.Plan; Resolver.Addrs then gives the addresses of one host of the plan.
//
// # Guarantees
//
//   - Exactly three errors are final: ErrNullMX, ErrNoSuchDomain and ErrNoMailHost. Every other one is temporary.
//   - The implicit MX is used only when the domain exists and has no MX record, never because a look-up failed.
//   - A host that is ourselves, and every host less preferred, is left out: mail never loops through its MX list.
//   - The TLS policy is asked for per recipient domain before hosts are grouped into a site, and a policy that binds
//     makes a site of its own: a connection made under one domain's policy is never taken for another's.
//   - A receiver is recognised only if every usable MX host belongs to it.
//
// # Files
//
// receivers.toml holds the receivers as data, each with where its facts come from.
//
// # Not here
//
// DNS itself, its cache and its errors: dns. Which address families and sources are used, and whether a private address
// may be connected to: delivery. What limits hold in a lane: egress.
package mx
