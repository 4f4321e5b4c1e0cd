package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	for text, want := range map[string]string{
		"[alerts]\nmail_to = [\"ops@example.com\"]\n[digest]\nhour = 0": "",
		"[alerts]\nmail_to = [\"nobody\"]":                              "alerts.mail_to",
		"[digest]\nhour = 24":                                           "digest.hour: 24 is no hour of the day",
		"[digest]\nhour = -1":                                           "digest.hour",
		"[alerts]\nmail = 1":                                            "there is no setting alerts.mail",
	} {
		file := filepath.Join(t.TempDir(), "postroad.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
