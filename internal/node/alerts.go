package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// maxPendingAlerts bounds the alerts that wait for the store.
const maxPendingAlerts = 1000

// alerts brings alerts into the store without making those who raise them wait.
type alerts struct {
	store   store.Alerts
	log     *slog.Logger
	pending chan platform.Alert
}

func newAlerts(s store.Alerts, log *slog.Logger) *alerts {
	return &alerts{store: s, log: log, pending: make(chan platform.Alert, maxPendingAlerts)}
}

// Tell raises an alert, or clears it where Cleared is set. It never blocks; what the store cannot take is logged.
func (a *alerts) Tell(x platform.Alert) {
	if x.Last.IsZero() {
		x.Last = time.Now().UTC()
	}
	select {
	case a.pending <- x:
	default:
		a.log.Error("alert not stored: too many are waiting", mail.LogEvent, "alert_dropped", "kind", x.Kind, "scope", x.Scope, "message", x.Message)
	}
}

// run stores alerts until ctx ends, then those that wait.
func (a *alerts) run(ctx context.Context) {
	for {
		select {
		case x := <-a.pending:
			a.put(ctx, x)
		case <-ctx.Done():
			for {
				select {
				case x := <-a.pending:
					a.put(context.WithoutCancel(ctx), x)
				default:
					return
				}
			}
		}
	}
}

func (a *alerts) put(ctx context.Context, x platform.Alert) {
	if !x.Cleared.IsZero() {
		cleared, err := a.store.ClearAlert(ctx, x.Kind, x.Scope, x.Cleared)
		if err != nil {
			a.log.Error("alert not cleared", mail.LogEvent, "alert_failed", mail.LogErr, err)
		} else if cleared {
			a.log.Info("alert cleared", mail.LogEvent, "alert_cleared", "kind", x.Kind, "scope", x.Scope)
		}
		return
	}
	_, fresh, err := a.store.RaiseAlert(ctx, x.Kind, x.Scope, x.Message, x.Last)
	if err != nil {
		a.log.Error("alert not stored", mail.LogEvent, "alert_failed", "kind", x.Kind, "scope", x.Scope, "message", x.Message, mail.LogErr, err)
	} else if fresh {
		a.log.Warn(x.Message, mail.LogEvent, "alert_raised", "kind", x.Kind, "scope", x.Scope)
	}
}
