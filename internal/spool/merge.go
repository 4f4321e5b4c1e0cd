package spool

import (
	"encoding/binary"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// counterMerger adds up the operands of a counter key. Its name is part of the format.
var counterMerger = &pebble.Merger{
	Name: "postroad.counter.1",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		c := new(counter)
		return c, c.add(value)
	},
}

// counter is the sum so far. Addition does not mind the order.
type counter int64

func (c *counter) add(value []byte) error {
	n, ok := counterValue(value)
	if !ok {
		return errBadRecord
	}
	*c += counter(n)
	return nil
}

// MergeNewer implements pebble.ValueMerger.
func (c *counter) MergeNewer(value []byte) error { return c.add(value) }

// MergeOlder implements pebble.ValueMerger.
func (c *counter) MergeOlder(value []byte) error { return c.add(value) }

// Finish implements pebble.ValueMerger.
func (c *counter) Finish(bool) ([]byte, io.Closer, error) {
	return appendCounter(nil, int64(*c)), nil, nil
}

func appendCounter(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

func counterValue(b []byte) (int64, bool) {
	n, l := binary.Varint(b)
	return n, l > 0 && l == len(b)
}
