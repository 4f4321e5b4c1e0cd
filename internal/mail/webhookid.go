package mail

import "time"

// Prefixes of the ids of webhooks and their replays.
const (
	PrefixWebhook = "whk_"
	PrefixReplay  = "rpl_"
)

// NewWebhookID returns a new id of a webhook: whk_ and 26 characters. It stays the same while the webhook changes; one that
// is deleted and made again under the same name gets another.
func NewWebhookID(now time.Time) string { return newTextID(PrefixWebhook, now) }

// NewReplayID returns a new id of a replay of events to a webhook: rpl_ and 26 characters.
func NewReplayID(now time.Time) string { return newTextID(PrefixReplay, now) }

func newTextID(prefix string, now time.Time) string {
	u := newUUID(now)
	return string(appendBase32(append(make([]byte, 0, 32), prefix...), u[:]))
}
