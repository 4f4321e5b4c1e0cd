package feedback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/tenant"
)

// NoticeStore is what a Notifier needs of a store.
type NoticeStore interface {
	store.Followed
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error)
	MessageEvents(ctx context.Context, id mail.MessageID, cursor string, max int) (events []*mail.Event, next string, err error)
	Report(ctx context.Context, id mail.ReportID) (*store.StoredReport, error)
}

// NoticeLetter is a mail a Notifier writes, from the null sender.
type NoticeLetter struct {
	Account, Writer string
	To              mail.Address
	Content         []byte
	Key             string // writing it twice writes it once
}

// ErrLetterRefused is returned by NoticeOptions.Letter for a mail that is refused for good.
var ErrLetterRefused = errors.New("feedback: the mail is refused")

// NoticeOptions are what a Notifier needs. Store, Snapshot, Letter and Hostname are required.
type NoticeOptions struct {
	Store    NoticeStore
	Spool    mail.SpoolID // whose events come in
	Snapshot func() *platform.Snapshot
	// Letter accepts a mail; it is durable when Letter returns nil. ErrLetterRefused: it will never be taken.
	Letter   func(context.Context, NoticeLetter) error
	Hostname string // the reporting MTA
	// CaughtUp waits until the record holds every event that was committed when it was called. nil: it always does.
	CaughtUp func(context.Context) error
	// Content returns the content of a message while it is kept, else nil. nil: it never is.
	Content func(context.Context, mail.MessageID) ([]byte, error)
	// Keep puts a mail into the operator's mailbox; the same one twice is there once. It is durable when Keep returns nil. nil:
	// nothing is kept.
	Keep     func(context.Context, *store.StoredReport) error
	Alert    func(platform.Alert) // must not block; nil: nobody is told
	Window   time.Duration        // 0: NoticeWindow
	Progress *store.Progress      // is told how far it has come; nil: nobody asks
	Now      func() time.Time     // nil: time.Now
	Logger   *slog.Logger         // nil: silent
}

// Limits and times of notices.
const (
	// NoticeWindow is how long further failures of one message are waited for, to be told in one notice.
	NoticeWindow = time.Minute
	// noticeSettle is how long after the window an event of within it may still be on its way into the spool.
	noticeSettle = 2 * time.Second
	// NoticeDelay is how long a delivery must have waited for its sender to be told, where delays are told: a greylisted mail
	// is nobody's worry.
	NoticeDelay = 4 * time.Hour
	// NoticesPerHour is how many notices and forwarded replies an account gets in an hour of the clock; what is over is
	// counted, and told in one summary when the hour is over.
	NoticesPerHour = 60
	// maxNoticeRecipients bounds the recipients one notice lists.
	maxNoticeRecipients = 100
	// maxGrouped is the largest message, in recipients, whose notices are put together; failures of larger ones go into the
	// summary.
	maxGrouped = 2000
	// maxWholeNotice bounds a message that is returned whole (RET=FULL), in octets.
	maxWholeNotice = 1 << 20
)

// NoticeWriter is the writer of notices, in the place of a credential.
const NoticeWriter = "notice"

// LetterWriter is the writer of what the platform tells by itself: alerts, digests, that a webhook has stopped.
const LetterWriter = "notify"

// NoticeTag and an account's name are the tag of a notice: it goes out as the platform's own mail.
const NoticeTag = "account:"

// noticeFor is the account a notice was written for.
func noticeFor(notice *mail.Message) string {
	for _, tag := range notice.Tags {
		if account, ok := strings.CutPrefix(tag, NoticeTag); ok {
			return account
		}
	}
	return notice.Account
}

// The kinds of alerts.
const (
	alertNoticeBounced = "notice-bounced" // a notice could not be delivered: neither the message nor the word of it arrived
	alertLetterBounced = "letter-bounced" // an alert or a digest could not be delivered: somebody who wants to know does not hear
)

// noticeName is the Notifier's name as a follower of events, and the key of its counts.
const (
	noticeName    = "notices"
	noticeMetaKey = "notices/hour"
)

// noticeTypes are the events that may be told.
var noticeTypes = []mail.EventType{
	mail.EventBounced, mail.EventExpired, mail.EventSuppressed, mail.EventDeferred, mail.EventDelivered, mail.EventRelayed, mail.EventAutoReplied,
}

// Notifier tells submitters what became of their mail, as their account and NOTIFY (RFC 3461) ask for it: by delivery status
// notifications to the envelope sender they gave, which our own return path has replaced.
//
// It follows the recorded events and keeps no list of what is to be told: which events share a notice follows from the
// record, and each notice has a key made of its first event, so that a crash at any point tells nothing twice and leaves
// nothing out. Notices have the null sender, and nobody is told what became of mail from the null sender: there is no loop.
type Notifier struct {
	o NoticeOptions

	mu    sync.Mutex // one thing is told at a time: the follower's pages and the summaries
	hour  noticeHour
	dirty bool
	stats noticeCounters
	told  map[noticeGroup]uint64 // up to which event a message's written notices reach; as long as the follower is near
}

// noticeGroup is what shares a notice.
type noticeGroup struct {
	message mail.MessageID
	kind    report.Kind
}

// maxTold bounds Notifier.told. What is forgotten is found in the record again.
const maxTold = 10_000

// NewNotifier makes a Notifier; Run sets it to work.
func NewNotifier(o NoticeOptions) (*Notifier, error) {
	if o.Store == nil || o.Snapshot == nil || o.Letter == nil || o.Hostname == "" {
		return nil, errors.New("feedback: a Notifier needs Store, Snapshot, Letter and Hostname")
	}
	if o.CaughtUp == nil {
		o.CaughtUp = func(context.Context) error { return nil }
	}
	if o.Content == nil {
		o.Content = func(context.Context, mail.MessageID) ([]byte, error) { return nil, nil }
	}
	if o.Keep == nil {
		o.Keep = func(context.Context, *store.StoredReport) error { return nil }
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Window <= 0 {
		o.Window = NoticeWindow
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Notifier{o: o, told: map[noticeGroup]uint64{}}, nil
}

// Run tells what happens until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	if err := n.loadHour(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.summaries(ctx) })
	return store.Follow(ctx, n.o.Store, store.FollowOptions{
		Name: noticeName, Spool: n.o.Spool, Types: noticeTypes, FromTail: true, Progress: n.o.Progress, Logger: n.o.Logger,
	}, n.page)
}

// page tells what a page of events calls for.
func (n *Notifier) page(ctx context.Context, events []*mail.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.summarise(ctx); err != nil {
		return err
	}
	for _, e := range events {
		if err := n.event(ctx, e); err != nil {
			return err
		}
	}
	return n.saveHour(ctx)
}

// noticeKind is what an event is to a sender; "" for what is never told. What would need a query is left for later.
func noticeKind(e *mail.Event) report.Kind {
	switch e.Type {
	case mail.EventBounced, mail.EventExpired, mail.EventSuppressed:
		return report.Bounce
	case mail.EventDeferred:
		if e.At.Sub(e.Delivery.Time()) >= NoticeDelay {
			return report.Delay
		}
	case mail.EventDelivered, mail.EventRelayed:
		// A relay that took the demand over reports itself, to us or to the sender. What a recipient's own host reports
		// comes to our return path and says no more than that it took the mail: that is told at once.
		asked := e.Notify&mail.NotifySuccess != 0
		if e.Report != nil || asked && (e.Type == mail.EventDelivered || e.Attempt == nil || !e.Attempt.DSN) {
			return report.Delivered
		}
	case mail.EventAutoReplied:
		return report.AutoReply
	}
	return ""
}

func (n *Notifier) event(ctx context.Context, e *mail.Event) error {
	kind := noticeKind(e)
	// What came into the account's own mailbox has been told by the one who wrote it.
	if kind == "" || e.Report != nil && e.Report.Door == spool.InboxIMAP {
		return nil
	}
	msg, err := n.o.Store.Message(ctx, e.Message)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("feedback: notice of %s: %w", e.ID, err)
	}
	if msg.From.IsZero() {
		switch {
		case kind != report.Bounce:
		case msg.Credential == NoticeWriter:
			return n.bounced(ctx, msg, e)
		case msg.Credential == LetterWriter:
			n.letterBounced(msg, e)
		}
		return nil
	}
	snap := n.o.Snapshot()
	account := snap.Account(msg.Account)
	if account == nil || tenant.EnvelopeSender(snap, account, msg.From) != nil {
		return nil
	}
	if kind == report.AutoReply {
		return n.forward(ctx, account, msg, e)
	}
	if !mayTell(account, msg, kind) && e.Notify == 0 && e.Report == nil {
		return nil // the most mail, without a further query
	}
	return n.tell(ctx, account, msg, e, kind)
}

// tell writes the notice an event begins, if it begins one.
func (n *Notifier) tell(ctx context.Context, account *platform.Account, msg *mail.Message, e *mail.Event, kind report.Kind) error {
	group, err := n.group(ctx, msg, e, kind)
	if err != nil || len(group) == 0 {
		return err
	}
	if err := n.write(ctx, account, msg, e, kind, group); err != nil {
		return err
	}
	n.reaches(msg, kind, group)
	return nil
}

// write writes the notice of a group, whose first event is e, if anybody is to be told.
func (n *Notifier) write(ctx context.Context, account *platform.Account, msg *mail.Message, e *mail.Event, kind report.Kind, group []*mail.Event) error {
	var list []told
	for _, x := range group {
		t, ok, err := n.recipient(ctx, account, msg, x, kind)
		if err != nil {
			return err
		}
		if ok {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return nil
	}
	if msg.Recipients > maxGrouped || !n.mayWrite(account.Name) {
		n.countOver(account.Name, msg.From, kind, e, len(list))
		n.stats.over.Add(uint64(len(list)))
		return nil
	}
	content, err := n.compose(ctx, msg, list, kind, "notice-"+e.ID.String())
	if err != nil {
		return err
	}
	return n.letter(ctx, account, msg, content, kind, e)
}

// letter writes a notice to the sender of a message. It counts among those of the hour once it is written: a page that fails is
// seen again.
func (n *Notifier) letter(ctx context.Context, account *platform.Account, msg *mail.Message, content []byte, kind report.Kind, first *mail.Event) error {
	to, key := msg.From, string(kind)+"/"+first.ID.String()
	err := n.o.Letter(ctx, NoticeLetter{Account: msg.Account, Writer: NoticeWriter, To: to, Content: content, Key: key})
	if errors.Is(err, ErrLetterRefused) {
		n.stats.refused.Add(1)
		n.o.Logger.Error("submitter not told", mail.LogEvent, "notice_refused", mail.LogTenant, msg.Account, mail.LogMsg, msg.ID, "key", key, mail.LogErr, err)
		return nil // the others must not wait for it
	}
	if err != nil {
		return fmt.Errorf("feedback: notice to %s: %w", to, err)
	}
	n.countWritten(account.Name, first)
	n.stats.written(kind)
	n.o.Logger.Info("submitter told", mail.LogEvent, "notice", mail.LogTenant, msg.Account, mail.LogMsg, msg.ID, "key", key)
	return nil
}

// told is what a notice says of one recipient.
type told struct {
	event *mail.Event
	orcpt string
}

// mayTell reports whether the account's setting, or its default for the credential the message came in with, tells events
// of that kind where the submitter did not say (NOTIFY).
func mayTell(a *platform.Account, msg *mail.Message, kind report.Kind) bool {
	setting := a.BounceNotice
	if setting == "" {
		setting = platform.NoticesOff
		i := slices.IndexFunc(a.Credentials, func(c platform.Credential) bool { return c.Name == msg.Credential })
		// A person with a mail program, or a device: nobody who reads events.
		if i >= 0 && a.Credentials[i].Kind != platform.CredentialAPI {
			setting = platform.NoticesFailures
		}
	}
	switch kind {
	case report.Bounce:
		return setting != platform.NoticesOff
	case report.Delay:
		return setting == platform.NoticesDelays
	}
	return false
}

// recipient decides whether an event is told, and gathers what is told.
func (n *Notifier) recipient(ctx context.Context, account *platform.Account, msg *mail.Message, e *mail.Event, kind report.Kind) (told, bool, error) {
	t := told{event: e}
	if e.Notify == 0 && e.Report == nil && !mayTell(account, msg, kind) {
		return t, false, nil
	}
	timeline, err := n.o.Store.Timeline(ctx, e.Delivery)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return t, false, fmt.Errorf("feedback: notice of %s: %w", e.ID, err)
	}
	notify := e.Notify
	for _, x := range timeline {
		if x.Type == mail.EventAccepted {
			notify, t.orcpt = x.Notify, x.ORcpt
		}
	}
	if notify == 0 {
		return t, mayTell(account, msg, kind), nil
	}
	switch kind {
	case report.Bounce:
		return t, notify&mail.NotifyFailure != 0, nil
	case report.Delay:
		return t, notify&mail.NotifyDelay != 0, nil
	}
	return t, notify&mail.NotifySuccess != 0, nil
}
