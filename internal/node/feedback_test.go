package node

import (
	"strings"
	"testing"
)

// TestLateBounceInTimeline: a report on a delivery that was delivered shows in its timeline, also where it names a recipient we do
// not know: the return path it comes to says whose it is.
func TestLateBounceInTimeline(t *testing.T) {
	n := start(t, testConfig(t, testInternet(t)), testAccounts+testRoute)
	d := n.delivered("someone@mailbox.test")
	report := n.comesBack(d, lateReport("5.2.2", "552 5.2.2 mailbox full"), "someone@inside.example")
	b := n.await("/v1/deliveries/"+d.String()+"/events", func(b []byte) bool { return strings.Contains(string(b), `"bounced"`) })
	for _, want := range []string{`"late":true`, `"mailbox-full"`, report.String(), `"token"`, "552 5.2.2 mailbox full"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the events do not say %s:\n%s", want, b)
		}
	}
}
