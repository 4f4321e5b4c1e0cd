package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Idempotency returns what an account's idempotency key made, or nil when it is unknown or older than
// IdempotencyFor. keyHash is the SHA-256 of the key.
func (s *Spool) Idempotency(_ context.Context, account string, keyHash [32]byte, now time.Time) (*IdempotencyRecord, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	oldest := hourOf(now.Add(-IdempotencyFor))
	for _, hour := range s.hours() {
		if hour < oldest {
			continue
		}
		key := idemKey(nil, hour, account, keyHash)
		v, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, s.readError(err)
		}
		r, err := decodeIdem(account, keyHash, v)
		if err != nil {
			s.quarantine(key, v, "idempotency record of account "+account)
		}
		_ = closer.Close()
		if err != nil {
			return nil, err
		}
		if now.Sub(r.At) >= IdempotencyFor {
			return nil, nil
		}
		return r, nil
	}
	return nil, nil
}

// hours returns the hours that have records, newest first.
func (s *Spool) hours() []uint32 {
	s.seen.Lock()
	defer s.seen.Unlock()
	list := slices.Sorted(maps.Keys(s.seen.hours))
	slices.Reverse(list)
	return list
}

// loadHours finds the hours that have records, one seek each.
func (s *Spool) loadHours() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tabIdem}, UpperBound: []byte{tabIdem + 1}})
	if err != nil {
		return s.readError(err)
	}
	for ok := it.First(); ok; {
		key := it.Key()
		if len(key) < 5 {
			ok = it.Next()
			continue
		}
		hour := binary.BigEndian.Uint32(key[1:])
		s.seen.hours[hour] = struct{}{}
		if hour == 1<<32-1 {
			break
		}
		ok = it.SeekGE(binary.BigEndian.AppendUint32([]byte{tabIdem}, hour+1))
	}
	if err := it.Close(); err != nil {
		return s.readError(err)
	}
	return nil
}

// dropIdempotency removes the hours whose records have all expired, by one range deletion.
func (s *Spool) dropIdempotency(ctx context.Context, now time.Time) error {
	oldest := hourOf(now.Add(-IdempotencyFor))
	hours := s.hours()
	hours = slices.DeleteFunc(hours, func(h uint32) bool { return h >= oldest })
	if len(hours) == 0 {
		return nil
	}
	err := s.do(ctx, &item{size: keyOverhead, job: func(f *frame) error {
		f.deleteRange([]byte{tabIdem}, binary.BigEndian.AppendUint32([]byte{tabIdem}, oldest))
		return nil
	}})
	if err != nil {
		return err
	}
	s.seen.Lock()
	defer s.seen.Unlock()
	for _, h := range hours {
		delete(s.seen.hours, h)
	}
	return nil
}
