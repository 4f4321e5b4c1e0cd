package node

import (
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

// TestKeptContent: a notice can return the message it is about (RET=FULL) after its last delivery has ended, where it is
// archived; without an archive it goes without.
func TestKeptContent(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		state := testAccounts + testRoute
		if keeps {
			state = strings.Replace(state, `name = "shop"`, "name = \"shop\"\narchive = {days = 9}", 1)
		}
		n := start(t, testConfig(t, testInternet(t)), state)
		text := n.send("unknown@mailbox.test")
		n.await("/v1/messages/"+text, func(b []byte) bool { return strings.Contains(string(b), `"bounced"`) })
		if keeps {
			n.await("/v1/archive/messages?account=shop", func(b []byte) bool { return strings.Contains(string(b), text) })
		}
		n.await("/v1/queues", func([]byte) bool { return n.spool.Counts().Messages == 0 }) // it has left the spool
		id, err := mail.ParseMessageID(text)
		if err != nil {
			t.Fatal(err)
		}
		content, err := n.keptContent(t.Context(), id)
		if err != nil || keeps != strings.Contains(string(content), "It works.") || !keeps && content != nil {
			t.Errorf("archived %v: %q, %v", keeps, content, err)
		}
		n.stop()
	}
}
