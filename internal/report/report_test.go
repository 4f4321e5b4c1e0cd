package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is one mail of a testdata file and what is expected of it.
type sample struct {
	name string
	want map[string][]string
	raw  []byte
}

// samples reads a testdata file: "=== name", expectations, "---", the mail.
func samples(t testing.TB, file string) (all []sample) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split("\n"+string(data), "\n=== ")
	for _, block := range blocks[1:] {
		head, raw, ok := strings.Cut(block, "\n---\n")
		if !ok {
			t.Fatalf("%s: no --- in %.40q", file, block)
		}
		lines := strings.Split(head, "\n")
		s := sample{name: lines[0], want: map[string][]string{}, raw: []byte(strings.TrimSuffix(raw, "\n"))}
		for _, line := range lines[1:] {
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %s: expectation %q", file, s.name, line)
			}
			s.want[key] = append(s.want[key], value)
		}
		all = append(all, s)
	}
	return all
}

func TestParse(t *testing.T) {
	for _, file := range []string{"bounces.txt", "dialects.txt", "autoreplies.txt", "challenges.txt", "complaints.txt"} {
		for _, s := range samples(t, file) {
			t.Run(strings.TrimSuffix(file, ".txt")+"/"+s.name, func(t *testing.T) {
				for _, raw := range [][]byte{s.raw, []byte(strings.ReplaceAll(string(s.raw), "\n", "\r\n")), []byte(strings.ReplaceAll(string(s.raw), "\n", "\r"))} {
					check(t, s, Parse(raw, Limits{}))
				}
			})
		}
	}
}

func check(t *testing.T, s sample, r *Report) {
	t.Helper()
	got := map[string][]string{"kind": {string(r.Kind)}}
	for _, rc := range r.Recipients {
		line := rc.Address
		if rc.Action != "" {
			line += " " + string(rc.Action)
		}
		if !rc.Status.IsZero() || rc.Code != 0 {
			e := rc.Status.String()
			if e == "" {
				e = "0.0.0"
			}
			line += " " + e
		}
		if rc.Code != 0 {
			line += fmt.Sprint(" ", rc.Code)
		}
		got["recipient"] = append(got["recipient"], line)
		if s.want["diagnostic"] != nil {
			got["diagnostic"] = append(got["diagnostic"], rc.Diagnostic)
		}
		if s.want["stage"] != nil {
			got["stage"] = append(got["stage"], string(rc.Stage))
		}
	}
	delete(s.want, "class") // for the test of bounce
	if s.want["original"] != nil {
		got["original"] = []string{r.Original.MessageID}
	}
	if s.want["mta"] != nil {
		got["mta"] = []string{r.ReportingMTA}
	}
	if s.want["token"] != nil {
		got["token"] = []string{r.Original.Get("X-Postroad-Token")}
	}
	if r.Feedback != nil {
		for key, value := range map[string]string{"type": r.Feedback.Type, "ip": r.Feedback.SourceIP, "feedback-id": r.Feedback.FeedbackID} {
			if s.want[key] != nil {
				got[key] = []string{value}
			}
		}
	}
	if diff := cmp.Diff(s.want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\nreason: %s, text: %.300q", diff, r.Reason, r.Text)
	}
}
