package report

import "strings"

// returnedMarks stand in the line that announces the returned message. The line must be short and hold nothing else
// of weight: a sentence that mentions the original message is no mark.
var returnedMarks = newWordSet(
	"below this line is a copy", "enclosed is a copy", "original message follows", "original message", "message header follows", "message headers follow", "header of the original message", "headers of the original message",
	"copy of the message", "copy of your message", "unsent message follows", "unsent message below", "returned mail", "returned message", "contents of the undelivered", "undelivered message", "message text follows", "text of your message", "message content follows", "message contents follow",
	"top 20 lines", "lines of the message follow", "included is a copy of the message header", "copy of the message header", "body of message generated", "message body follows", "return message", "original headers", "headers follow", "beginning of the original", "your original message", "start of original message", "forwarded message", "begin message", "original mail", "returned mail follows", "the message that caused this",
	"ursprüngliche nachricht", "originalnachricht", "kopie ihrer nachricht", "kopfzeilen der", "message d'origine", "message original", "mensaje original", "messaggio originale", "mensagem original", "oorspronkelijk bericht", "oryginalna wiadomość", "исходное сообщение", "заголовки письма", "текст письма", "元のメッセージ", "原文", "原始邮件", "原邮件", "原信件",
)

// maxMarkLine bounds the length of a line that announces the returned message, in octets.
const maxMarkLine = 110

// findReturned finds the returned message in a text: where the explanation ends, and where the returned header begins
// (-1: the text has none).
func findReturned(text string) (end, header int) {
	end, header = len(text), -1
	pos := 0
	for pos < len(text) {
		next := strings.IndexByte(text[pos:], '\n') + pos + 1
		if next == pos {
			next = len(text)
		}
		line := strings.TrimSpace(text[pos:next])
		if line != "" {
			if isReturnedMark(line) {
				if h := headerAt(text[next:], headerWeight); h >= 0 {
					return pos, next + h
				}
				// A mark with little that is readable below it ends the explanation if it is dressed as one.
				if strings.HasPrefix(line, "--") || strings.HasPrefix(line, "==") || strings.HasPrefix(line, "**") || strings.HasPrefix(line, "|--") || strings.HasSuffix(line, "follows.") || strings.HasSuffix(line, "follow.") || strings.HasSuffix(line, "follows") {
					return pos, headerBelow(text, next)
				}
			}
			if isHeaderStart(text[pos:next]) && headerAt(text[pos:], headerWeight) == 0 {
				return pos, pos
			}
		}
		pos = next
	}
	return end, header
}

func isReturnedMark(line string) bool {
	if len(line) > maxMarkLine {
		return false
	}
	lower := strings.ToLower(line)
	if strings.Contains(lower, "was received") || strings.Contains(lower, "receive a copy") || strings.IndexByte(line, '@') >= 0 {
		return false // "The original message was received at …" opens many reports
	}
	return returnedMarks.in(lower)
}

// returnedFields are the names that begin or fill the header of a real message.
var returnedFields = map[string]int{
	"received": 3, "return-path": 3, "message-id": 3, "mime-version": 2, "content-type": 1, "dkim-signature": 3, "x-received": 3, "delivered-to": 2, "from": 1, "to": 1, "subject": 1, "date": 1, "content-transfer-encoding": 1, "in-reply-to": 2, "references": 2, "x-mailer": 2, "user-agent": 2, "x-originating-ip": 2, "arc-seal": 3, "authentication-results": 2, "received-spf": 2, "reply-to": 1, "sender": 1, "cc": 1, "x-priority": 2, "domainkey-signature": 3, "list-unsubscribe": 2, "x-google-dkim-signature": 3,
}

func isHeaderStart(line string) bool {
	name, _, ok := strings.Cut(line, ":")
	if !ok || len(name) > 40 || name == "" || name[0] == ' ' || name[0] == '\t' {
		return false
	}
	return returnedFields[strings.ToLower(strings.TrimSpace(name))] >= 1
}

// Weights of fields from which lines are the header of a message: anywhere, and below a mark that announces one.
const (
	headerWeight = 4
	markedWeight = 2
)

// headerBelow finds the header below a mark, from an offset on; -1 if there is none.
func headerBelow(text string, from int) int {
	if h := headerAt(text[from:], markedWeight); h >= 0 {
		return from + h
	}
	return -1
}

// headerAt reports where, within the first lines of s, the header of a message begins whose fields weigh enough: -1 if it
// does not.
func headerAt(s string, enough int) int {
	pos, weight, start, seen, strangers := 0, 0, -1, "", 0
	for lines := 0; lines < 60 && pos < len(s); lines++ {
		next := strings.IndexByte(s[pos:], '\n') + pos + 1
		if next == pos {
			next = len(s)
		}
		line := strings.TrimRight(s[pos:next], "\r\n")
		switch {
		case strings.TrimSpace(line) == "":
			if start >= 0 {
				if weight >= enough {
					return start
				}
				start, weight, seen = -1, 0, ""
			}
		case line[0] == ' ' || line[0] == '\t':
		default:
			name, _, ok := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			if !ok || !isFieldName(name) {
				if start >= 0 && weight >= enough {
					return start
				}
				if strangers++; strangers > 3 {
					return -1
				}
				start, weight, seen = -1, 0, ""
				break
			}
			if start < 0 {
				start = pos
			}
			if w := returnedFields[name]; w > 0 && !strings.Contains(seen, ","+name+",") {
				weight += w
				seen += "," + name + ","
			}
		}
		pos = next
	}
	if start >= 0 && weight >= enough {
		return start
	}
	return -1
}
