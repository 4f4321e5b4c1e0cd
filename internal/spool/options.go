package spool

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options, and limits that have no option.
const (
	// DefaultMinFree and DefaultMinFreePart: intake stops below the larger of 2 GiB and a twentieth of the disk.
	DefaultMinFree     = 2 << 30
	DefaultMinFreePart = 20
	// DefaultMemoryBudget bounds the bodies of fresh mail kept in memory, in octets.
	DefaultMemoryBudget = 64 << 20
	// DefaultMaxFrame bounds a frame of several batches, in octets; a single larger batch has a frame of its own.
	DefaultMaxFrame = 4 << 20
	// DefaultMaxInline is the largest content kept in a frame, in octets; larger content has a file.
	DefaultMaxInline = 64 << 10
	// DefaultMemTable is the size of one Pebble memtable, in octets. Two stay allocated when idle.
	DefaultMemTable = 32 << 20
	// DefaultBlockCache is the size of Pebble's block cache, in octets.
	DefaultBlockCache = 16 << 20
	// DefaultVerify bounds what Open reads to verify records, in octets on disk.
	DefaultVerify = 1 << 30
	// MaxBatch bounds one batch, in octets as written.
	MaxBatch = 64 << 20
)

// Options configure a spool. Only Dir is required.
type Options struct {
	// Dir is the spool's folder; it is made when missing.
	Dir string
	// FS is where Dir lies; nil: the operating system's file system.
	FS vfs.FS
	// Logger takes the spool's and Pebble's messages; nil: none.
	Logger *slog.Logger
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time

	// MinFree is the floor of free disk space below which no new mail is taken, in octets; 0: the larger of
	// DefaultMinFree and a twentieth of the disk.
	MinFree uint64
	// Ballast is the size of the ballast file in octets; 0: none.
	Ballast int64
	// MemoryBudget bounds the bodies of fresh mail kept in memory; 0: DefaultMemoryBudget, negative: none.
	MemoryBudget int64
	// MaxFrame and MaxInline; 0: their defaults.
	MaxFrame  int
	MaxInline int
	// MemTable and BlockCache are Pebble's memory; 0: their defaults.
	MemTable   int
	BlockCache int
	// Verify bounds what Open reads to verify records; 0: DefaultVerify, negative: nothing.
	Verify int64
	// FreeSpace returns the free and total octets of the disk dir lies on; nil: ask FS.
	FreeSpace func(dir string) (free, total uint64, err error)
}
