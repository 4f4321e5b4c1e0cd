package sqlite

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBloom: what was added is always found, and of what was not as little as promised.
func TestBloom(t *testing.T) {
	for _, n := range []int64{0, 1, 200, 2_016, 2_017, 100_000} {
		b := newBloom(n)
		hashes := make([]int64, n)
		for i := range hashes {
			hashes[i] = int64(rand.Uint64())
			b.add(hashes[i])
		}
		for i, rhash := range hashes {
			if !b.has(rhash) {
				t.Fatalf("of %d, the %d. is not found", n, i)
			}
		}
		const others = 50_000
		wrong := 0
		for range others {
			if b.has(int64(rand.Uint64())) {
				wrong++
			}
		}
		if wrong > others*3/1000 {
			t.Errorf("with %d on %d pages, %d of %d others are held to be there", n, b.pages, wrong, others)
		}
	}
}

// TestBlocks: blocks are ranges of hashes, in their order and without a gap.
func TestBlocks(t *testing.T) {
	for _, pages := range []int64{1, 2, 3, 65, 8_323} {
		next := int64(math.MinInt64)
		for block := range pages * pageBlocks {
			lo, hi := hashesOf(block, pages)
			if lo != next || blockOf(lo, pages) != block || blockOf(hi, pages) != block {
				t.Fatalf("of %d pages, block %d is from %d to %d, which belong to %d and %d; want from %d", pages, block, lo, hi, blockOf(lo, pages), blockOf(hi, pages), next)
			}
			next = hi + 1 // wraps after the last
		}
		if next != math.MinInt64 {
			t.Errorf("the last block of %d pages ends at %d", pages, next-1)
		}
		for range 1000 {
			rhash := int64(rand.Uint64())
			if lo, hi := hashesOf(blockOf(rhash, pages), pages); rhash < lo || rhash > hi {
				t.Fatalf("%d belongs to a block from %d to %d", rhash, lo, hi)
			}
		}
	}
}
