package bounce

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what we let a peer ask for: longer than a day is no greylist and no rate limit, and a wrong
// number must not cost a delivery its lifetime.
const maxRetryAfter = 24 * time.Hour

// retryWords must stand in a text before the expression below is run on it.
var retryWords = []string{"second", "minute", "hour", "sec", "min", "retry", "again", "wait"}

var retryTime = regexp.MustCompile(`(?i)(?:retry|again|wait|back|defer\w*|greylist\w*|delay\w*|expires?|try|later)\D{0,40}?\b(\d{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b|\b(\d{1,5})\s*(secs?|seconds?|mins?|minutes?|hrs?|hours?)\b[^.]{0,30}\b(?:before|then|and)?\s*(?:retry|try|again)`)

var retryClock = regexp.MustCompile(`(?i)(?:retry|again|back|wait|greylist\w*)\D{0,30}?\b(\d{1,2}):(\d{2}):(\d{2})\b`)

// retryAfter reads how long a text asks to wait: "try again in 5 minutes", "retry after 300 seconds", "greylisted for
// 00:04:59". 0: it does not say.
func retryAfter(text string) time.Duration {
	if len(text) > 1024 {
		text = text[:1024]
	}
	lower := strings.ToLower(text)
	found := false
	for _, w := range retryWords {
		if strings.Contains(lower, w) {
			found = true
			break
		}
	}
	if !found || !namesTime(lower) {
		return 0
	}
	var d time.Duration
	if m := retryTime.FindStringSubmatch(text); m != nil {
		number, unit := m[1], m[2]
		if number == "" {
			number, unit = m[3], m[4]
		}
		n, _ := strconv.Atoi(number)
		switch unit[0] | 0x20 {
		case 's':
			d = time.Duration(n) * time.Second
		case 'm':
			d = time.Duration(n) * time.Minute
		case 'h':
			d = time.Duration(n) * time.Hour
		}
	} else if m := retryClock.FindStringSubmatch(text); m != nil {
		h, _ := strconv.Atoi(m[1])
		mi, _ := strconv.Atoi(m[2])
		s, _ := strconv.Atoi(m[3])
		d = time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute + time.Duration(s)*time.Second
	}
	return min(d, maxRetryAfter)
}

// namesTime reports a number before what may be a unit of time, or a clock, so that the expressions above run on few
// texts.
func namesTime(lower string) bool {
	for i := 0; i < len(lower); i++ {
		if !isDigit(lower[i]) {
			continue
		}
		for i < len(lower) && (isDigit(lower[i]) || lower[i] == ' ' || lower[i] == '\t') {
			i++
		}
		if i < len(lower) && (lower[i] == 's' || lower[i] == 'm' || lower[i] == 'h' || lower[i] == ':') {
			return true
		}
	}
	return false
}
