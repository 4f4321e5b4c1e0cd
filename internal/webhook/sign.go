package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// The header fields of a request: three of Standard Webhooks, two of our own.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
	// headerReplay marks what was sent before: the id of the replay, or "resend".
	headerReplay = "Postroad-Replay"
	// headerTest marks an event that never happened.
	headerTest = "Postroad-Test"
)

// Signature returns the value of webhook-signature: for each secret "v1," and the base64 of the HMAC-SHA256 (RFC 2104) of
// id, time in seconds and body, joined by dots; separated by spaces.
func Signature(secrets [][]byte, id string, at time.Time, body []byte) string {
	list := make([]string, len(secrets))
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")) // a hash never fails
		_, _ = mac.Write(body)
		list[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(list, " ")
}

// payload is the body of a request.
type payload struct {
	Type      mail.EventType `json:"type"`
	Timestamp time.Time      `json:"timestamp"` // of the event, the same whenever it is sent
	Data      *mail.Event    `json:"data"`
}

// Body returns what is sent of an event: the event as GET /v1/events shows it, in the envelope of Standard Webhooks.
func Body(e *mail.Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(payload{Type: e.Type, Timestamp: e.At.UTC(), Data: e.Told()}); err != nil {
		return nil, fmt.Errorf("webhook: event %s: %w", e.ID, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
