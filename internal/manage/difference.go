package manage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// clone copies a state so deeply that changing the copy leaves the original alone.
func clone(s platform.State) platform.State {
	c := platform.State{
		Accounts: slices.Clone(s.Accounts), Pools: slices.Clone(s.Pools), Sources: slices.Clone(s.Sources),
		Routes: slices.Clone(s.Routes), Policies: slices.Clone(s.Policies), Holds: slices.Clone(s.Holds),
		LegalHolds: slices.Clone(s.LegalHolds),
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		a.Senders = slices.Clone(a.Senders)
		for j := range a.Senders {
			a.Senders[j].Keys = slices.Clone(a.Senders[j].Keys)
		}
		a.Credentials = slices.Clone(a.Credentials)
		a.Mailboxes = slices.Clone(a.Mailboxes)
		a.Webhooks = slices.Clone(a.Webhooks)
		for j := range a.Webhooks {
			w := &a.Webhooks[j]
			w.Types, w.Streams, w.Keys = slices.Clone(w.Types), slices.Clone(w.Streams), slices.Clone(w.Keys)
		}
	}
	return c
}

// difference lists what differs between two states, for people in report, for the store as its return value.
func difference(old, want platform.State, report *StateReport) []store.Change {
	d := &differ{report: report}
	compare(d, store.KindSource, old.Sources, want.Sources, func(x platform.Source) string { return x.Name }, store.PutSource)
	compare(d, store.KindPool, old.Pools, want.Pools, func(x platform.Pool) string { return x.Name }, store.PutPool)
	compare(d, store.KindRoute, old.Routes, want.Routes, func(x platform.Route) string { return x.Name }, store.PutRoute)
	compare(d, store.KindAccount, old.Accounts, want.Accounts, func(x platform.Account) string { return x.Name }, store.PutAccount)
	compare(d, store.KindPolicy, old.Policies, want.Policies, func(x platform.Policy) string { return x.Name }, store.PutPolicy)
	compare(d, store.KindHold, old.Holds, want.Holds, func(x platform.Hold) string { return x.Name }, store.PutHold)
	compare(d, store.KindLegalHold, old.LegalHolds, want.LegalHolds, func(x platform.LegalHold) string { return x.Name }, store.PutLegalHold)
	return d.changes
}

type differ struct {
	changes []store.Change
	report  *StateReport
}

func compare[T any](d *differ, kind store.Kind, old, want []T, name func(T) string, put func(T) store.Change) {
	before := map[string]T{}
	for _, x := range old {
		before[name(x)] = x
	}
	for _, x := range want {
		n := name(x)
		was, found := before[n]
		delete(before, n)
		if !found {
			d.changes = append(d.changes, put(x))
			d.report.Changes = append(d.report.Changes, Change{Op: OpCreate, Kind: kind, Name: n})
			continue
		}
		if fields := fieldsThatDiffer(was, x); len(fields) > 0 {
			d.changes = append(d.changes, put(x))
			d.report.Changes = append(d.report.Changes, Change{Op: OpUpdate, Kind: kind, Name: n, Fields: fields})
		}
	}
	gone := make([]string, 0, len(before))
	for n := range before {
		gone = append(gone, n)
	}
	slices.Sort(gone)
	for _, n := range gone {
		d.changes = append(d.changes, store.Delete(kind, n))
		d.report.Changes = append(d.report.Changes, Change{Op: OpDelete, Kind: kind, Name: n})
	}
}

// fieldsThatDiffer compares two entries by their visible form, then their secrets by name.
func fieldsThatDiffer[T any](a, b T) []string {
	fa, fb := flatten(a), flatten(b)
	for k, v := range secretsOf(any(a)) {
		fa[k] = v
	}
	for k, v := range secretsOf(any(b)) {
		fb[k] = v
	}
	keys := map[string]bool{}
	for k := range fa {
		keys[k] = true
	}
	for k := range fb {
		keys[k] = true
	}
	var fields []string
	for k := range keys {
		va, vb := fa[k], fb[k]
		if va == vb {
			continue
		}
		if strings.HasSuffix(k, "(secret)") {
			fields = append(fields, strings.TrimSuffix(k, " (secret)")+": secret changed")
			continue
		}
		fields = append(fields, fmt.Sprintf("%s: %s -> %s", k, orNone(va), orNone(vb)))
	}
	slices.Sort(fields)
	return fields
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// flatten turns an entry into "path: JSON value" pairs; entries of lists that have a name are told by it.
func flatten(v any) map[string]string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data always marshals
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		panic(err)
	}
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), x)
			}
		case []any:
			for i, x := range v {
				key := fmt.Sprint(i)
				if m, ok := x.(map[string]any); ok {
					for _, id := range []string{"name", "selector"} {
						if n, ok := m[id].(string); ok {
							key = n
							break
						}
					}
				}
				walk(path+"["+key+"]", x)
			}
		default:
			b, _ := json.Marshal(v)
			out[path] = string(b)
		}
	}
	walk("", tree)
	return out
}

// secretsOf returns the hidden parts of an entry by path.
func secretsOf(v any) map[string]string {
	out := map[string]string{}
	switch v := v.(type) {
	case platform.Account:
		for _, c := range v.Credentials {
			out["credentials["+c.Name+"].secret (secret)"] = c.Hash
		}
		for _, s := range v.Senders {
			for _, k := range s.Keys {
				out["senders["+s.Name+"].keys["+k.Selector+"].private_key (secret)"] = string(k.Sealed)
			}
		}
		for _, b := range v.Mailboxes {
			out["mailboxes["+b.Name+"].password (secret)"] = string(b.Sealed)
		}
		for _, w := range v.Webhooks {
			var all []byte
			for _, k := range w.Keys {
				all = append(all, k.Sealed...)
			}
			out["webhooks["+w.Name+"].secret (secret)"] = string(all)
		}
	case platform.Route:
		out["password (secret)"] = string(v.Sealed)
	}
	return out
}
