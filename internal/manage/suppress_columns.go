package manage

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// column is what a column of a list means to us.
type column string

// The columns, by the names export gives them.
const (
	colAddress  column = "address"
	colClass    column = "class"
	colReason   column = "reason"
	colStream   column = "stream"
	colAccount  column = "account"
	colSince    column = "since"
	colExpires  column = "expires"
	colReceiver column = "receiver"
	colActor    column = "actor"
	colIgnored  column = ""
)

// exported are the columns of an export, in order.
var exported = []column{colAddress, colClass, colReason, colStream, colAccount, colSince, colExpires, colReceiver, colActor}

// headings are the names columns have in exports of ours and of widespread vendors, in the form of heading.
var headings = map[string]column{
	"address": colAddress, "email": colAddress, "emailaddress": colAddress, "mail": colAddress, "recipient": colAddress,
	"recipientemail": colAddress, "hash": colAddress,
	"class": colClass, "type": colClass, "bouncetype": colClass, "suppressionreason": colClass, "suppressiontype": colClass,
	"reason": colReason, "error": colReason, "description": colReason, "details": colReason, "diagnostic": colReason,
	"diagnosticcode": colReason, "note": colReason, "comment": colReason,
	"stream": colStream, "messagestream": colStream,
	"account": colAccount, "tenant": colAccount,
	"since": colSince, "created": colSince, "createdat": colSince, "date": colSince, "timestamp": colSince, "added": colSince,
	"lastupdatetime": colSince,
	"expires":        colExpires, "expiresat": colExpires, "until": colExpires,
	"receiver": colReceiver, "actor": colActor,
}

// heading is a column's name without case, blanks and punctuation.
func heading(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return -1
	}, name)
}

// columnsOf reads a first record as a header. Without a column for the address it is none.
func columnsOf(record []string) (cols []column, ok bool) {
	cols = make([]column, len(record))
	for i, name := range record {
		c := headings[heading(name)]
		if c != colIgnored && !slices.Contains(cols[:i], c) { // of two alike the first
			cols[i] = c
		}
	}
	return cols, slices.Contains(cols, colAddress)
}

// withoutHeader are the columns of a list that has none: the address first, then perhaps a reason.
func withoutHeader(record []string) []column {
	cols := make([]column, len(record))
	cols[0] = colAddress
	if len(cols) > 1 {
		cols[1] = colReason
	}
	return cols
}

// words are what exports call the classes, in the form of heading.
var words = map[string]platform.Cause{
	"hardbounce": platform.CauseInvalidRecipient, "bounce": platform.CauseInvalidRecipient, "bounced": platform.CauseInvalidRecipient,
	"permanent": platform.CauseInvalidRecipient, "invalid": platform.CauseInvalidRecipient, "invalidemail": platform.CauseInvalidRecipient,
	"invalidrecipient": platform.CauseInvalidRecipient, "bademailaddress": platform.CauseInvalidRecipient, "invaliddomain": platform.CauseInvalidDomain,
	"inactive": platform.CauseInactive, "mailboxfull": platform.CauseMailboxFull,
	"complaint": platform.CauseComplaint, "spamcomplaint": platform.CauseComplaint, "spam": platform.CauseComplaint,
	"spamreport": platform.CauseComplaint, "abuse": platform.CauseComplaint,
	"unsubscribe": platform.CauseUnsubscribe, "unsubscribed": platform.CauseUnsubscribe, "optout": platform.CauseUnsubscribe,
	"listunsubscribe": platform.CauseUnsubscribe, "globalunsubscribe": platform.CauseUnsubscribe,
	"manual": platform.CauseManual, "manualsuppression": platform.CauseManual, "manuallydeactivated": platform.CauseManual,
}

// streams are what lists call the streams; "" is both.
var streams = map[string]mail.Stream{
	"transactional": mail.Transactional, "outbound": mail.Transactional, "bulk": mail.Bulk, "broadcast": mail.Bulk, "broadcasts": mail.Bulk,
	"marketing": mail.Bulk, "nontransactional": mail.Bulk, "both": "", "all": "",
}

// times are the forms dates come in; those without a zone are UTC.
var times = []string{
	time.RFC3339Nano, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05Z07:00",
	time.DateOnly, time.RFC1123, time.RFC1123Z,
}

func parseTime(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && (len(s) == 10 || len(s) == 13) { // seconds or milliseconds since 1970
		if len(s) == 13 {
			return time.UnixMilli(n).UTC(), true
		}
		return time.Unix(n, 0).UTC(), true
	}
	for _, layout := range times {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// entryOf makes an entry of a record. The problem says what is wrong with it.
func entryOf(cols []column, record []string, def platform.Suppression) (x platform.Suppression, problem string) {
	x = def
	streamGiven := x.Stream != ""
	kind := ""
	for i, v := range record {
		if i >= len(cols) || v == "" {
			continue
		}
		switch cols[i] {
		case colAddress:
			x.Address = v
		case colReceiver:
			x.Receiver = v
		case colAccount:
			if def.Account != "" && v != def.Account {
				return x, "it is of another account than this import"
			}
			x.Account = v
		case colClass:
			if c, ok := words[heading(v)]; ok {
				x.Class = c
			} else {
				kind = v // a vendor's word we do not know says more in the reason than in no place
			}
		case colReason:
			x.Reason = v
			if c, ok := words[heading(v)]; ok && !slices.Contains(cols, colClass) {
				x.Class = c // the list has its classes where others have their reasons
			}
		case colStream:
			s, ok := streams[heading(v)]
			if !ok {
				return x, "its stream is none of transactional, bulk, both"
			}
			x.Stream, streamGiven = s, true
		case colSince:
			t, ok := parseTime(v)
			if !ok {
				return x, "its date cannot be read; write it as 2026-01-31T12:00:00Z"
			}
			x.Since = t
		case colExpires:
			t, ok := parseTime(v)
			if !ok {
				return x, "its expiry cannot be read; write it as 2026-01-31T12:00:00Z"
			}
			x.Expires = t
		}
	}
	if kind != "" {
		x.Reason = strings.TrimSuffix(kind+": "+x.Reason, ": ")
	}
	if !streamGiven && x.Class.Personal() {
		x.Stream = mail.Bulk // as where we made it ourselves
	}
	x.Reason = cutReason(x.Reason)
	return x, ""
}

// cutReason makes a vendor's text fit for a reason.
func cutReason(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	for len(s) > MaxSuppressionReason {
		cut := MaxSuppressionReason
		for cut > 0 && s[cut]&0xc0 == 0x80 {
			cut--
		}
		s = s[:cut]
	}
	return s
}

// recordOf writes an entry as a record of an export.
func recordOf(x *platform.Suppression) []string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	stream := string(x.Stream)
	if stream == "" {
		stream = "both"
	}
	return []string{x.Address, string(x.Class), x.Reason, stream, x.Account, at(x.Since), at(x.Expires), x.Receiver, x.Actor}
}
