package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/bounce"
)

// unknownReplies groups replies no rule knows by their wording.
type unknownReplies struct {
	groups map[string]*unknownReply
	order  []string
}

type unknownReply struct {
	in    bounce.Input // the first of them
	count int
}

func (u *unknownReplies) add(in bounce.Input) {
	key := fmt.Sprint(in.Code, " ", in.Enhanced, " ", bounce.Fingerprint(in.Text))
	if u.groups == nil {
		u.groups = make(map[string]*unknownReply)
	}
	if u.groups[key] == nil {
		u.groups[key] = &unknownReply{in: in}
		u.order = append(u.order, key)
	}
	u.groups[key].count++
}

// print writes a rule for each wording, the most frequent first. All of them together load as one file.
func (u *unknownReplies) print(w io.Writer) {
	slices.SortStableFunc(u.order, func(a, b string) int { return u.groups[b].count - u.groups[a].count })
	ids := make(map[string]int)
	file := ""
	for _, key := range u.order {
		g := u.groups[key]
		rule, err := bounce.Suggest(g.in)
		if err != nil {
			fmt.Fprintf(w, "# seen %d times, no rule: %v\n\n", g.count, err)
			continue
		}
		id, rest, _ := strings.Cut(strings.TrimPrefix(rule, "[[rule]]\n"), "\n")
		if ids[id]++; ids[id] > 1 {
			id = fmt.Sprintf("%s-%d\"", strings.TrimSuffix(id, "\""), ids[id])
		}
		rule = "[[rule]]\n" + id + "\n" + rest + "\n"
		if bounce.CheckFile(file+rule) != nil {
			fmt.Fprintf(w, "# seen %d times, a rule above takes it: %s\n\n", g.count, key)
			continue
		}
		file += rule
		fmt.Fprintf(w, "# seen %d times\n%s", g.count, rule)
	}
	if len(u.order) == 0 {
		fmt.Fprintln(w, "# a rule knows every reply")
	}
}
