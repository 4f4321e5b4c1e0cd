package manage

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/postroad/postroad/internal/suppression"
)

// keySet is a set of 40-bit keys: what the suppression list may hold, at four to eleven octets of memory an entry. A key
// that is not in it is certainly not on the list; one that is there is, but for one in about 10^12 divided by the size of
// the list. Keys are never taken out; a set without them is built anew.
type keySet struct{ shards [256]keyShard }

// keyShard is an open-addressed table of the keys with one first octet. Its size is a power of two, 0 an empty place.
type keyShard struct {
	mu    sync.RWMutex
	slots []uint32
	n     int
}

// firstShard is the size a shard begins with.
const firstShard = 8

// split gives a key's shard and what is kept of it.
func split(key uint64) (shard uint8, kept uint32) {
	return uint8(key >> 56), max(uint32(key>>24), 1)
}

func (k *keySet) add(key uint64) {
	i, kept := split(key)
	s := &k.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if 4*(s.n+1) > 3*len(s.slots) {
		old := s.slots
		s.slots = make([]uint32, max(2*len(old), firstShard))
		for _, v := range old {
			if v != 0 {
				s.slots[s.place(v)] = v
			}
		}
	}
	if p := s.place(kept); s.slots[p] == 0 {
		s.slots[p] = kept
		s.n++
	}
}

func (k *keySet) has(key uint64) bool {
	i, kept := split(key)
	s := &k.shards[i]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.n > 0 && s.slots[s.place(kept)] == kept
}

// place is where v lies, or would.
func (s *keyShard) place(v uint32) int {
	mask := len(s.slots) - 1
	for p := int(v) & mask; ; p = (p + 1) & mask {
		if s.slots[p] == v || s.slots[p] == 0 {
			return p
		}
	}
}

func (k *keySet) len() (n int) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.RLock()
		n += s.n
		s.mu.RUnlock()
	}
	return n
}

// listKeys are the keys of a list: those of addresses, and those of hashes apart, because to hash an address as they are
// costs ten times as much as to ask for it.
type listKeys struct {
	seed      maphash.Seed
	addresses keySet
	hashes    keySet
	anyHash   atomic.Bool
}

func newListKeys() *listKeys { return &listKeys{seed: maphash.MakeSeed()} }

// add adds the key of an entry's subject and account, "" for the platform.
func (k *listKeys) add(subject, account string) {
	if suppression.IsHash(subject) {
		k.hashes.add(k.key(subject, account))
		k.anyHash.Store(true)
		return
	}
	k.addresses.add(k.key(subject, account))
}

// has reports whether there may be an entry for an address form, of the account or the platform.
func (k *listKeys) has(form, account string) bool {
	if k.addresses.has(k.key(form, account)) || k.addresses.has(k.key(form, "")) {
		return true
	}
	if !k.anyHash.Load() {
		return false
	}
	hash := suppression.Hash(form)
	return k.hashes.has(k.key(hash, account)) || k.hashes.has(k.key(hash, ""))
}

func (k *listKeys) len() int { return k.addresses.len() + k.hashes.len() }

func (k *listKeys) key(subject, account string) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	// Neither fails nor blocks. An account's name holds no NUL.
	_, _ = h.WriteString(account)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(subject)
	return h.Sum64()
}
