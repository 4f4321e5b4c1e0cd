package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// steps are the pauses between attempts; the last repeats. Short ones first: most receivers are back within a minute, and
// everything behind the event waits with it.
var steps = [...]time.Duration{
	5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute,
}

const (
	// DefaultGiveUp is how long an event is tried before its webhook is stopped.
	DefaultGiveUp = 72 * time.Hour
	// maxRetryAfter is the longest pause a receiver can ask for.
	maxRetryAfter = 24 * time.Hour
	// jitter is by how much a pause varies, to each side: receivers of many webhooks are not all asked at one moment.
	jitter = 0.2
)

// pause returns how long to wait after the nth failure, from 1, when the receiver asked for after (0: for nothing).
func pause(n int, after time.Duration) time.Duration {
	d := steps[min(max(n, 1), len(steps))-1]
	d += time.Duration((rand.Float64()*2 - 1) * jitter * float64(d))
	return max(d, min(after, maxRetryAfter))
}

// retryAfter reads the field Retry-After (RFC 9110 §10.2.3): seconds, or a date. 0: there is none, or it is over.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(value); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// asksForPause reports whether Retry-After counts with a status (RFC 6585 §4, RFC 9110 §15.6.4).
func asksForPause(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}
