package spool

import (
	"encoding/binary"
	"errors"
	"time"
)

// The codec of records: a list of fields, each a tag (number and kind) and a value; FORMAT.md describes it. A field
// with its zero value is left out; a field with an unknown number is skipped, so that an older program can read what
// a newer one of the same format wrote.

// errBadRecord is what every decoder returns for bytes it cannot read.
var errBadRecord = errors.New("spool: record cannot be decoded")

// Kinds of field.
const (
	kindVarint = 0
	kindBytes  = 1
)

// openLen is the room kept for the length of a nested field: four octets of a padded uvarint.
const openLen = 4

func putUint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|kindVarint)
	return binary.AppendUvarint(b, v)
}

func putInt(b []byte, field int, v int64) []byte { return putUint(b, field, zigzag(v)) }

func putBool(b []byte, field int, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, field, 1)
}

func putString[T ~string | ~[]byte](b []byte, field int, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return putElem(b, field, v)
}

// putElem writes a field that stands even when empty: an element of a list.
func putElem[T ~string | ~[]byte](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<1|kindBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// putTime writes t in microseconds since 1970; the zero Time is left out.
func putTime(b []byte, field int, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|kindVarint)
	return binary.AppendUvarint(b, zigzag(t.UnixMicro()))
}

// openField begins a nested field whose length is not known yet; closeField ends it.
func openField(b []byte, field int) ([]byte, int) {
	b = binary.AppendUvarint(b, uint64(field)<<1|kindBytes)
	return append(b, 0, 0, 0, 0), len(b) + openLen
}

func closeField(b []byte, start int) []byte {
	n := len(b) - start
	l := b[start-openLen : start]
	l[0], l[1], l[2], l[3] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)&0x7f
	return b
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// fields walks the fields of a record.
type fields struct {
	rest  []byte
	field int
	num   uint64 // value of a varint field
	data  []byte // value of a bytes field; part of the record
	bad   bool
}

// next moves to the next field. It returns false at the end and at the first fault; err tells which.
func (f *fields) next() bool {
	if len(f.rest) == 0 || f.bad {
		return false
	}
	tag, n := binary.Uvarint(f.rest)
	if n <= 0 || tag>>1 > 1<<20 {
		f.bad = true
		return false
	}
	v, m := binary.Uvarint(f.rest[n:])
	if m <= 0 {
		f.bad = true
		return false
	}
	f.rest = f.rest[n+m:]
	f.field, f.num, f.data = int(tag>>1), 0, nil
	if tag&1 == kindVarint {
		f.num = v
		return true
	}
	if v > uint64(len(f.rest)) {
		f.bad = true
		return false
	}
	f.data, f.rest = f.rest[:v:v], f.rest[v:]
	return true
}

func (f *fields) err() error {
	if f.bad {
		return errBadRecord
	}
	return nil
}

func (f *fields) int() int64     { return unzigzag(f.num) }
func (f *fields) bool() bool     { return f.num != 0 }
func (f *fields) string() string { return string(f.data) }

func (f *fields) time() time.Time { return time.UnixMicro(unzigzag(f.num)).UTC() }

// id copies a 16-octet id.
func (f *fields) id(dst *[16]byte) {
	if len(f.data) != len(dst) {
		f.bad = true
		return
	}
	copy(dst[:], f.data)
}

// hash copies a 32-octet hash.
func (f *fields) hash(dst *[32]byte) {
	if len(f.data) != len(dst) {
		f.bad = true
		return
	}
	copy(dst[:], f.data)
}
