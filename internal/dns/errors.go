package dns

import (
	"errors"
	"time"
)

// The kinds of error. The first two are facts about the name, the others say nothing about it.
var (
	// ErrNotExist: there is no such name (NXDOMAIN).
	ErrNotExist = errors.New("no such name")
	// ErrNoData: the name exists, but has no record of the type (RFC 2308 §2.2).
	ErrNoData = errors.New("no such record")
	// ErrTemporary: no answer now: a time-out, SERVFAIL, REFUSED, a server that does not recurse.
	ErrTemporary = errors.New("no answer from the name servers")
	// ErrMalformed: the name cannot be asked for, or the answer makes no sense.
	ErrMalformed = errors.New("malformed")
)

// Error is why a look-up gave no records.
type Error struct {
	Kind error  // ErrNotExist, ErrNoData, ErrTemporary or ErrMalformed
	Name string // as asked for
	Type string // "MX", "A", …
	// Canonical is where the CNAME records of Name led; Name itself if it has none.
	Canonical string
	Server    string // the name server that said so; "" if none did
	// Authentic: the absence is proven, as in Answer.
	Authentic bool
	// Expires is when the error may be asked about again; zero: at once.
	Expires time.Time
	Err     error // the cause; may be nil
}

// Error implements error.
func (e *Error) Error() string {
	s := "dns: " + e.Type + " of " + e.Name + ": " + e.Kind.Error()
	if e.Canonical != "" && e.Canonical != e.Name {
		s += " at " + e.Canonical
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Server != "" {
		s += " (server " + e.Server + ")"
	}
	return s
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Final reports whether err is a fact about the name: asking again soon gives the same answer.
func Final(err error) bool { return errors.Is(err, ErrNotExist) || errors.Is(err, ErrNoData) }
