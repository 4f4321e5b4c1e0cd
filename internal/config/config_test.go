package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// wrong has every file of testdata/wrong with what is said of it. A wrong setting is told with file, line or key, and
// with what would be right.
var wrong = map[string][]string{
	"unknown_setting.toml":   {":2:1:", "there is no setting delivery.prot", "postroad config"},
	"unknown_table.toml":     {":1:", "there is no setting deliverry"},
	"no_toml.toml":           {":1:"},
	"wrong_type.toml":        {":2:", "delivery.port"},
	"twice.toml":             {":2:", "hostname"},
	"bad_duration.toml":      {":2:", `"5 minutes" is not a duration such as 90s, 30m, 4h, 3d or 2w`},
	"negative_duration.toml": {":2:", "is not a duration"},
	"bad_size.toml":          {":2:", `"50 megabytes" is not a size such as 52428800, 512KiB, 50MiB or 2GiB`},
	"size_overflow.toml":     {":2:", "is not a size"},
	"bad_prefix.toml":        {":2:"},
	"bad_listen.toml":        {"submission.listen:", `"587" is not address:port`},
	"bad_port.toml":          {"http.listen:", "127.0.0.1:99999"},
	"port_twice.toml":        {"submission.listen_tls:", "127.0.0.1:2587 is used by submission.listen"},
	"bad_hostname.toml":      {"hostname:", `"not a name"`},
	"bad_return_path.toml":   {"return_path.domain:", `"a..b"`},
	"bad_return_addresses.toml": {
		"return_path.listen:", `"25" is not address:port`, "return_path.domains:", `"b..example.net"`, "return_path.report_addresses:",
		`"fbl@example.com" is not the part of an address before the @`, "abuse@ is always taken", "return_path.forward_to:",
		"mail@bounces.example.net is at a domain whose mail comes here", "return_path.max_size:", "return_path.max_connections:",
	},
	"bad_level.toml":            {"log.level:", `"loud" is none of debug, info, warn, error`},
	"bad_format.toml":           {"log.format:", "auto, text, json"},
	"bad_transcripts.toml":      {"delivery.transcripts:", "failures, all, none"},
	"certificate_alone.toml":    {"tls:", "certificate and key go together"},
	"bad_dns_server.toml":       {"dns.servers:", `"resolver.example"`},
	"delivery_port_zero.toml":   {"delivery.port:", "0 is not a port"},
	"too_few_recipients.toml":   {"submission.max_recipients:", "50 is less than 100"},
	"tiny_messages.toml":        {"submission.max_size:", "1024 is less than 65536"},
	"no_sessions.toml":          {"delivery.max_sessions:", "0 is less than 1"},
	"no_connections.toml":       {"submission.max_connections:", "submission.max_connections_per_address:"},
	"no_retention.toml":         {"store.retention_days:", "-1 is less than 1"},
	"no_event_files.toml":       {"events.max_size:", "events.keep_files:"},
	"zero_interval.toml":        {"retry.bulk.intervals[1]:", "must be more than 0"},
	"several_at_once.toml":      {"log.level:", "delivery.port:", "submission.listen:"},
	"secret_in_the_config.toml": {":2:1:", "there is no setting http.api_key"},
}

func TestWrongFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			_, err := Load(file)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range append([]string{file}, wrong[name]...) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "pr_secret") {
				t.Errorf("the error repeats a secret: %v", err)
			}
			if len(wrong[name]) == 0 {
				t.Error("there is no expected message for this file")
			}
		})
	}
	for name := range wrong {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// The defaults are valid, and what is printed of them reads back the same.
func TestDefaultRoundTrip(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.Data = filepath.Join(dir, "data")
	c.Retry.Bulk = RetrySchedule{Intervals: []Duration{Duration(time.Minute), Duration(90 * time.Second)}, Expire: Duration(time.Hour)}
	b, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "postroad.toml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	empty := cmp.FilterValues(func(a, b any) bool {
		va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
		return va.Kind() == reflect.Slice && va.Len() == 0 && vb.Kind() == reflect.Slice && vb.Len() == 0
	}, cmp.Ignore())
	if d := cmp.Diff(c, got, empty); d != "" {
		t.Errorf("-written +read:\n%s", d)
	}
}

// A relative path in a file means relative to the file; what the file does not name stays where the program is.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) Config {
		t.Helper()
		file := filepath.Join(dir, "postroad.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load("data = \"postroad-data\"\nmaster_key = \"keys/master\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"/etc/key.pem\"\n")
	if c.Data != filepath.Join(dir, "postroad-data") || c.MasterKey != filepath.Join(dir, "keys/master") ||
		c.TLS.Certificate != filepath.Join(dir, "cert.pem") || c.TLS.Key != "/etc/key.pem" {
		t.Errorf("%+v", c)
	}
	if c = load(""); c.Data != Default().Data || c.MasterKey != "" {
		t.Errorf("%+v", c)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "52428800": 50 << 20, "512KiB": 512 << 10, "50MiB": 50 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		b, err := s.MarshalText()
		var again Size
		if err != nil || again.UnmarshalText(b) != nil || again != s {
			t.Errorf("%s is written %s", text, b)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "9999999TiB", "MiB", "1MB", "0x10"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestLoadNothing(t *testing.T) {
	if _, err := Load("/nowhere/postroad.toml"); err == nil || !strings.Contains(err.Error(), "/nowhere/postroad.toml") {
		t.Errorf("%v", err)
	}
}
