//go:build unix

package node

import (
	"os"
	"syscall"
)

// ownedByUs reports whether a file belongs to the user we run as.
func ownedByUs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(st.Uid) == int64(os.Geteuid())
}
