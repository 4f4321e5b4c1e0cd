package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/postroad/postroad/internal/mail"
)

// Config is the whole of postroad.toml. Sizes are in octets; durations are written "90s", "10m", "4h".
type Config struct {
	// Hostname is the platform's own name: greeting, Received, EHLO. "": the system's.
	Hostname string `toml:"hostname"`
	// Data is the folder of spool, store and events. --data overrides it.
	Data string `toml:"data"`
	// MasterKey is the file of the key that secrets in the store are encrypted under. It is made at first start, and
	// should not be in Data: who copies the data folder should not get the secrets with it.
	MasterKey string `toml:"master_key"`

	Log        Log        `toml:"log"`
	TLS        TLS        `toml:"tls"`
	HTTP       HTTP       `toml:"http"`
	Submission Submission `toml:"submission"`
	ReturnPath ReturnPath `toml:"return_path"`
	Delivery   Delivery   `toml:"delivery"`
	DNS        DNS        `toml:"dns"`
	Spool      Spool      `toml:"spool"`
	Store      Store      `toml:"store"`
	Events     Events     `toml:"events"`
	Retry      Retry      `toml:"retry"`
	Webhook    Webhook    `toml:"webhook"`
	Bounce     Bounce     `toml:"bounce"`
	Alerts     Alerts     `toml:"alerts"`
	Digest     Digest     `toml:"digest"`
}

// Log says what is logged to standard error, and how.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // auto, text, json; auto: text on a terminal, else journald-friendly text
}

// TLS is the certificate of all listeners. Without one a self-signed certificate is made for the run.
type TLS struct {
	Certificate string `toml:"certificate"` // PEM file, with the chain; read again when it changes
	Key         string `toml:"key"`
}

// HTTP is the API's listener.
type HTTP struct {
	Listen []string `toml:"listen"`
	// TLS serves https with the certificate of [tls].
	TLS bool `toml:"tls"`
	// TrustedProxies may set X-Forwarded-For.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
}

// Submission is the SMTP side that takes mail in.
type Submission struct {
	Listen    []string `toml:"listen"`     // STARTTLS
	ListenTLS []string `toml:"listen_tls"` // TLS from the first octet
	// ProxyFrom are the proxies whose PROXY header is believed; from these it is required.
	ProxyFrom []netip.Prefix `toml:"proxy_from"`
	// PlainAuthOnLoopback lets clients on loopback log in without TLS.
	PlainAuthOnLoopback bool `toml:"plain_auth_on_loopback"`
	MaxSize             Size `toml:"max_size"`
	MaxRecipients       int  `toml:"max_recipients"`
	MaxConnections      int  `toml:"max_connections"`
	MaxPerAddress       int  `toml:"max_connections_per_address"`
	// ClientAddress writes the client's address into Received.
	ClientAddress bool `toml:"client_address_in_received"`
}

// Delivery is the way out.
type Delivery struct {
	Port        int  `toml:"port"` // of the receivers' MX hosts
	MaxSessions int  `toml:"max_sessions"`
	IPv6        bool `toml:"ipv6"`
	// AllowPrivate lets direct delivery connect to loopback, private and own addresses. For tests.
	AllowPrivate bool `toml:"allow_private"`
	// Transcripts keeps the dialogue of each attempt in the record: "failures", "all", "none".
	Transcripts string `toml:"transcripts"`
	// StopTimeout bounds how long a stop waits for dialogues in hand.
	StopTimeout Duration `toml:"stop_timeout"`
}

// DNS is who is asked for MX records. Empty: the system's servers.
type DNS struct {
	Servers []string `toml:"servers"` // address or address:port
	// TrustAD believes the authenticated-data bit of these servers (they validate DNSSEC and the way to them is safe).
	TrustAD bool `toml:"trust_ad"`
}

// Spool is the durable queue on disk.
type Spool struct {
	// MinFree is the free space below which no mail is taken in. 0: the larger of 2 GiB and 5 % of the disk.
	MinFree Size `toml:"min_free"`
	// Ballast is a file that can be given up to make room (`postroad spool free`).
	Ballast Size `toml:"ballast"`
	// Memory bounds the message bodies kept in memory until their first attempt.
	Memory Size `toml:"memory"`
}

// Store is the lasting record.
type Store struct {
	RetentionDays int `toml:"retention_days"`
	// TranscriptDays is how long the dialogues of attempts are kept; 0: as long as the record.
	TranscriptDays int `toml:"transcript_days"`
}

// Events are the JSONL files for the operator's own log system.
type Events struct {
	Files     bool `toml:"files"`
	MaxSize   Size `toml:"max_size"` // of one file
	KeepFiles int  `toml:"keep_files"`
}

// Bounce says how refusals are understood.
type Bounce struct {
	// Rules is a folder of rule files laid over the built-in ones; read again when a file in it changes. "": none.
	Rules string `toml:"rules"`
}

// Webhook says how customers' webhooks are called.
type Webhook struct {
	// AllowPrivate lets webhooks lead to loopback, private and own addresses: for receivers inside the operator's network.
	// Whoever can make a webhook can then reach them too.
	AllowPrivate bool `toml:"allow_private"`
	// AllowHTTP lets events go out in clear.
	AllowHTTP bool `toml:"allow_http"`
	// GiveUp is how long one event is tried before its webhook is stopped.
	GiveUp Duration `toml:"give_up"`
	// LogDays is how long the log of what was sent is kept.
	LogDays int `toml:"log_days"`
}

// Retry overrides the retry schedule. The last interval repeats until expiry.
type Retry struct {
	Transactional RetrySchedule `toml:"transactional"`
	Bulk          RetrySchedule `toml:"bulk"`
}

// RetrySchedule is when a deferred delivery is tried again, and when it is given up.
type RetrySchedule struct {
	Intervals []Duration `toml:"intervals"`
	Expire    Duration   `toml:"expire"`
}

// Duration is a time.Duration written as text.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := mail.ParseSpan(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as %s", b, mail.SpanForms)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Size is a number of octets, written plainly or with KiB, MiB or GiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	text := string(b)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil || v < 0 || v > (1<<62)/u.factor {
				break
			}
			*s = Size(v * u.factor)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size such as 52428800, 512KiB, 50MiB or 2GiB", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) {
	for i := len(sizeUnits) - 2; i >= 0; i-- {
		if u := sizeUnits[i]; s > 0 && int64(s)%u.factor == 0 {
			return []byte(strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix), nil
		}
	}
	return []byte(strconv.FormatInt(int64(s), 10)), nil
}

// Default is the configuration without a file: loopback, the standard ports plus 2000, data in ./postroad-data.
func Default() Config {
	return Config{
		Data: "postroad-data",
		Log:  Log{Level: "info", Format: "auto"},
		HTTP: HTTP{Listen: []string{"127.0.0.1:2080"}},
		Submission: Submission{
			Listen: []string{"127.0.0.1:2587"}, ListenTLS: []string{"127.0.0.1:2465"},
			MaxSize: 50 << 20, MaxRecipients: 1000, MaxConnections: 2000, MaxPerAddress: 200,
		},
		ReturnPath: defaultReturnPath(),
		Delivery:   Delivery{Port: 25, MaxSessions: 2000, IPv6: true, Transcripts: "failures", StopTimeout: Duration(30 * time.Second)},
		Spool:      Spool{Ballast: 256 << 20, Memory: 64 << 20},
		Store:      Store{RetentionDays: 90},
		Webhook:    Webhook{GiveUp: Duration(72 * time.Hour), LogDays: 7},
		Digest:     Digest{Hour: defaultDigestHour},
		Events:     Events{MaxSize: 100 << 20, KeepFiles: 14},
	}
}

// Load reads a configuration file over the defaults. A relative path in it means relative to the file, wherever the
// program was started. An error names the file, the line and the key.
func Load(file string) (Config, error) {
	c := Default()
	c.Data = "" // to see whether the file names it
	b, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	dec := toml.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("config: %s%s", file, explain(err))
	}
	for _, p := range []*string{&c.Data, &c.MasterKey, &c.TLS.Certificate, &c.TLS.Key, &c.Bounce.Rules} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(file), *p)
		}
	}
	if c.Data == "" {
		c.Data = Default().Data
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("config: %s: %w", file, err)
	}
	return c, nil
}

// explain turns an error of the TOML library into ":line:column: key: what is wrong".
func explain(err error) string {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, col := e.Position()
		return fmt.Sprintf(":%d:%d: there is no setting %s (`postroad config` lists them)", line, col, strings.Join(e.Key(), "."))
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		line, col := dec.Position()
		key := strings.Join(dec.Key(), ".")
		if key != "" {
			key += ": "
		}
		return fmt.Sprintf(":%d:%d: %s%s", line, col, key, strings.TrimPrefix(dec.Error(), "toml: "))
	}
	return ": " + err.Error()
}

// Validate checks every value and reports all that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if c.Hostname != "" {
		if _, err := mail.ParseDomain(c.Hostname); err != nil {
			bad("hostname", "%q: %v", c.Hostname, err)
		}
	}
	c.ReturnPath.validate(bad, c.Hostname)
	c.validateNotify(bad)
	if c.Data == "" {
		bad("data", "a folder is needed")
	}
	oneOf(bad, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(bad, "log.format", c.Log.Format, "auto", "text", "json")
	oneOf(bad, "delivery.transcripts", c.Delivery.Transcripts, "failures", "all", "none")
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		bad("tls", "certificate and key go together")
	}
	used := map[string]string{}
	for _, l := range []struct {
		key  string
		list []string
	}{{"http.listen", c.HTTP.Listen}, {"submission.listen", c.Submission.Listen}, {"submission.listen_tls", c.Submission.ListenTLS}, {"return_path.listen", c.ReturnPath.Listen}} {
		for _, a := range l.list {
			_, port, err := net.SplitHostPort(a)
			if err != nil || !validPort(port) {
				bad(l.key, "%q is not address:port, such as 127.0.0.1:2587 or [::]:587", a)
				continue
			}
			if other, ok := used[a]; ok && port != "0" {
				bad(l.key, "%s is used by %s", a, other)
			}
			used[a] = l.key
		}
	}
	for _, a := range c.DNS.Servers {
		if _, err := netip.ParseAddr(a); err != nil {
			if _, err := netip.ParseAddrPort(a); err != nil {
				bad("dns.servers", "%q is not an address or address:port", a)
			}
		}
	}
	if c.Delivery.Port < 1 || c.Delivery.Port > 65535 {
		bad("delivery.port", "%d is not a port", c.Delivery.Port)
	}
	atLeast(bad, "submission.max_size", int64(c.Submission.MaxSize), 64<<10)
	atLeast(bad, "submission.max_recipients", int64(c.Submission.MaxRecipients), 100) // RFC 5321 §4.5.3.1.8
	atLeast(bad, "submission.max_connections", int64(c.Submission.MaxConnections), 1)
	atLeast(bad, "submission.max_connections_per_address", int64(c.Submission.MaxPerAddress), 1)
	atLeast(bad, "delivery.max_sessions", int64(c.Delivery.MaxSessions), 1)
	atLeast(bad, "store.retention_days", int64(c.Store.RetentionDays), 1)
	atLeast(bad, "store.transcript_days", int64(c.Store.TranscriptDays), 0)
	atLeast(bad, "webhook.log_days", int64(c.Webhook.LogDays), 1)
	if c.Webhook.GiveUp < Duration(time.Minute) {
		bad("webhook.give_up", "%s is less than a minute", time.Duration(c.Webhook.GiveUp))
	}
	atLeast(bad, "events.max_size", int64(c.Events.MaxSize), 1<<10)
	atLeast(bad, "events.keep_files", int64(c.Events.KeepFiles), 1)
	for _, r := range []struct {
		key string
		RetrySchedule
	}{{"retry.transactional", c.Retry.Transactional}, {"retry.bulk", c.Retry.Bulk}} {
		for i, d := range r.Intervals {
			if d <= 0 {
				bad(fmt.Sprintf("%s.intervals[%d]", r.key, i), "must be more than 0")
			}
		}
	}
	return errors.Join(errs...)
}

func oneOf(bad func(key, format string, args ...any), key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	bad(key, "%q is none of %s", value, strings.Join(allowed, ", "))
}

func atLeast(bad func(key, format string, args ...any), key string, value, least int64) {
	if value < least {
		bad(key, "%d is less than %d", value, least)
	}
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}
