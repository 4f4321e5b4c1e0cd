package spool

import (
	"io"
	"os"
)

// Open reads back what Finish made durable, for who has to look at it again before the message is accepted.
func (w *ContentWriter) Open() (io.ReadCloser, error) {
	if w.state != contentFinished {
		return nil, os.ErrClosed
	}
	return (&fileBody{fs: w.s.o.FS, path: w.s.contentPath(w.id), size: w.size, sum: w.sum}).Open()
}
