package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postroad/postroad/internal/api"
	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/delivery"
	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/feedback/imap"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/notify"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/projector"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/reporting"
	"github.com/postroad/postroad/internal/smtpd"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/submission"
	"github.com/postroad/postroad/internal/webhook"
)

// Names of what lies in the data folder.
const (
	SpoolDir    = "spool"
	StoreDir    = "store"
	EventsDir   = "events"
	AdminSocket = "admin.sock"
)

// maxTranscript is the most octets of a dialogue kept with an attempt.
const maxTranscript = 8 << 10

// Options are what a Node needs besides its configuration.
type Options struct {
	Config config.Config
	Logger *slog.Logger
	// OnEvents is told of events once they are recorded; it must not block. May be nil.
	OnEvents func([]*mail.Event)
	// Pace shortens every wait of the queue's own choosing (rests of lanes); 0 means 1. For practice and tests.
	Pace float64
	// RecordGap goes on although the record lacks events the spool no longer has, after a restored backup.
	RecordGap bool
}

// Node is the platform on one machine.
type Node struct {
	o        Options
	cfg      config.Config
	hostname string
	log      *slog.Logger

	store      *sqlite.Store
	kept       *sqlite.Archive
	archive    *archive.Archive
	spool      *spool.Spool
	resolver   *dns.Client
	manager    *manage.Manager
	queue      *queue.Queue
	delivery   *delivery.Delivery
	projector  *projector.Projector
	webhooks   *webhook.Service
	feedback   *feedback.Reader
	intake     *submission.Service
	suppress   *manage.Suppressions
	actor      *feedback.Actor
	signer     *signer
	mailboxes  *imap.Poller
	notices    *feedback.Notifier
	reporting  *reporting.Service
	notify     *notify.Service
	followers  []*store.Progress // of those who write addresses in acting on events
	returnKey  mail.ReturnPathKey
	alerts     *alerts
	ruleFolder *ruleFolder
	smtp       *smtpd.Server
	api        *api.API
	listeners  []listener
	registry   *prometheus.Registry
	stopping   chan struct{} // closed when no more mail is taken in
}

// Open makes the platform: it opens spool and store, binds all listeners, and serves nobody before Run. On an error
// everything it opened is closed again.
func Open(ctx context.Context, o Options) (_ *Node, err error) {
	n := &Node{o: o, cfg: o.Config, log: o.Logger, stopping: make(chan struct{})}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.hostname, err = hostname(n.cfg.Hostname); err != nil {
		return nil, err
	}
	if n.cfg.Data, err = filepath.Abs(n.cfg.Data); err != nil {
		return nil, fmt.Errorf("node: data folder: %w", err)
	}
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("node: make data folder: %w", err)
	}
	key, err := n.masterKey()
	if err != nil {
		return nil, err
	}
	if err := n.openShelves(ctx); err != nil {
		return nil, err
	}
	if err := n.openWorks(ctx, key); err != nil {
		return nil, err
	}
	if err := n.openDoors(); err != nil {
		return nil, err
	}
	return n, nil
}

// hostname is the configured name, or the system's.
func hostname(configured string) (string, error) {
	name := configured
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("node: the system has no host name; set hostname: %w", err)
		}
	}
	domain, err := mail.ParseDomain(strings.TrimSuffix(name, "."))
	if err != nil {
		return "", fmt.Errorf("node: host name %q cannot be used; set hostname: %w", name, err)
	}
	return domain, nil
}

// MasterKeyFile is where the master key of a configuration lies.
func MasterKeyFile(c config.Config) string {
	if c.MasterKey != "" {
		return c.MasterKey
	}
	return filepath.Clean(c.Data) + ".key"
}

func (n *Node) masterKey() (manage.MasterKey, error) {
	file := MasterKeyFile(n.cfg)
	// A data folder that was in use must not get a new key: what is sealed in it would never open again.
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(n.cfg.Data, StoreDir)); err == nil {
			return manage.MasterKey{}, fmt.Errorf("node: %s is in use, but its master key %s is missing; put it back from the backup", n.cfg.Data, file)
		}
	}
	key, made, err := manage.LoadMasterKey(file)
	if err != nil {
		return manage.MasterKey{}, err
	}
	if made {
		n.log.Info("made a master key; keep a copy of it apart from the data folder", "event", "master_key_made", "file", file)
	}
	return key, nil
}

func (n *Node) openShelves(ctx context.Context) (err error) {
	n.spool, err = spool.Open(ctx, spool.Options{
		Dir: filepath.Join(n.cfg.Data, SpoolDir), Logger: n.log.With("component", "spool"),
		MinFree: uint64(n.cfg.Spool.MinFree), Ballast: int64(n.cfg.Spool.Ballast), MemoryBudget: int64(n.cfg.Spool.Memory),
	})
	if err != nil {
		return err
	}
	n.store, err = sqlite.Open(ctx, sqlite.Options{
		Dir: filepath.Join(n.cfg.Data, StoreDir), Logger: n.log.With("component", "store"),
		Retention: time.Duration(n.cfg.Store.RetentionDays) * 24 * time.Hour, MayGrow: n.mayGrow,
		Transcripts: time.Duration(n.cfg.Store.TranscriptDays) * 24 * time.Hour,
		Held:        func(ctx context.Context, day string) (bool, error) { return n.archive.HeldDay(ctx, day) },
		WebhookLog:  time.Duration(n.cfg.Webhook.LogDays) * 24 * time.Hour,
	})
	return err
}

// storeReserve is how much more free space the record wants than the spool, as a fraction of the spool's floor.
const storeReserve = 2

// mayGrow keeps the record from taking the space the spool needs to settle what it has.
func (n *Node) mayGrow() error {
	if s := n.spool.Space(); s.Free < s.Floor+s.Floor/storeReserve {
		return fmt.Errorf("%d octets are free, the record stops at %d", s.Free, s.Floor+s.Floor/storeReserve)
	}
	return nil
}

func (n *Node) openWorks(ctx context.Context, key manage.MasterKey) (err error) {
	n.alerts = newAlerts(n.store, n.log.With("component", "alerts"))
	n.ruleFolder = newRuleFolder(n.cfg.Bounce.Rules, n.alerts.Tell, n.log.With("component", "bounce"))
	n.manager, err = manage.New(ctx, manage.Options{
		Store: n.store, MasterKey: key, Hostname: n.hostname, NewSecret: submission.NewSecret,
		HashSecret: submission.HashSecret, MatchSecret: submission.MatchSecret,
		Webhooks:     manage.WebhookRules{AllowHTTP: n.cfg.Webhook.AllowHTTP, AllowPrivate: n.cfg.Webhook.AllowPrivate},
		BeginWebhook: n.beginWebhook,
		Changed: func(*platform.Snapshot) {
			n.queue.SnapshotChanged()
			n.mailboxes.Changed()
			n.webhooks.SnapshotChanged()
		}, Logger: n.log.With("component", "manage"),
	})
	if err != nil {
		return err
	}
	if err := n.openSuppressions(); err != nil {
		return err
	}
	if n.resolver, err = dns.New(dnsOptions(n.cfg.DNS, n.log.With("component", "dns"))); err != nil {
		return err
	}
	own := ownAddresses(n.cfg.Delivery.AllowPrivate)
	hosts, err := mx.New(mx.Options{Resolver: n.resolver, OwnNames: []string{n.hostname}, OwnAddrs: own})
	if err != nil {
		return err
	}
	n.returnKey = mail.ReturnPathKey(key.Derive("return path 1"))
	n.signer = newSigner(n.manager, n.resolver, n.alerts, n.loop())
	if err := n.openReporting(hosts.Receivers()); err != nil {
		return err
	}
	if err := n.openArchive(key); err != nil {
		return err
	}
	if err := n.openDelivery(hosts, own); err != nil {
		return err
	}
	if err := n.openQueue(); err != nil {
		return err
	}
	n.intake, err = submission.New(submission.Options{
		Spool: n.spool, Snapshot: n.manager.Snapshot, Added: n.added, TakeQuota: n.store.Take, OverQuota: n.overQuota, Suppressed: n.suppress.Suppressed,
		MaxSize: int64(n.cfg.Submission.MaxSize), MaxRecipients: n.cfg.Submission.MaxRecipients,
		Expiry:        submission.Expiry{Transactional: expiry(n.cfg.Retry.Transactional, submission.DefaultExpiry.Transactional), Bulk: expiry(n.cfg.Retry.Bulk, submission.DefaultExpiry.Bulk)},
		ClientAddress: n.cfg.Submission.ClientAddress, Logger: n.log.With("component", "submission"),
	})
	if err != nil {
		return err
	}
	if err := n.openNotify(); err != nil {
		return err
	}
	po := projector.Options{Outbox: n.spool, Store: n.store, Logger: n.log.With("component", "projector"), OnEvents: n.o.OnEvents, AcceptGap: n.o.RecordGap}
	po.Files = &projector.FileOptions{
		Dir: filepath.Join(n.cfg.Data, EventsDir), Off: !n.cfg.Events.Files, MaxSize: int64(n.cfg.Events.MaxSize), MaxFiles: n.cfg.Events.KeepFiles,
	}
	if n.projector, err = projector.New(po); err != nil {
		return err
	}
	if err := n.projector.Check(ctx); err != nil { // before anybody commits or sends anything
		return err
	}
	if err := n.openFeedback(); err != nil {
		return err
	}
	if err := n.openMailboxes(); err != nil {
		return err
	}
	return n.openNotices()
}

func expiry(r config.RetrySchedule, fallback time.Duration) time.Duration {
	if r.Expire > 0 {
		return time.Duration(r.Expire)
	}
	return fallback
}

func dnsOptions(c config.DNS, log *slog.Logger) dns.Options {
	o := dns.Options{Logger: log}
	for _, s := range c.Servers {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			ap = netip.AddrPortFrom(netip.MustParseAddr(s), 53) // config has checked it
		}
		o.Servers = append(o.Servers, dns.Server{Addr: ap, Trusted: c.TrustAD})
	}
	return o
}

// ownAddresses are the addresses of this machine, which mail must not be delivered to.
func ownAddresses(allowed bool) []netip.Addr {
	if allowed {
		return nil
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // delivery still refuses loopback and private addresses
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own
}

func (n *Node) openDelivery(hosts *mx.Resolver, own []netip.Addr) (err error) {
	transcripts := maxTranscript
	if n.cfg.Delivery.Transcripts == "none" {
		transcripts = 0
	}
	n.delivery, err = delivery.New(delivery.Options{
		Snapshot: n.manager.Snapshot, MX: hosts, Classify: n.ruleFolder.classify, Sign: n.signer.Sign,
		ReturnPath: func(d *mail.Delivery) mail.Address { return n.returnKey.ReturnPath(d.ID, n.returnDomain()) },
		Token:      n.token,
		To7Bit:     compose.To7Bit, Password: n.manager.RoutePassword, Hostname: n.hostname, Port: n.cfg.Delivery.Port,
		AllowPrivate: n.cfg.Delivery.AllowPrivate, OwnAddrs: own, StopGrace: time.Duration(n.cfg.Delivery.StopTimeout),
		Transcripts: transcripts, FailuresOnly: n.cfg.Delivery.Transcripts == "failures", Logger: n.log.With("component", "delivery"),
	})
	return err
}

func (n *Node) openQueue() (err error) {
	n.queue, err = queue.New(queue.Options{
		Spools: []queue.Spool{queue.FromSpool(n.spool)}, Snapshot: n.manager.Snapshot, Locate: n.delivery.Locate, Session: n.delivery.Session,
		Listed: n.suppress.Listed, Suppressed: n.suppressedMeanwhile,
		Alert: n.alerts.Tell, Transactional: schedule(n.cfg.Retry.Transactional), Bulk: schedule(n.cfg.Retry.Bulk),
		MaxSessions: n.cfg.Delivery.MaxSessions, StopGrace: time.Duration(n.cfg.Delivery.StopTimeout), Pace: n.o.Pace,
		Logger: n.log.With("component", "queue"),
	})
	return err
}

// schedule turns a configured retry schedule into the queue's; the zero Schedule where none is configured.
func schedule(r config.RetrySchedule) (s queue.Schedule) {
	for _, d := range r.Intervals {
		s.Steps = append(s.Steps, time.Duration(d))
	}
	return s
}

// added tells the queue of mail that has just been accepted.
func (n *Node) added(m *mail.Message, ds []*mail.Delivery, staged []mail.QueueKey, body mail.Body) {
	n.queue.Add(m, ds, body)
	due := m.AcceptedAt
	if m.SendAt.After(due) {
		due = m.SendAt
	}
	for _, key := range staged {
		n.queue.Wake(n.spool.ID(), key, due)
	}
}

func (n *Node) openDoors() (err error) {
	n.registry = prometheus.NewRegistry()
	if err := n.registerMetrics(); err != nil {
		return err
	}
	if err := n.openWebhooks(); err != nil {
		return err
	}
	n.api, err = api.New(api.Options{
		Submission: n.intake, Manager: n.manager, Queue: n.queue, Store: n.store, Live: n.spool, Reporting: n.reporting, Archive: n.archive, Webhooks: n.webhooks, NotReady: n.NotReady,
		Suppress: n.suppress,
		Inbox:    n.inbox(), Received: n.Received,
		Metrics:     promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}),
		AdminSocket: n.adminSocket(), TrustedProxies: n.cfg.HTTP.TrustedProxies, Stopping: n.stopping, Version: BuildVersion(), Logger: n.log.With("component", "api"),
	})
	if err != nil {
		return err
	}
	certs, err := smtpd.NewCertificates(smtpd.CertificateOptions{
		CertFile: n.cfg.TLS.Certificate, KeyFile: n.cfg.TLS.Key, Hostname: n.hostname, Logger: n.log.With("component", "tls"),
	})
	if err != nil {
		return err
	}
	sessions, err := smtpd.NewSubmission(smtpd.Serve(n.intake), n.log.With("component", "smtpd"))
	if err != nil {
		return err
	}
	metrics, err := smtpd.NewMetrics(n.registry)
	if err != nil {
		return err
	}
	c := n.cfg.Submission
	submissionListener := smtpd.Listener{
		Name: "submission", Addresses: c.Listen, Sessions: sessions.Session, ClearAuth: c.PlainAuthOnLoopback,
		RequireTLS: true, Proxies: c.ProxyFrom, MaxSize: int64(c.MaxSize), MaxRecipients: c.MaxRecipients,
	}
	submissions := submissionListener
	submissions.Name, submissions.Addresses, submissions.ImplicitTLS = "submissions", c.ListenTLS, true
	returns, err := n.returnListener()
	if err != nil {
		return err
	}
	n.smtp, err = smtpd.New(smtpd.Options{
		Hostname: n.hostname, Listeners: []smtpd.Listener{submissionListener, submissions, returns}, Certificates: certs,
		MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress, Metrics: metrics, Logger: n.log.With("component", "smtpd"),
	})
	if err != nil {
		return err
	}
	return n.openHTTP(certs)
}

// NotReady lists why mail cannot be taken in at the moment.
func (n *Node) NotReady() (why []string) {
	select {
	case <-n.queue.Ready():
	default:
		why = append(why, "starting: the spool is being read")
	}
	if s := n.spool.Space(); s.Low {
		why = append(why, fmt.Sprintf("disk: %d octets are free, mail is taken in from %d", s.Free, s.Floor))
	}
	if err := n.spool.Err(); err != nil {
		why = append(why, "spool: "+err.Error())
	}
	return why
}

// close closes what is open, in the reverse order of opening.
func (n *Node) close() error {
	var errs []error
	if n.smtp != nil {
		n.smtp.Close()
	}
	for _, l := range n.listeners {
		errs = append(errs, l.close())
	}
	if n.resolver != nil {
		errs = append(errs, n.resolver.Close())
	}
	if n.spool != nil {
		errs = append(errs, n.spool.Close())
	}
	if n.kept != nil {
		errs = append(errs, n.kept.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

// State is the platform's state as it is now.
func (n *Node) State() platform.State { return n.manager.Snapshot().State() }

// Apply changes the platform's state, as the API does.
func (n *Node) Apply(ctx context.Context, r manage.Request) (manage.StateReport, error) {
	return n.manager.Apply(ctx, r)
}
