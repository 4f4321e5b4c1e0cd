package egress

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func names(ss []*platform.Source) (out []string) {
	for _, s := range ss {
		out = append(out, s.Name)
	}
	return out
}

func TestSources(t *testing.T) {
	snap := platform.NewSnapshot(platform.State{
		Sources: []platform.Source{{Name: "a"}, {Name: "b", State: Resting}, {Name: "c"}},
		Pools: []platform.Pool{
			{Name: "shared", Sources: []string{"c", "b", "a", "unknown"}},
			{Name: "own", Sources: []string{"a"}, Accounts: []string{"acme"}},
			{Name: "tired", Sources: []string{"b"}},
		},
	}, "")
	for _, tc := range []struct {
		pool, account string
		want          []string
		fails         bool
	}{
		{"", "x", nil, false},
		{"shared", "x", []string{"c", "a"}, false},
		{"own", "acme", []string{"a"}, false},
		{"own", "x", nil, true},
		{"tired", "x", nil, true},
		{"none", "x", nil, true},
	} {
		got, err := Sources(snap, &platform.Route{Name: "r", Pool: tc.pool}, tc.account)
		if errors.Is(err, ErrNoSource) != tc.fails || !cmp.Equal(names(got), tc.want) {
			t.Errorf("pool %q, account %s: %v, %v", tc.pool, tc.account, names(got), err)
		}
	}
}

func TestRotationByWeight(t *testing.T) {
	sources := []*platform.Source{{Name: "a", Weight: 5}, {Name: "b"}, {Name: "c", Weight: 2}}
	var r Rotation
	n := map[string]int{}
	longest, run, last := 0, 0, ""
	for range 800 {
		s := r.Next(sources, Choice{}).Name
		n[s]++
		if s != last {
			run = 0
		}
		run, last = run+1, s
		longest = max(longest, run)
	}
	if want := map[string]int{"a": 500, "b": 100, "c": 200}; !cmp.Equal(n, want) {
		t.Fatal(cmp.Diff(want, n))
	}
	if longest > 3 {
		t.Fatalf("a run of %d from one source", longest)
	}
	// A pool that changes goes on from there.
	n = map[string]int{}
	for range 100 {
		n[r.Next(sources[:2], Choice{}).Name]++
	}
	if n["a"] < 80 || n["b"] < 14 {
		t.Fatalf("after a change: %v", n)
	}
}

func TestRotationChoice(t *testing.T) {
	sources := []*platform.Source{{Name: "a", Weight: 100}, {Name: "b"}, {Name: "c"}}
	blocked := func(names ...string) func(string) bool {
		return func(s string) bool {
			for _, n := range names {
				if n == s {
					return true
				}
			}
			return false
		}
	}
	for _, tc := range []struct {
		name  string
		c     Choice
		never []string
		only  string
	}{
		{"greylisted", Choice{Keep: "c"}, nil, "c"},
		{"greylisted by one that is gone", Choice{Keep: "z", Avoid: "a"}, []string{"a"}, ""},
		{"avoided", Choice{Avoid: "a"}, []string{"a"}, ""},
		{"blocked", Choice{Blocked: blocked("a", "b")}, nil, "c"},
		{"all but the avoided blocked", Choice{Avoid: "a", Blocked: blocked("b", "c")}, []string{"a"}, ""},
		{"all blocked", Choice{Blocked: blocked("a", "b", "c")}, nil, ""},
	} {
		var r Rotation
		for range 50 {
			s := r.Next(sources, tc.c).Name
			if tc.only != "" && s != tc.only || len(tc.never) > 0 && s == tc.never[0] {
				t.Fatalf("%s: took %s", tc.name, s)
			}
		}
	}
	if got := new(Rotation).Next(sources[:1], Choice{Avoid: "a"}); got.Name != "a" {
		t.Fatal("the only source is taken all the same")
	}
}

func TestChoiceOf(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d := &mail.Delivery{GreylistedBy: "s", GreylistUntil: now.Add(time.Minute), AvoidSource: "x"}
	if c := ChoiceOf(d, now); c.Keep != "s" || c.Avoid != "x" {
		t.Fatalf("%+v", c)
	}
	if c := ChoiceOf(d, now.Add(time.Minute)); c.Keep != "" {
		t.Fatalf("%+v", c)
	}
}
