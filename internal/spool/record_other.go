package spool

import "slices"

// appendInbox writes an inbox entry; its Seq is in its key.
func appendInbox(b []byte, e *InboxEntry) []byte {
	b = append(b, recordVersion)
	b = putString(b, 1, e.Kind)
	b = putTime(b, 2, e.Received)
	b = appendMap(b, 3, 4, e.Meta)
	return putString(b, 5, e.Raw)
}

func decodeInbox(seq uint64, value []byte) (e InboxEntry, err error) {
	if len(value) < 1 || value[0] != recordVersion {
		return e, errBadRecord
	}
	e.Seq = seq
	var key string
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			e.Kind = f.string()
		case 2:
			e.Received = f.time()
		case 3:
			key = f.string()
		case 4:
			setMap(&e.Meta, key, f.string())
		case 5:
			e.Raw = slices.Clone(f.data)
		}
	}
	return e, f.err()
}

// appendIdem writes an idempotency record; account and key hash are in its key.
func appendIdem(b []byte, r *IdempotencyRecord) []byte {
	b = append(b, recordVersion)
	b = putElem(b, 1, r.BodyHash[:])
	b = putTime(b, 2, r.At)
	return putString(b, 3, r.Response)
}

func decodeIdem(account string, keyHash [32]byte, value []byte) (*IdempotencyRecord, error) {
	if len(value) < 1 || value[0] != recordVersion {
		return nil, errBadRecord
	}
	r := &IdempotencyRecord{Account: account, KeyHash: keyHash}
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			f.hash(&r.BodyHash)
		case 2:
			r.At = f.time()
		case 3:
			r.Response = slices.Clone(f.data)
		}
	}
	if f.bad {
		return nil, errBadRecord
	}
	return r, nil
}
