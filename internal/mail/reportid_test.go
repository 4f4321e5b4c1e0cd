package mail

import (
	"testing"
	"time"
)

func TestContentReportID(t *testing.T) {
	at := time.Date(2026, 3, 2, 10, 0, 0, 5e6, time.UTC)
	id := ContentReportID(at, "acme", []byte("a report"))
	if !id.Time().Equal(at) {
		t.Errorf("its time is %v", id.Time())
	}
	if again := ContentReportID(at, "acme", []byte("a report")); again != id {
		t.Error("the same report has two ids")
	}
	for name, other := range map[string]ReportID{
		"content": ContentReportID(at, "acme", []byte("another")),
		"scope":   ContentReportID(at, "beta", []byte("a report")),
		"border":  ContentReportID(at, "acme\x00a", []byte(" report")),
		"time":    ContentReportID(at.Add(time.Millisecond), "acme", []byte("a report")),
	} {
		if other == id {
			t.Errorf("another %s gives the same id", name)
		}
	}
	if parsed, err := ParseReportID(id.String()); err != nil || parsed != id {
		t.Errorf("%s is read as %v, %v", id, parsed, err)
	}
	if early := ContentReportID(time.Time{}, "", nil); early.Time().UnixMilli() != 0 {
		t.Errorf("no time gives %v", early.Time())
	}
}
