package mail

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// SpanForms says how a span of time is written.
const SpanForms = "90s, 30m, 4h, 3d or 2w"

// errSpan is the error of ParseSpan; who asks says which value is wrong.
var errSpan = errors.New("no span of time such as " + SpanForms)

// maxSpan is some 95 years: three of them, for three units, do not overflow.
const maxSpan = 35_000 * 24 * time.Hour

// ParseSpan reads a span of time, not negative: the units of time.ParseDuration, before them days (24 hours) and weeks in whole
// numbers: "36h", "3d", "1w2d12h".
func ParseSpan(text string) (time.Duration, error) {
	var sum time.Duration
	rest := text
	for _, unit := range []struct {
		letter string
		size   time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		count, behind, ok := strings.Cut(rest, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil || n > uint64(maxSpan/unit.size) {
			return 0, errSpan
		}
		sum += time.Duration(n) * unit.size
		rest = behind
	}
	if rest != "" || sum == 0 && rest == text {
		d, err := time.ParseDuration(rest)
		if err != nil || d > maxSpan || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
			return 0, errSpan
		}
		sum += d
	}
	if sum > maxSpan {
		return 0, errSpan
	}
	return sum, nil
}
