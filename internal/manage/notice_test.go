package manage

import (
	"strings"
	"testing"
)

func TestNoticeSettings(t *testing.T) {
	for doc, want := range map[string]string{
		`bounce_notice = "failures+delays"`:       "",
		`bounce_notice = "off"`:                   "",
		`bounce_notice = "delays"`:                "none of off, failures, failures+delays",
		`forward_autoreplies = "transactional"`:   "",
		`forward_autoreplies = "everything"`:      "none of off, transactional, bulk, all",
		`forward_autoreplies = ["transactional"]`: "forward_autoreplies",
	} {
		s, kinds, err := ParseState([]byte("[[accounts]]\nname = \"shop\"\n" + doc + "\n"))
		if err == nil {
			_, err = newManager(t, &memory{}).Apply(t.Context(), Request{State: s, Kinds: kinds})
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}
