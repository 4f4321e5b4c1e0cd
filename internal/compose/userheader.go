package compose

import (
	"strings"
)

// reservedHeaders are the fields a submitter cannot set through Message.Headers: those Build writes, those that trace
// or authenticate a message, and those that would name hidden recipients. Families are in reservedPrefixes.
var reservedHeaders = map[string]bool{
	"from": true, "sender": true, "to": true, "cc": true, "bcc": true, "reply-to": true, "subject": true, "date": true,
	"message-id": true, "mime-version": true, "return-path": true, "received": true, "received-spf": true,
	"delivered-to": true, "x-original-to": true, "envelope-to": true, "dkim-signature": true, "domainkey-signature": true,
	"cfbl-address": true, "cfbl-feedback-id": true,
	"authentication-results": true, "apparently-to": true, "errors-to": true, "return-receipt-to": true,
}

// reservedPrefixes are families of reserved fields. Control fields are given by other means where there is a Message.
var reservedPrefixes = []string{"content-", "resent-", "arc-", controlPrefix}

// structuredHeaders are fields whose syntax has no place for encoded words (RFC 2047 §5); their values must be ASCII.
var structuredHeaders = map[string]bool{
	"in-reply-to": true, "references": true, "list-unsubscribe": true, "list-unsubscribe-post": true, "list-help": true,
	"list-subscribe": true, "list-post": true, "list-owner": true, "list-archive": true, "auto-submitted": true,
	"precedence": true, "importance": true, "priority": true, "x-priority": true, "feedback-id": true,
	"disposition-notification-to": true, "expires": true,
	"x-auto-response-suppress": true, "auto-reply": true, "require-recipient-valid-since": true, "tls-required": true,
}

func structured(name string) bool { return structuredHeaders[strings.ToLower(name)] }

// ValidateHeader refuses a field of Message.Headers that is reserved, has no proper name, or whose value could not be
// written as one field. path is what the *Error names, like "headers[0]".
func ValidateHeader(path string, h HeaderField) error {
	if h.Name == "" || len(h.Name) > 76 {
		return invalid(path+".name", "it must have 1 to 76 characters")
	}
	for i := range len(h.Name) {
		if c := h.Name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return invalid(path+".name", "a character is not allowed")
		}
	}
	name := strings.ToLower(h.Name)
	reserved := reservedHeaders[name]
	for _, prefix := range reservedPrefixes {
		reserved = reserved || strings.HasPrefix(name, prefix)
	}
	if reserved {
		return invalid(path+".name", "%s cannot be set here", h.Name)
	}
	if err := checkValue(path+".value", h.Value); err != nil {
		return err
	}
	if strings.TrimSpace(h.Value) == "" {
		return invalid(path+".value", "it is empty")
	}
	if structured(h.Name) {
		if !isASCIIText(strings.ReplaceAll(h.Value, "\t", " ")) {
			return invalid(path+".value", "%s must be ASCII", h.Name)
		}
		if hasLongWord(h.Value) {
			return invalid(path+".value", "it has a word longer than a line can hold")
		}
	}
	return nil
}
