package manage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Limits of a CSV file. What is beyond them is refused line by line; the rest of the file is read.
const (
	// maxCSVRecord is the most octets of one record, its lines together.
	maxCSVRecord = 64 << 10
	// maxCSVLines is the most lines a quoted field may go on for.
	maxCSVLines = 64
	// maxCSVFields is the most fields of one record.
	maxCSVFields = 256
)

// csvError is what is wrong with one record; the next can be read.
type csvError string

// Error implements error.
func (e csvError) Error() string { return string(e) }

// csvReader reads records of a comma-, semicolon- or tab-separated file, as spreadsheets and vendors write them: with or
// without a BOM, UTF-16 with one, lines that end with CRLF or LF, quoted fields with line ends in them. It holds one
// record at a time. A quote that is never closed costs its own line, not the rest of the file.
type csvReader struct {
	in    *bufio.Reader
	line  int      // number of the line read last
	back  [][]byte // lines to be read again, the next one first
	comma byte     // 0: not known yet
}

// newCSVReader looks at the first octets. An error is one of reading.
func newCSVReader(r io.Reader) (*csvReader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		utf16 := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()
		in = bufio.NewReaderSize(transform.NewReader(in, utf16), 64<<10)
	}
	return &csvReader{in: in}, nil
}

// read returns the next record and the number of its first line. Empty lines are passed over. err is io.EOF at the end,
// a csvError for a record that cannot be read, and an error of reading otherwise.
func (c *csvReader) read() (fields []string, line int, err error) {
	for {
		text, err := c.next()
		if err != nil {
			return nil, c.line, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if c.comma == 0 {
			c.comma = separatorOf(text)
		}
		line = c.line
		fields, err = c.record(text)
		return fields, line, err
	}
}

// next returns the next line without its end. One that is too long is read to its end and gives a csvError.
func (c *csvReader) next() ([]byte, error) {
	if len(c.back) > 0 {
		text := c.back[0]
		c.back = c.back[1:]
		c.line++
		return text, nil
	}
	var text []byte
	tooLong := false
	for {
		part, err := c.in.ReadSlice('\n')
		if len(text)+len(part) > maxCSVRecord {
			tooLong, text = true, nil
		}
		if !tooLong {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(text) == 0 && !tooLong):
			return nil, err
		}
		c.line++
		if tooLong {
			return nil, csvError(fmt.Sprintf("it is longer than %d octets", maxCSVRecord))
		}
		return bytes.TrimRight(text, "\r\n"), nil
	}
}

// separatorOf guesses from the first line what stands between fields.
func separatorOf(text []byte) byte {
	best, most := byte(','), 0
	for _, sep := range []byte{',', ';', '\t'} {
		n, quoted := 0, false
		for _, b := range text {
			switch {
			case b == '"':
				quoted = !quoted
			case b == sep && !quoted:
				n++
			}
		}
		if n > most {
			best, most = sep, n
		}
	}
	return best
}

// record splits a line into fields, and reads on where a quoted field does.
func (c *csvReader) record(text []byte) ([]string, error) {
	var fields []string
	var more [][]byte // lines read besides the first
	size := len(text)
	fail := func(format string, args ...any) ([]string, error) {
		c.line -= len(more)
		c.back = append(more, c.back...)
		return nil, csvError(fmt.Sprintf(format, args...))
	}
	for {
		if len(fields) == maxCSVFields {
			return fail("it has more than %d fields", maxCSVFields)
		}
		if trimmed := bytes.TrimLeft(text, " "); len(trimmed) > 0 && trimmed[0] == '"' {
			var b []byte
			rest := trimmed[1:]
			for {
				i := bytes.IndexByte(rest, '"')
				if i < 0 {
					b = append(b, rest...)
					if len(more) == maxCSVLines {
						return fail("a quote is not closed")
					}
					next, err := c.next()
					if err != nil || size+len(next) > maxCSVRecord {
						if err == nil {
							more = append(more, next)
						}
						// A line that is too long, or the end: neither closes the quote.
						return fail("a quote is not closed")
					}
					more = append(more, bytes.Clone(next))
					size += len(next)
					b = append(b, '\n')
					rest = next
					continue
				}
				b = append(b, rest[:i]...)
				if rest = rest[i+1:]; len(rest) > 0 && rest[0] == '"' {
					b = append(b, '"')
					rest = rest[1:]
					continue
				}
				break
			}
			rest = bytes.TrimLeft(rest, " ")
			fields = append(fields, string(b))
			if len(rest) == 0 {
				return fields, nil
			}
			if rest[0] != c.comma {
				return fail("something follows a closing quote")
			}
			text = rest[1:]
			continue
		}
		i := bytes.IndexByte(text, c.comma)
		if i < 0 {
			return append(fields, strings.TrimSpace(string(text))), nil
		}
		fields = append(fields, strings.TrimSpace(string(text[:i])))
		text = text[i+1:]
	}
}
