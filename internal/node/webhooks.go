package node

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/submission"
	"github.com/postroad/postroad/internal/webhook"
)

func (n *Node) openWebhooks() (err error) {
	c := n.cfg.Webhook
	n.webhooks, err = webhook.New(webhook.Options{
		Store: n.store, Spool: n.spool.ID(), Snapshot: n.manager.Snapshot, Secret: n.manager.WebhookSecret, Alert: n.alerts.Tell, Stopped: n.webhookStopped,
		AllowHTTP: c.AllowHTTP, AllowPrivate: c.AllowPrivate, OwnAddrs: ownAddresses(c.AllowPrivate), Resolver: webhookResolver(dnsOptions(n.cfg.DNS, n.log).Servers),
		UserAgent: "Postroad/" + BuildVersion(), GiveUp: time.Duration(c.GiveUp), Logger: n.log.With("component", "webhook"),
	})
	if err != nil {
		return err
	}
	return n.registry.Register(newWebhookCollector(n.webhooks))
}

// beginWebhook keeps the place in the event stream at which a webhook begins that is about to be made.
func (n *Node) beginWebhook(ctx context.Context, id string) error {
	return webhook.Begin(ctx, n.store, id)
}

// noticeTimeout bounds how long a webhook's goroutine is held up by the mail that tells of its end.
const noticeTimeout = 10 * time.Second

// webhookStopped writes to the account's contact that a webhook was given up.
func (n *Node) webhookStopped(w webhook.Stopped) {
	account := n.manager.Snapshot().Account(w.Account)
	if account == nil || account.Contact == "" {
		return // the operator has the alert
	}
	to, err := mail.ParseAddress(account.Contact)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), noticeTimeout)
		defer cancel()
		_, err = n.intake.Letter(ctx, submission.Letter{
			Writer: "webhook", To: []mail.Address{to}, Content: []byte(n.webhookNotice(w, to)),
			Key: w.Account + "/" + w.Webhook + "/" + w.Since.Format(time.RFC3339Nano),
		})
	}
	if err != nil {
		n.log.Warn("the account's contact was not told of a stopped webhook", mail.LogEvent, "webhook_notice_failed", mail.LogTenant, w.Account, "webhook", w.Webhook, mail.LogErr, err)
	}
}

func (n *Node) webhookNotice(w webhook.Stopped, to mail.Address) string {
	head := []string{
		"From: Postroad <postmaster@" + n.hostname + ">",
		"To: <" + to.String() + ">",
		"Subject: Webhook " + w.Webhook + " gets no more events",
		"Date: " + time.Now().Format(time.RFC1123Z),
		"Message-ID: <" + mail.NewReplayID(time.Now()) + "@" + n.hostname + ">",
		"Auto-Submitted: auto-generated", // RFC 3834 §5.1
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit",
	}
	text := []string{
		"The webhook " + w.Webhook + " of the account " + w.Account + " was given up at " + w.Since.UTC().Format(time.RFC1123) + ".", "",
		"Address: " + w.URL, "Reason:  " + strings.Join(strings.Fields(w.Reason), " "), "",
		"Its events are kept. When the receiver works again, enable the webhook:",
		"postroad webhooks enable " + w.Webhook + ", or POST /v1/webhooks/" + w.Webhook + "/enable.",
		"It then goes on with the event it stopped at.", "",
	}
	return strings.Join(head, "\r\n") + "\r\n\r\n" + strings.Join(text, "\r\n")
}

// webhookResolver asks the configured name servers, where there are some, in place of the system's.
func webhookResolver(servers []dns.Server) *net.Resolver {
	if len(servers) == 0 {
		return nil
	}
	var d net.Dialer
	var n atomic.Uint32
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		// The resolver asks again when there is no answer: then it is the next one's turn.
		server := servers[int(n.Add(1)-1)%len(servers)]
		return d.DialContext(ctx, network, server.Addr.String())
	}}
}

// webhookCollector reads the figures of webhooks once per scrape. No label names an account or a webhook.
type webhookCollector struct {
	s        *webhook.Service
	attempts *prometheus.Desc
	hooks    *prometheus.Desc
	oldest   *prometheus.Desc
	replayed *prometheus.Desc
	stops    *prometheus.Desc
	dropped  *prometheus.Desc
}

func newWebhookCollector(s *webhook.Service) *webhookCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postroad_webhook_"+name, help, labels, nil)
	}
	return &webhookCollector{
		s:        s,
		attempts: desc("attempts_total", "Requests to webhooks since the start: taken (2xx), refused (another status), failed (no answer).", "result"),
		hooks:    desc("endpoints", "Webhooks by what they do now: live, catching-up, retrying, stopped, disabled.", "state"),
		oldest:   desc("oldest_event_seconds", "Age of the oldest event that is being sent or tried again."),
		replayed: desc("replayed_total", "Requests of replays since the start."),
		stops:    desc("stops_total", "Webhooks that were given up since the start."),
		dropped:  desc("log_dropped_total", "Requests the log had no room for since the start."),
	}
}

// Describe implements prometheus.Collector.
func (c *webhookCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.attempts, c.hooks, c.oldest, c.replayed, c.stops, c.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *webhookCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.s.Stats()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count(c.attempts, s.Taken, "taken")
	count(c.attempts, s.Refused, "refused")
	count(c.attempts, s.Failed, "failed")
	for state, v := range map[string]int{"live": s.Live, "catching-up": s.CatchingUp, "retrying": s.Retrying, "stopped": s.Stopped, "disabled": s.Disabled} {
		gauge(c.hooks, float64(v), state)
	}
	gauge(c.oldest, s.Oldest.Seconds())
	count(c.replayed, s.Replayed)
	count(c.stops, s.Stops)
	count(c.dropped, s.LogDropped)
}
