package smtp

import (
	"bufio"
	"bytes"
	"io"
)

// Newlines says what a DataReader does with a CR or LF that stands alone.
type Newlines uint8

const (
	// NewlinesReject makes it a fault of the content.
	NewlinesReject Newlines = iota
	// NewlinesNormalise makes each a CRLF.
	NewlinesNormalise
	// NewlinesRepair does so too, drops NUL octets, and breaks lines longer than MaxBodyLine: for reports, which must be
	// read however badly they are written.
	NewlinesRepair
)

// Faults of a content, found while it is read. They are what the client is answered once all of it has been read.
var (
	ErrBareCR      = Refuse(550, Enhanced{5, 6, 0}, "The message has a bare CR; lines must end with CRLF (RFC 5321 2.3.8)")
	ErrBareLF      = Refuse(550, Enhanced{5, 6, 0}, "The message has a bare LF; lines must end with CRLF (RFC 5321 2.3.8)")
	ErrNUL         = Refuse(554, Enhanced{5, 6, 0}, "The message has a NUL octet")
	ErrLongLine    = Refuse(554, Enhanced{5, 6, 0}, "The message has a line longer than %d octets", MaxBodyLine)
	ErrTooLarge    = Refuse(552, Enhanced{5, 3, 4}, "The message is larger than this server takes")
	ErrDrainBounds = Refuse(552, Enhanced{5, 3, 4}, "The message is far larger than this server takes; closing")
)

// DataOptions are the rules a content is read by.
type DataOptions struct {
	Newlines Newlines
	// MaxSize bounds the content in octets; 0: no bound.
	MaxSize int64
}

// DataReader reads one message content from a connection: either the lines of the DATA command up to the final dot
// (NewDataReader), or the octets of BDAT chunks (NewChunkReader).
//
// The data ends at CRLF.CRLF and at nothing else (RFC 5321 §4.1.1.4). What a lenient peer would take for an end (a
// dot between bare LFs, bare CRs or a mixture) is content, and a fault of it.
//
// Read returns clean text only: every line ends with CRLF (the last line of chunks gets one if it has none), the dots
// that DATA adds removed, no NUL. When the content has a fault, Read never returns io.EOF but the fault, a *ReplyError,
// so that a faulty content cannot be mistaken for a whole one. The connection is then still inside the content: Drain
// reads on to its true end. A connection that ends early gives io.ErrUnexpectedEOF.
type DataReader struct {
	br   *bufio.Reader
	o    DataOptions
	dots bool

	chunk int64 // octets of the chunk not yet read
	last  bool  // the chunk is the last one
	more  func() (n int64, last bool, err error)

	text    []byte // clean octets not yet handed out; a part of br's buffer, or crlf
	held    int    // octets of br's buffer to discard before the next is looked at
	bol     bool   // the octets before were CRLF, or nothing
	cr      bool   // the octet before was a CR whose successor is not known yet
	line    int    // octets of the current line so far
	split   bool   // the line was cut at MaxBodyLine: a CRLF comes next
	size    int64  // of the clean content so far
	drained int64  // octets passed over since the fault
	fault   *ReplyError
	err     error // sticky end: io.EOF, or what br or more returned
}

var crlf = []byte("\r\n")

// NewDataReader returns a reader of the content after a DATA command, which begins at br's next octet.
func NewDataReader(br *bufio.Reader, o DataOptions) *DataReader {
	d := new(DataReader)
	d.Reset(br, o)
	return d
}

// Reset makes d as NewDataReader does, so that it can be used again.
func (d *DataReader) Reset(br *bufio.Reader, o DataOptions) {
	*d = DataReader{br: br, o: o, dots: true, bol: true}
}

// NewChunkReader returns a reader of BDAT chunks (RFC 3030 §2). The first has n octets, which begin at br's next
// octet. Where a chunk that is not the last one ends, more is called for the next; it reads the command from br.
func NewChunkReader(br *bufio.Reader, o DataOptions, n int64, last bool, more func() (n int64, last bool, err error)) *DataReader {
	return &DataReader{br: br, o: o, chunk: n, last: last, more: more}
}

// Read implements io.Reader.
func (d *DataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.fill(); err != nil {
		return 0, err
	}
	n := copy(p, d.text)
	d.text = d.text[n:]
	return n, nil
}

// WriteTo implements io.WriterTo; it hands out the connection's buffer without copying.
func (d *DataReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := d.fill(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := w.Write(d.text)
		n += int64(m)
		d.text = d.text[m:]
		if err != nil {
			return n, err
		}
	}
}

// Size returns the octets of clean content met so far.
func (d *DataReader) Size() int64 { return d.size }

// Fault returns the content's first fault met so far, or nil.
func (d *DataReader) Fault() *ReplyError { return d.fault }

// Drain reads to the true end of the content and throws it away. It returns nil there, with Fault telling whether
// the content was sound. After a fault it passes over at most as much again as MaxSize allows, and then gives up with
// ErrDrainBounds; other errors are the connection's.
func (d *DataReader) Drain() error {
	for d.err == nil {
		d.text = nil
		d.advance()
	}
	if d.err == io.EOF {
		return nil
	}
	return d.err
}

// DrainChunk reads to the end of the chunk in hand and throws it away; it asks for no further chunk.
func (d *DataReader) DrainChunk() error {
	for d.release(); d.chunk > 0 && d.err == nil; d.release() {
		d.text = nil
		d.advance()
	}
	if d.err == io.EOF {
		return nil
	}
	return d.err
}

// Detach ends the reader's use of the connection: later reads fail with io.ErrClosedPipe.
func (d *DataReader) Detach() {
	d.br, d.text, d.held, d.more = nil, nil, 0, nil
	d.err = io.ErrClosedPipe
}

// fill makes sure that text has octets to hand out.
func (d *DataReader) fill() error {
	for {
		switch {
		case d.fault != nil:
			return d.fault
		case len(d.text) > 0:
			return nil
		case d.err != nil:
			return d.err
		}
		d.advance()
	}
}

// advance takes the next piece of the stream. It sets text to clean octets, or fault, or err; or it only moves on.
func (d *DataReader) advance() {
	d.release()
	if d.split {
		d.split, d.line = false, 0
		d.give(crlf, 0)
		return
	}
	if !d.dots && d.chunk == 0 {
		d.nextChunk()
		return
	}
	w := d.window()
	switch {
	case d.err != nil:
	case d.cr:
		d.cr = false
		if w[0] == '\n' {
			d.give(crlf, 1)
			d.bol, d.line = true, 0
			return
		}
		d.bare(ErrBareCR, 0)
	case d.dots && d.bol && w[0] == '.':
		d.dot()
	default:
		d.run(w)
	}
}

// release lets go of the octets handed out.
func (d *DataReader) release() {
	if d.held > 0 {
		_, _ = d.br.Discard(d.held) // they are buffered: it cannot fail
		d.held = 0
	}
}

// nextChunk goes on to the next chunk, or ends the content after the last.
func (d *DataReader) nextChunk() {
	if !d.last {
		d.chunk, d.last, d.err = d.more()
		return
	}
	if d.cr {
		d.cr = false
		d.bare(ErrBareCR, 0)
		return
	}
	if d.line > 0 {
		d.line = 0
		d.give(crlf, 0)
		return
	}
	d.err = io.EOF
}

// window returns the buffered octets that belong to the content: at least one unless err is set.
func (d *DataReader) window() []byte {
	if d.br.Buffered() == 0 {
		if _, err := d.br.Peek(1); err != nil {
			d.fail(err)
			return nil
		}
	}
	w, _ := d.br.Peek(d.br.Buffered())
	if !d.dots && int64(len(w)) > d.chunk {
		w = w[:d.chunk]
	}
	return w
}

// dot looks at a dot that begins a line: it is the end, or it is removed (RFC 5321 §4.5.2).
func (d *DataReader) dot() {
	w, err := d.br.Peek(3)
	switch {
	case len(w) < 3:
		d.fail(err)
	case w[1] == '\r' && w[2] == '\n':
		d.held = 3
		d.release()
		d.err = io.EOF
	default:
		d.held, d.bol = 1, false
	}
}

// run takes as much of w as can be handed out in one piece: whole sound lines and the beginning of one, up to a dot
// that begins a line or an octet that may not be there.
func (d *DataReader) run(w []byte) {
	sound := d.fault == nil
	if i := bytes.IndexByte(w, 0); sound && i >= 0 {
		if i == 0 {
			if d.o.Newlines != NewlinesRepair {
				d.setFault(ErrNUL)
			}
			d.bol = false
			d.give(nil, 1)
			return
		}
		w = w[:i]
	}
	n := 0
	for n < len(w) {
		if d.dots && d.bol && w[n] == '.' {
			break
		}
		seg := w[n:]
		lf := bytes.IndexByte(seg, '\n')
		if lf >= 0 {
			seg = seg[:lf+1]
		}
		cr := bytes.IndexByte(seg, '\r')
		switch {
		case cr >= 0 && cr == lf-1: // the end of a line
			d.bol = true
		case cr < 0 && lf < 0: // a part of a line
			d.bol = false
		case lf < 0 && cr == len(seg)-1: // what follows the CR is not here yet
			d.cr, d.bol = true, false
			seg = seg[:cr]
		default: // a CR or LF that stands alone
			alone, why := cr, ErrBareCR
			if cr < 0 {
				alone, why = lf, ErrBareLF
			}
			if sound && n+alone == 0 {
				d.bare(why, 1)
				return
			}
			if !sound {
				alone++
			}
			if alone > 0 {
				d.bol = false
			}
			seg = seg[:alone]
			if sound {
				w = w[:n+alone]
			}
		}
		if d.o.Newlines == NewlinesRepair && d.overlong(len(seg)) {
			n += maxBodyText - d.line
			d.cr, d.bol, d.split = false, false, true
			d.give(w[:n], n)
			return
		}
		n += len(seg)
		if d.line += len(seg); d.line > MaxBodyLine && d.fault == nil {
			d.setFault(ErrLongLine)
		}
		if d.bol {
			d.line = 0
		}
		if d.cr {
			d.give(w[:n], n+1)
			return
		}
	}
	d.give(w[:n], n)
}

// maxBodyText is MaxBodyLine without the CRLF.
const maxBodyText = MaxBodyLine - len("\r\n")

// overlong reports whether a line becomes too long with n more octets; bol says whether they end it.
func (d *DataReader) overlong(n int) bool {
	if d.bol {
		return d.line+n > MaxBodyLine
	}
	return d.line+n > maxBodyText
}

// bare deals with a CR or LF that stands alone, of which n octets are still in the buffer.
func (d *DataReader) bare(why *ReplyError, n int) {
	d.bol = false
	if d.o.Newlines == NewlinesReject {
		d.setFault(why)
		d.give(nil, n)
		return
	}
	d.line = 0
	d.give(crlf, n)
}

// give hands out b, for which n octets of the buffer are spent.
func (d *DataReader) give(b []byte, n int) {
	d.held = n
	if !d.dots {
		d.chunk -= int64(n)
	}
	if d.fault == nil {
		d.size += int64(len(b))
		if d.o.MaxSize == 0 || d.size <= d.o.MaxSize {
			d.text = b
			return
		}
		d.setFault(ErrTooLarge)
	}
	d.drained += int64(n)
	if d.o.MaxSize > 0 && d.drained > d.o.MaxSize+MaxBodyLine {
		d.err = ErrDrainBounds
	}
}

func (d *DataReader) setFault(f *ReplyError) {
	if d.fault == nil {
		d.fault = f
	}
}

func (d *DataReader) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
}
