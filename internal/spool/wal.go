package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reading Pebble's log past a damaged place, for Salvage only: Pebble itself refuses there, rightly. The format is
// that of LevelDB with longer headers: blocks of 32 KiB, in them chunks of
//
//	checksum 4, length 2, kind 1 [, log number 4 [, synced offset 8]]
//
// whose kinds 1-4, 5-8 and 9-12 are whole, first, middle and last in the three lengths of header.
const (
	walBlock      = 32 << 10
	walHeader     = 7
	batchHeader   = 12 // of a record, which is one batch
	walChecksumAt = 6  // where the checksummed part of a chunk begins
)

// readLog calls fn for every batch of a log that can be read, in order, and returns how many damaged places it
// passed over. A torn end is not damage.
func readLog(fs vfs.FS, path string, number uint32, fn func(batch []byte) error) (damaged int, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var record []byte
	inRecord, gap := false, false
	block := make([]byte, walBlock)
	for {
		n, err := io.ReadFull(f, block)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return damaged, err
		}
		for rest := block[:n]; len(rest) >= walHeader; {
			kind, payload, size := readChunk(rest, number)
			if size == 0 {
				// Damage, or what an earlier use of the file left behind the end. The next good chunk tells.
				gap, inRecord = true, false
				break
			}
			rest = rest[size:]
			if gap {
				damaged++
				gap = false
			}
			switch kind {
			case 0, 1: // whole, first
				record, inRecord = append(record[:0], payload...), true
			default:
				if inRecord {
					record = append(record, payload...)
				}
			}
			if inRecord && (kind == 0 || kind == 3) {
				inRecord = false
				if len(record) >= batchHeader {
					if err := fn(record); err != nil {
						return damaged, err
					}
				}
			}
		}
		if n < walBlock {
			return damaged, nil
		}
	}
}

// readChunk reads the chunk b begins with. kind is 0 to 3: whole, first, middle, last; size 0: it is none of this log.
func readChunk(b []byte, number uint32) (kind byte, payload []byte, size int) {
	length, k := int(binary.LittleEndian.Uint16(b[4:])), b[walChecksumAt]
	header := walHeader
	switch {
	case k >= 9 && k <= 12:
		header += 12
	case k >= 5 && k <= 8:
		header += 4
	case k < 1 || k > 4:
		return 0, nil, 0
	}
	size = header + length
	if size > len(b) {
		return 0, nil, 0
	}
	if header > walHeader && binary.LittleEndian.Uint32(b[walHeader:]) != number {
		return 0, nil, 0
	}
	sum := crc32.Checksum(b[walChecksumAt:size], castagnoli)
	if binary.LittleEndian.Uint32(b) != (sum>>15|sum<<17)+0xa282ead8 {
		return 0, nil, 0
	}
	return (k - 1) % 4, b[header:size], size
}
