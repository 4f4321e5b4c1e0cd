package sqlite

// A filter tells which recipients some deliveries can have: of 1,000 it does not hold, it holds back all but 3 at most. It
// is a Bloom filter in blocks (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): an
// address sets some bits of one block, so that asking for one reads one page of the file. Blocks lie in the order of the
// hashes, which is the order of the index: a block can be made again from a small part of the index, and what was
// erased leaves no trace.
//
// Files keep filters. Who changes which bits are set must empty the tables filters and filter_pages with a migration.
const (
	// filterBits is how many bits a filter has per delivery.
	filterBits = 16
	// filterProbes is how many of them an address sets: 9 bits of a hash each.
	filterProbes = 7
	// blockOctets is the size of a block.
	blockOctets = 64
	// pageBlocks is how many blocks a row of filter_pages holds: with what SQLite adds, it fills a page of the file.
	pageBlocks = 63
	pageOctets = pageBlocks * blockOctets
)

// bloom is a filter in memory.
type bloom struct {
	pages int64
	bits  []byte
}

func newBloom(deliveries int64) *bloom {
	pages := max(1, (deliveries*filterBits+8*pageOctets-1)/(8*pageOctets))
	return &bloom{pages, make([]byte, pages*pageOctets)}
}

// page returns the n-th page.
func (b *bloom) page(n int64) []byte {
	return b.bits[n*pageOctets:][:pageOctets]
}

func (b *bloom) block(rhash int64) []byte {
	return b.bits[blockOf(rhash, b.pages)*blockOctets:][:blockOctets]
}

func (b *bloom) add(rhash int64) { setBits(b.block(rhash), rhash) }

func (b *bloom) has(rhash int64) bool { return hasBits(b.block(rhash), rhash) }

// hashPlace is where a hash stands among all, from 0 to 2^32-1: its upper half, in the order of the index, where hashes
// are signed.
func hashPlace(rhash int64) int64 { return int64((uint64(rhash) ^ 1<<63) >> 32) }

// blockOf returns the number of the block a hash belongs to; filterQuery says the same in SQL.
func blockOf(rhash, pages int64) int64 { return hashPlace(rhash) * pages * pageBlocks >> 32 }

// hashesOf returns the lowest and the highest hash that belong to a block.
func hashesOf(block, pages int64) (lo, hi int64) {
	blocks := pages * pageBlocks
	place := func(block int64) uint64 { return uint64((block<<32 + blocks - 1) / blocks) } // the lowest
	return int64(place(block)<<32 ^ 1<<63), int64((place(block+1)<<32 - 1) ^ 1<<63)
}

// setBits sets a hash's bits in its block.
func setBits(block []byte, rhash int64) {
	x := mix(rhash)
	for range filterProbes {
		block[x%512/8] |= 1 << (x % 8)
		x /= 512
	}
}

// hasBits reports whether all bits of a hash are set in its block.
func hasBits(block []byte, rhash int64) bool {
	x := mix(rhash)
	for range filterProbes {
		if block[x%512/8]&(1<<(x%8)) == 0 {
			return false
		}
		x /= 512
	}
	return true
}

// mix makes of a hash another one: those of a block have their upper bits in common. (The last step of MurmurHash3.)
func mix(rhash int64) uint64 {
	x := uint64(rhash)
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
