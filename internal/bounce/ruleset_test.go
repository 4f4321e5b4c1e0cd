package bounce

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestSamples proves every built-in rule: CI fails on a rule no sample reaches, or that others shadow.
func TestSamples(t *testing.T) {
	for _, err := range Default().Check() {
		t.Error(err)
	}
}

// TestPatternsReachTheirClass: every alternative of every piece of every rule's any, written out as a reply, comes to
// the rule's class. It finds words that a rule of higher priority takes away.
func TestPatternsReachTheirClass(t *testing.T) {
	r := Default()
	for _, rule := range r.rules {
		sample, err := ParseSample(rule.Hits[0])
		if err != nil {
			t.Fatal(err)
		}
		lost, all := 0, 0
		for _, n := range rule.any {
			p := &r.patterns[n]
			for i, piece := range p.pieces {
				for _, alternative := range piece {
					words := make([]string, len(p.pieces))
					for j := range words {
						words[j] = r.auto.literals[p.pieces[j][0]].text
					}
					words[i] = r.auto.literals[alternative].text
					in := sample
					in.Text = strings.Join(words, " ")
					switch {
					case rule.regexp != nil: // which may ask for the start of the text
						in.Text = sample.Text + " " + in.Text
					case len(rule.with) > 0 || rule.mentions != "":
						in.Text += " " + sample.Text
					}
					all++
					if v := r.Reply(in); v.Class != rule.Class {
						lost++
						t.Logf("%s: %q comes to %s by %s", rule.ID, in.Text, v.Class, v.Rule)
					}
				}
			}
		}
		// Words written side by side by a program sometimes make a sentence of another class; most must not.
		if lost*20 > all && lost > 1 {
			t.Errorf("%s: %d of %d of its words come to another class", rule.ID, lost, all)
		}
	}
}

func TestLoadOverrides(t *testing.T) {
	const own = `
priority = 950
[[rule]]
id = "own-gateway"
provenance = "our gateway's manual"
class = "mailbox-full"
any = ["bin overflowed"]
scope = "recipient"
result = "deferred"
retry_after = "2h"
hits = ["550 the bin overflowed"]
misses = ["550 the bin is here"]

[[rule]]
id = "spam"
disabled = true

[[rule]]
id = "domain-nullmx-code"
provenance = "we know better"
priority = 515
class = "network"
codes = ["556"]
hits = ["556 No"]
misses = ["554 No"]
`
	r, err := Load(fstest.MapFS{"own.toml": {Data: []byte(own)}})
	if err != nil {
		t.Fatal(err)
	}
	for sample, want := range map[string]string{
		"550 the bin overflowed": "own-gateway", "554 this is spam": "", "556 No": "domain-nullmx-code", "550 5.1.1 x": "recipient-unknown-enhanced",
	} {
		in, _ := ParseSample(sample)
		if v := r.Reply(in); v.Rule != want {
			t.Errorf("%s: decided by %q, want %q", sample, v.Rule, want)
		}
	}
	in, _ := ParseSample("550 the bin overflowed")
	if v := r.Reply(in); v.Result != "deferred" || v.RetryAfter.Hours() != 2 || v.Action != "retry" {
		t.Errorf("%+v", v)
	}
	in, _ = ParseSample("554 this is spam")
	if v := Default().Reply(in); v.Rule != "spam" {
		t.Errorf("the built-in set has changed: %+v", v)
	}
}

func TestLoadRefuses(t *testing.T) {
	const head = "[[rule]]\nid = \"r\"\nprovenance = \"p\"\npriority = 950\nclass = \"other\"\n"
	const samples = "hits = [\"550 zebra\"]\nmisses = [\"550 horse\"]\n"
	for name, c := range map[string]struct{ text, want string }{
		"no literal and no code": {head + samples, "needs a literal"},
		"regexp alone":           {head + "codes=[\"5xx\"]\nregexp = \"z.*\"\n" + samples, "only after a literal"},
		"no samples":             {head + "any = [\"zebra\"]\n", "at least one sample"},
		"sample not reached":     {head + "any = [\"giraffe\"]\n" + samples, "is decided by"},
		"sample taken wrongly":   {head + "codes = [\"5xx\"]\n" + samples, "must not"},
		"unknown key":            {head + "anny = [\"zebra\"]\n" + samples, "unknown key"},
		"unknown class":          {strings.Replace(head, "other", "otter", 1) + "any = [\"zebra\"]\n" + samples, "unknown class"},
		"unknown stage":          {head + "any = [\"zebra\"]\nstage = [\"rcp\"]\n" + samples, "unknown stage"},
		"bad code":               {head + "any = [\"zebra\"]\ncodes = [\"9xx\"]\n" + samples, "neither"},
		"bad enhanced code":      {head + "any = [\"zebra\"]\nenhanced = [\"5.1\"]\n" + samples, "not of the form"},
		"bad result":             {head + "any = [\"zebra\"]\nresult = \"delivered\"\n" + samples, "not deferred or bounced"},
		"bad scope":              {head + "any = [\"zebra\"]\nscope = \"world\"\n" + samples, "unknown scope"},
		"empty literal":          {head + "any = [\"!!\"]\n" + samples, "nothing to look for"},
		"one letter":             {head + "any = [\"z\"]\n" + samples, "one letter"},
		"open brace":             {head + "any = [\"{zebra\"]\n" + samples, "without its }"},
		"nested braces":          {head + "any = [\"{a,{b} c\"]\n" + samples, "nest"},
		"no provenance":          {strings.Replace(head, "provenance = \"p\"\n", "", 1) + "any = [\"zebra\"]\n" + samples, "no provenance"},
		"twice the same id":      {head + "any = [\"zebra\"]\n" + samples + head + "any = [\"zebra\"]\n" + samples, "already"},
		"disables nothing":       {"[[rule]]\nid = \"nothing\"\ndisabled = true\n", "none of that id"},
		"too long a wait":        {head + "any = [\"zebra\"]\nretry_after = \"1000h\"\n" + samples, "no duration"},
	} {
		if _, err := Load(fstest.MapFS{"own.toml": {Data: []byte(c.text)}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	x := Default().Explain(Input{Stage: "mail", Code: 550, Text: "user unknown, or some spam"})
	if x.Verdict != Default().Reply(Input{Stage: "mail", Code: 550, Text: "user unknown, or some spam"}) {
		t.Error("Explain and Reply differ")
	}
	if len(x.Matched) < 2 || x.Matched[0].Rule.ID != "recipient-unknown" || len(x.Matched[0].Patterns) == 0 || len(x.Rows) == 0 || x.Rows[0] != rowNoRecipientYet {
		t.Errorf("%+v", x)
	}
}

func FuzzReply(f *testing.F) {
	for _, rule := range Default().Rules() {
		f.Add(550, "", rule.Hits[0])
	}
	f.Add(450, "rcpt", "\x1b$B\xff\xfe@@..://::[[<a@b> [::1] \xe3\x81")
	r := Default()
	f.Fuzz(func(t *testing.T, code int, stage, text string) {
		in := Input{Code: code, Stage: mailStage(stage), Text: text}
		v := r.Reply(in)
		if v != r.Reply(in) {
			t.Error("two verdicts for one input")
		}
		if v.Class == "" || v.Scope == "" || v.Action == "" || v.Result == "" {
			t.Errorf("a verdict with holes: %+v", v)
		}
		if v.Action == "suppress" && v.Class != "invalid-recipient" {
			t.Errorf("suppresses for %s", v.Class)
		}
		if code/100 == 4 && v.Result == "bounced" && ruleResult(r, v.Rule) != "bounced" {
			t.Errorf("a 4xx made final without a rule that says so: %+v", v)
		}
		if v.RetryAfter < 0 || v.RetryAfter > maxRetryAfter {
			t.Errorf("waits %s", v.RetryAfter)
		}
	})
}

// TestTime: a text made to hurt is read in time that grows no faster than its length.
func TestTime(t *testing.T) {
	r := Default()
	for _, unit := range []string{"mail ", "user unknown ", "not ", "the sender domain does not exist ", "a.b@", "::", "5.1.1 ", "{", "ё", "\xff", "1.2.3.4 ", "x.y-"} {
		read := func(size int) time.Duration {
			text := strings.Repeat(unit, size/len(unit))
			start := time.Now()
			r.Reply(Input{Code: 550, Text: text})
			return time.Since(start)
		}
		took := read(maxText)
		if took < 2*time.Second {
			continue // it takes a few milliseconds; a square of the length would take minutes
		}
		// A slow machine, or one that stood still? The square would take sixteen times as long for four times the length.
		took = min(took, read(maxText))
		if part := min(read(maxText/4), read(maxText/4)); took > 8*part {
			t.Errorf("%q: %s, a quarter of it %s", unit, took, part)
		}
	}
}
