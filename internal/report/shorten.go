package report

import (
	"bytes"
	"fmt"
)

// What a report has to say stands before the message it returns, and in some dialects after it. So a report that is too
// long to keep loses its middle.

// tailShare is which part of what is kept of a long mail is its end.
const tailShare = 8

// gapRoom is room for the line that stands where octets are missing.
const gapRoom = 64

// Shares divides the room for a mail, in octets, among its beginning and its end; the rest is for what Join puts
// between them.
func Shares(room int) (head, tail int) {
	room = max(0, room-gapRoom)
	return room - room/tailShare, room / tailShare
}

// Shorten returns a mail of at most room octets, and how many octets of raw are missing from it. A mail that fits is
// returned as it is.
func Shorten(raw []byte, room int) (kept []byte, cut int64) {
	if len(raw) <= room {
		return raw, 0
	}
	head, tail := Shares(room)
	return Join(raw[:head], raw[len(raw)-tail:], int64(len(raw)))
}

// Join makes one mail of the beginning and the end of one of size octets, and says how many are missing. Only whole lines
// are kept beside the gap, where the lines are not very long.
func Join(head, tail []byte, size int64) (kept []byte, cut int64) {
	if i := bytes.LastIndexByte(head, '\n'); i >= len(head)/2 {
		head = head[:i+1]
	}
	if i := bytes.IndexByte(tail, '\n'); i >= 0 && i < len(tail)/2 {
		tail = tail[i+1:]
	}
	cut = size - int64(len(head)+len(tail))
	kept = make([]byte, 0, len(head)+len(tail)+gapRoom)
	kept = append(kept, head...)
	if !bytes.HasSuffix(head, []byte("\n")) {
		kept = append(kept, "\r\n"...)
	}
	kept = fmt.Appendf(kept, "[%d octets left out]\r\n", cut)
	return append(kept, tail...), cut
}
