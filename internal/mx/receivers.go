package mx

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

//go:embed receivers.toml
var builtinReceivers []byte

// Receiver is a group of sites run by one mailbox provider, recognised by the names of its MX hosts.
type Receiver struct {
	Name string `toml:"name"`
	// Suffixes begin with a dot and match every host below that name.
	Suffixes []string `toml:"suffixes,omitempty"`
	// Hosts match one host each.
	Hosts []string `toml:"hosts,omitempty"`
	// Source says where the entry's facts come from.
	Source string `toml:"source"`
}

// Table is a list of receivers, ready to be searched. It is never changed.
type Table struct {
	list []Receiver
	// index of list by suffix (with its leading dot) or whole host name.
	index map[string]int
}

// DefaultReceivers returns the table that is built in.
func DefaultReceivers() (*Table, error) { return ParseReceivers(builtinReceivers) }

// ParseReceivers reads a table in TOML. It refuses entries that could never match: suffixes without a leading or with a
// trailing dot, upper case, and names that another entry already holds.
func ParseReceivers(text []byte) (*Table, error) {
	var file struct {
		Receiver []Receiver `toml:"receiver"`
	}
	d := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("mx: read receivers: %w", err)
	}
	t := &Table{list: file.Receiver, index: make(map[string]int)}
	names := make(map[string]bool)
	for i, r := range t.list {
		if err := t.add(i, r); err != nil {
			return nil, fmt.Errorf("mx: read receivers: %q: %w", r.Name, err)
		}
		if names[r.Name] {
			return nil, fmt.Errorf("mx: read receivers: %q is there twice", r.Name)
		}
		names[r.Name] = true
	}
	return t, nil
}

func (t *Table) add(i int, r Receiver) error {
	switch {
	case r.Name == "" || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return errors.New("a name has lower-case letters, digits and hyphens")
	case r.Source == "":
		return errors.New("source is missing: where do the facts come from?")
	case len(r.Suffixes)+len(r.Hosts) == 0:
		return errors.New("it has neither suffixes nor hosts and could never match")
	}
	for _, s := range r.Suffixes {
		if !strings.HasPrefix(s, ".") || !isHostName(s[1:]) {
			return fmt.Errorf("suffix %q could never match: it begins with a dot, ends without one, and is a name in lower-case A-labels", s)
		}
		if other, ok := t.index[s]; ok {
			return fmt.Errorf("suffix %q already belongs to %q", s, t.list[other].Name)
		}
		t.index[s] = i
	}
	for _, h := range r.Hosts {
		if !isHostName(h) {
			return fmt.Errorf("host %q could never match: it is a name in lower-case A-labels without a trailing dot", h)
		}
		if other, ok := t.index[h]; ok {
			return fmt.Errorf("host %q already belongs to %q", h, t.list[other].Name)
		}
		t.index[h] = i
	}
	return nil
}

// Get returns the receiver called name.
func (t *Table) Get(name string) (Receiver, bool) {
	for _, r := range t.list {
		if r.Name == name {
			return r, true
		}
	}
	return Receiver{}, false
}

// Host returns the name of the receiver a mail host belongs to, by the longest suffix that matches; "" for none.
func (t *Table) Host(host string) string {
	if i, ok := t.index[host]; ok {
		return t.list[i].Name
	}
	for rest := host; ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return ""
		}
		if i, ok := t.index[rest[dot:]]; ok {
			return t.list[i].Name
		}
		rest = rest[dot+1:]
	}
}

// Site returns the name of the receiver that all hosts belong to; "" if they do not agree.
func (t *Table) Site(hosts []Host) string {
	name := ""
	for i, h := range hosts {
		r := t.Host(h.Name)
		if r == "" || i > 0 && r != name {
			return ""
		}
		name = r
	}
	return name
}
