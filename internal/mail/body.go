package mail

import (
	"bytes"
	"io"
)

// Size implements Body.
func (b BytesBody) Size() int64 { return int64(len(b)) }

// Bytes implements Body.
func (b BytesBody) Bytes() []byte { return b }

// Open implements Body.
func (b BytesBody) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
