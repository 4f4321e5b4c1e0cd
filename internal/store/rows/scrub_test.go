package rows

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

func TestScrub(t *testing.T) {
	s := NewScrubber("ann.b@example.net", "erased-1@erased.invalid")
	for in, want := range map[string]string{
		"":                                     "",
		"250 ok":                               "250 ok",
		"550 <Ann.B@EXAMPLE.net>: unknown":     "550 <erased-1@erased.invalid>: unknown",
		"550 no mailbox ann.b here":            "550 no mailbox erased-1 here",
		"550 ann.b":                            "550 erased-1",
		"550 annxb, joann.b, ann.bcd, ann.b@x": "550 annxb, joann.b, ann.bcd, ann.b@x",
		"550 ann.b@example.net ann.b: no":      "550 erased-1@erased.invalid erased-1: no",
		"550 'ann.b'.":                         "550 'erased-1'.",
		"550 ann.b ann.b, ann.b.":              "550 erased-1 erased-1, erased-1.",
		"550 host ann.b.example.org":           "550 host ann.b.example.org",
	} {
		if got := s.Reply(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := NewScrubber("ab@example.net", "m@erased.invalid").Reply("ab is ab@example.net"); got != "ab is m@erased.invalid" {
		t.Errorf("a short local part: %q", got)
	}
}

// Who is named by a longer address is somebody else, and stays.
func TestScrubOthers(t *testing.T) {
	s := NewScrubber("ann@example.net", "M@erased.invalid")
	for in, want := range map[string]string{
		"joann@example.net jo.ann@example.net jo+ann@example.net jo-ann@example.net jo_ann@example.net": "",
		"ann@example.network, ann@example.net.example, ann@example.net-work.example, ann@example.netz":  "",
		"ann+news@example.net": "",
		"écann@example.net":    "",
		"(ann@example.net), to=ann@example.net. <ann@example.net>\n-ann@example.net": "(M@erased.invalid), to=M@erased.invalid. <M@erased.invalid>\n-M@erased.invalid",
		"prvs=0123456789=ann@example.net":                                            "prvs=0123456789=M@erased.invalid",
	} {
		if want == "" {
			want = in
		}
		if got := s.Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := s.Holds(in); got != (want != in) {
			t.Errorf("%q: held %v", in, got)
		}
	}
}

// One mailbox is found in all its spellings, and so are the texts a query picks out by the needle.
func TestScrubSpellings(t *testing.T) {
	for address, texts := range map[string][]string{
		"ünal.k@bücher.example": {
			"ÜNAL.K@xn--bcher-kva.example", "u\u0308nal.k@BÜCHER.example", "U\u0308NAL.k@xn--bcher-kva.example", "<ünal.k@bücher.example>",
		},
		"U\u0308nal@example.net":         {"ünal@example.net", "ÜNAL@EXAMPLE.NET"},
		"r&d@example.net":                {"R&D@example.net"},
		`"john \"x\" smith"@example.net`: {`"John \"x\" Smith"@example.net`},
		"用户@example.net":                 {"用户@example.net"},
	} {
		s := NewScrubber(address, "M@erased.invalid")
		for _, text := range texts {
			doc, err := json.Marshal(map[string]any{"a": []string{"\n" + text + "\n"}, "n": 1.50, "": text})
			if err != nil {
				t.Fatal(err)
			}
			lower := strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, string(doc))
			if !strings.Contains(lower, s.Needle()) {
				t.Errorf("%s: a query for %q does not find %s", address, s.Needle(), doc)
			}
			if !s.Holds(string(doc)) || !s.Holds(text) {
				t.Errorf("%s is not seen in %s", address, doc)
			}
			got := s.Document(string(doc))
			var back map[string]any
			if err := json.Unmarshal([]byte(got), &back); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if !strings.Contains(back["a"].([]any)[0].(string), "M@erased.invalid") || s.Holds(got) {
				t.Errorf("%s in %s: %s", address, doc, got)
			}
		}
	}
	if s := NewScrubber("ann@example.net", "m@erased.invalid"); s.Needle() != "ann@example.net" {
		t.Errorf("the needle of a plain address is %q", s.Needle())
	}
}

func FuzzScrubDocument(f *testing.F) {
	f.Add(`{"a":"x\nann@example.net","b":[1,"\u003cann@example.net\u003e\\"]}`, "ann@example.net")
	f.Add("no json: ann@example.net", "ann@example.net")
	f.Add(`"\ud800ünal@example.net"`, "ÜNAL@example.net")
	f.Fuzz(func(t *testing.T, doc, address string) {
		s := NewScrubber(address, "erased-0@erased.invalid")
		got := s.Document(doc)
		if json.Valid([]byte(doc)) && !json.Valid([]byte(got)) {
			t.Fatalf("%q became %q", doc, got)
		}
		if !s.Holds(doc) && got != doc {
			t.Fatalf("%q does not hold %q and became %q", doc, address, got)
		}
	})
}

// A line of an event file loses the address, and what was said to it alone; lines about others do not change.
func TestScrubLine(t *testing.T) {
	s := NewScrubber("Ünal@example.net", "M@erased.invalid")
	line := func(recipient string, recipients int) []byte {
		e := &mail.Event{
			ID: mail.EventID{Spool: 1, Seq: 7}, Type: mail.EventAccepted, Account: "acme", Recipient: recipient, ORcpt: recipient,
			Attempt:  &mail.Attempt{Reply: "550 <" + recipient + "> & ünal unknown", Transcript: "C: RCPT TO:<" + recipient + ">"},
			Envelope: &mail.Message{Account: "acme", Subject: "For ünal@example.net", Metadata: map[string]string{"name": "Ünal"}, Recipients: recipients},
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return append(b, '\n')
	}
	for name, c := range map[string]struct {
		line    []byte
		account string
		same    bool
		left    string // of these words, "," between
	}{
		"alone":              {line("ÜNAL@example.net", 1), "", false, ""},
		"with others":        {line("ünal@example.net", 2), "acme", false, "Ünal"},
		"another":            {line("bob@example.net", 2), "", false, "bob@example.net,Ünal"},
		"of another account": {line("ünal@example.net", 1), "beta", true, "ünal@example.net"},
		"no event":           {[]byte("ünal@example.net\n"), "", false, ""},
	} {
		got := string(s.Line(c.line, c.account))
		if (got == string(c.line)) != c.same || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: %s", name, got)
		}
		if !c.same && s.Holds(strings.TrimSuffix(got, "\n")) {
			t.Errorf("%s still names it: %s", name, got)
		}
		for _, word := range []string{"Ünal", "bob@example.net"} {
			if strings.Contains(got, word) && !strings.Contains(c.left, word) && !c.same {
				t.Errorf("%s: %q is left in %s", name, word, got)
			}
		}
		if again := string(s.Line([]byte(got), c.account)); again != got {
			t.Errorf("%s: a second time %s", name, again)
		}
	}
}
