package node

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEraseLeavesNothing: after an erasure the address is in no file of record, archive, logs and event files, whatever
// wrote it there.
func TestEraseLeavesNothing(t *testing.T) {
	const person = "unknown@mailbox.test"
	c := testConfig(t, testInternet(t))
	c.Events.Files = true
	r := start(t, c, strings.Replace(testAccounts, `name = "shop"`, "name = \"shop\"\narchive = {days = 9}\nbounce_notice = \"failures\"", 1)+testRoute)
	id := r.send(person)
	r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"bounced"`) })
	r.await("/v1/suppressions?account=shop", func(b []byte) bool { return strings.Contains(string(b), person) })
	r.await("/v1/archive/messages?account=shop", func(b []byte) bool { return strings.Contains(string(b), id) })
	if status, b := r.request(testKey, http.MethodPost, "/v1/messages", message(person)); status != http.StatusAccepted {
		t.Fatalf("%d, %s", status, b)
	}
	status, b := r.request(testAdmin, http.MethodPost, "/v1/erasures", `{"recipient":"UNKNOWN@mailbox.test"}`)
	if status != http.StatusAccepted {
		t.Fatalf("%d, %s", status, b)
	}
	b = r.await("/v1/erasures", func(b []byte) bool { return strings.Contains(string(b), `"state":"done"`) })
	if !strings.Contains(string(b), `"lines":`) || strings.Contains(string(b), `"lines":0`) {
		t.Errorf("no event file named the address: %s", b)
	}
	// The suppression stands.
	if _, b := r.request(testAdmin, http.MethodGet, "/v1/suppressions/"+person+"?account=shop", ""); !strings.Contains(string(b), `"transactional":true`) {
		t.Errorf("she is mailed again: %s", b)
	}
	r.stop()
	err := filepath.WalkDir(c.Data, func(path string, e fs.DirEntry, err error) error {
		// What the spool wrote of settled mail is gone for its readers, and overwritten in its own time.
		if err != nil || e.IsDir() || strings.HasPrefix(path, filepath.Join(c.Data, SpoolDir)) {
			return err
		}
		b, err := os.ReadFile(path)
		if at := regexp.MustCompile(`(?i)` + regexp.QuoteMeta(person)).FindIndex(b); at != nil {
			t.Errorf("%s, at %d: %q", path, at[0], b[max(0, at[0]-300):min(len(b), at[1]+100)])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
