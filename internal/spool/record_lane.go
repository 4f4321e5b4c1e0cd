package spool

import (
	"github.com/postroad/postroad/internal/mail"
)

// appendLane writes a lane record; its Key is in its key.
func appendLane(b []byte, l *LaneRecord) []byte {
	b = append(b, recordVersion)
	b = putString(b, 1, l.Lane.Route)
	b = putString(b, 2, l.Lane.Source)
	b = putString(b, 3, l.Lane.Receiver)
	b = putString(b, 4, l.Lane.Site)
	b = putString(b, 5, l.Scope)
	b = putTime(b, 6, l.Since)
	b = putTime(b, 7, l.Until)
	b = putInt(b, 8, int64(l.Fails))
	b, at := openField(b, 9)
	return closeField(appendLast(b, &l.Last), at)
}

func decodeLane(key string, value []byte) (l LaneRecord, err error) {
	if len(value) < 1 || value[0] != recordVersion {
		return l, errBadRecord
	}
	l.Key = key
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			l.Lane.Route = f.string()
		case 2:
			l.Lane.Source = f.string()
		case 3:
			l.Lane.Receiver = f.string()
		case 4:
			l.Lane.Site = f.string()
		case 5:
			l.Scope = mail.Scope(f.data)
		case 6:
			l.Since = f.time()
		case 7:
			l.Until = f.time()
		case 8:
			l.Fails = int(f.int())
		case 9:
			decodeLast(&f, &l.Last)
		}
	}
	return l, f.err()
}
