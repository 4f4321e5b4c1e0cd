package sqlite

import (
	"log/slog"
	"time"
)

// Options of a Store.
type Options struct {
	// Dir is the folder of the store; it is made if missing.
	Dir    string
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
	// Retention is how long days of the record are kept, counted from the day's end. 0: for ever.
	Retention time.Duration
	// OpenDays is how many day files are kept open while nobody uses them. 0: DefaultOpenDays.
	OpenDays int
	// MayGrow is asked before events are written. An error makes WriteEvents return ErrUnavailable: the store stops
	// growing before the spool does. nil: always.
	MayGrow func() error
}
