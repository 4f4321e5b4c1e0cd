package spool

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned for a message, delivery or content the spool does not hold (any more).
	ErrNotFound = errors.New("spool: not found")
	// ErrClosed is returned once Close was called.
	ErrClosed = errors.New("spool: closed")
	// ErrFailed is returned after a write or sync failed: what was not acknowledged by then is unknown, and the spool
	// takes nothing more until it is opened again. It wraps nothing; Err gives the cause.
	ErrFailed = errors.New("spool: stopped after a failed write")
	// ErrLocked is returned by Open, Check and Salvage when another process has the spool open.
	ErrLocked = errors.New("spool: in use by another process")
	// ErrDiskFull is returned for new mail, stages, content and inbox entries while the disk is below its floor.
	ErrDiskFull = errors.New("spool: too little disk space for new mail")
	// ErrStale is returned for a change whose Old is not what the spool holds: the delivery is over, or somebody else
	// changed it. Nothing of its batch is written.
	ErrStale = errors.New("spool: the delivery has changed or is over")
	// ErrExists is returned for an acceptance whose deliveries are in the spool already: it was committed before.
	ErrExists = errors.New("spool: already accepted")
	// ErrTooLarge is returned for a batch over MaxBatch, or an acceptance of more than MaxStage deliveries.
	ErrTooLarge = errors.New("spool: batch too large")
	// ErrBadBatch is returned for a batch that contradicts itself; the text says how.
	ErrBadBatch = errors.New("spool: bad batch")
)

// DamageError says that a file of the spool cannot be read as it was written. Open refuses with it; `postroad spool
// salvage` copies what is readable.
type DamageError struct {
	File string // the damaged file, as far as it is known
	Err  error
}

// Error implements error.
func (e *DamageError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("spool: damaged: %v", e.Err)
	}
	return fmt.Sprintf("spool: file %s is damaged: %v", e.File, e.Err)
}

// Unwrap returns what the reader said.
func (e *DamageError) Unwrap() error { return e.Err }
