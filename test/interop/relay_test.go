//go:build interop

package interop

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/test/rig"
)

// relaying sends through Postfix with Dovecot's SASL, as a customer's mail goes through its organisation's gateway.
func (w *world) relaying(t *testing.T) {
	for _, route := range []string{"plain", "login", "cram", "wrapped"} {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			rcpt := "user@" + route + ".via.test"
			d := w.expect(t, w.submit(t, message{subject: "relayed by " + route}, rcpt), rcpt, "relayed", "", w.sink)
			if d.Route != route {
				t.Errorf("it went by route %q", d.Route)
			}
			// Through a gateway the customer's own envelope sender goes out.
			if from := w.sink.Of(rcpt)[0].From; from != sender {
				t.Errorf("the envelope sender is %q, want %q", from, sender)
			}
		})
	}
	for route, why := range map[string]string{
		"noauth": "a relay that does not offer AUTH", "notls": "a relay that does not offer STARTTLS",
		"othername": "a relay whose certificate is another's",
	} {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			rcpt := "user@" + route + ".via.test"
			id := w.submit(t, message{subject: "must wait at " + route}, rcpt)
			d := w.wait(t, id, troubled)[rcpt]
			if d.State.Final() {
				t.Errorf("%s: it ended as %s (%s)", why, d.State, d.Reply)
			}
			if strings.Contains(w.story(t, d.ID), "C: AUTH") && route == "notls" {
				t.Errorf("a password was sent in clear:\n%s", w.story(t, d.ID))
			}
			if n := len(w.sink.Of(rcpt)); n != 0 {
				t.Errorf("%s: %d copies went out all the same", why, n)
			}
			w.cancel(t, id)
		})
	}
	// Not in parallel, so before the others: it changes the routes.
	t.Run("wrong password", w.wrongPassword)
}

// troubled reports that a delivery waits, and that there is a reason.
func troubled(d *rig.Delivery) bool {
	return d.State.Final() || d.Reply != "" || strings.Contains(d.Why, "rest") || strings.Contains(d.Why, "since")
}

// wrongPassword: a relay refuses our password. The mail is kept, the operator is told, other mail goes on; with the
// right password it goes out.
func (w *world) wrongPassword(t *testing.T) {
	w.apply(t, w.routes("not the password"))
	rcpts := []string{"one@wrong.via.test", "two@wrong.via.test", "three@wrong.via.test"}
	var ids []mail.MessageID
	for _, rcpt := range rcpts {
		ids = append(ids, w.submit(t, message{subject: "refused login of " + rcpt[:3]}, rcpt))
	}
	var alert *platform.Alert
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := rig.Poll(ctx, 100*time.Millisecond, func() bool {
		var list struct {
			Items []platform.Alert `json:"items"`
		}
		if err := w.Client().Do(t.Context(), http.MethodGet, "/v1/alerts", nil, nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Items {
			if strings.Contains(a.Scope, "wrong") && a.Cleared.IsZero() {
				alert = &a
			}
		}
		return alert != nil
	})
	if err != nil {
		t.Fatalf("no alert about the route: %v", err)
	}
	t.Logf("alert %s %s: %s", alert.Kind, alert.Scope, alert.Message)
	for i, id := range ids {
		d := w.wait(t, id, func(*rig.Delivery) bool { return true })[rcpts[i]]
		if d.State.Final() {
			t.Errorf("%s ended as %s (%s): a wrong relay password must not end anything", rcpts[i], d.State, d.Reply)
		}
	}
	// The route that works goes on meanwhile.
	w.expect(t, w.submit(t, message{subject: "meanwhile"}, "meanwhile@plain.via.test"), "meanwhile@plain.via.test", "relayed", "", w.sink)

	w.apply(t, w.routes(relayPass))
	for i, id := range ids {
		t.Run("then "+rcpts[i], func(t *testing.T) {
			t.Parallel()
			w.expect(t, id, rcpts[i], "relayed", "", w.sink)
		})
	}
}

// cancel takes a message out of the queue.
func (w *world) cancel(t *testing.T, id mail.MessageID) {
	t.Helper()
	in := map[string]any{"filter": map[string]string{"message": id.String()}, "reason": "end of the test"}
	if err := w.Client().Do(t.Context(), http.MethodPost, "/v1/queues/cancel", nil, in, nil); err != nil {
		t.Error(err)
	}
}
