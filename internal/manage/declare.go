package manage

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// ParseState reads a state as `postroad apply` takes it, and the kinds it declares: a list that is not mentioned is
// not touched by applying it; `accounts = []` declares that there are none. An error is *Invalid and names line and
// column.
func ParseState(doc []byte) (s platform.State, kinds []store.Kind, err error) {
	dec := toml.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return platform.State{}, nil, &Invalid{parseProblems(err)}
	}
	var top map[string]any
	if err := toml.Unmarshal(doc, &top); err != nil {
		return platform.State{}, nil, &Invalid{parseProblems(err)}
	}
	for _, k := range []struct {
		name string
		kind store.Kind
	}{
		{"accounts", store.KindAccount},
		{"pools", store.KindPool},
		{"sources", store.KindSource},
		{"routes", store.KindRoute},
		{"policies", store.KindPolicy},
		{"holds", store.KindHold},
		{"legal_holds", store.KindLegalHold},
	} {
		if _, ok := top[k.name]; ok {
			kinds = append(kinds, k.kind)
		}
	}
	return s, kinds, nil
}

func parseProblems(err error) []Problem {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var list []Problem
		for _, e := range strict.Errors {
			line, col := e.Position()
			list = append(list, Problem{fmt.Sprintf("%d:%d", line, col), "there is no field " + strings.Join(e.Key(), ".")})
		}
		return list
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		line, col := dec.Position()
		what := strings.TrimPrefix(dec.Error(), "toml: ")
		if key := strings.Join(dec.Key(), "."); key != "" {
			what = key + ": " + what
		}
		return []Problem{{fmt.Sprintf("%d:%d", line, col), what}}
	}
	return []Problem{{"state", err.Error()}}
}

// FormatState writes a state as `postroad export` shows it: complete but for secrets, which have to be given again
// where it is applied to another platform.
func FormatState(s platform.State) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Postroad platform state. Apply it with: postroad apply -f FILE\n# Secrets (passwords, keys) are not part of an export; applying it to the same platform keeps them.\n\n")
	enc := toml.NewEncoder(&b)
	enc.SetIndentTables(true)
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("manage: write state: %w", err)
	}
	return b.Bytes(), nil
}
