package bounce

import "testing"

func TestNormalise(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"User <a.b+c@example.com> UNKNOWN!", " user unknown "},
		{"user@example.com...No such user", " no such user "},
		{"It doesn't, can not and won't", " it does not cannot and will not "},
		{"E-Mail box; mail-box", " email box mailbox "},
		{"host mx1.spam.example.com[192.0.2.1] said: no", " host mx1.spam.example.com said no "},
		{"exist.The next", " exist the next "},
		{"boîte pleine, Größe, żółć", " boite pleine grosse zolc "},
		{"n'existe pas", " n existe pas "},
		{"see https://www.example.net/help?id=0123456789abcdef&x=NoSuchUser", " see www.example.net help id x nosuchuser "},
		{"[2001:db8::1] refused", " refused "},
		{"(#5.1.1) IB105 abcdef0123456789", " ib105 "},
		{"ＦＵＬＬ　ＷＩＤＴＨ", " full width "},
		{"Ещё раз", " еще раз "},
		{"bo\xeete pleine", " boite pleine "},
		{"", " "},
	} {
		var n normalised
		n.normalise(c.in)
		if got := string(n.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	var n normalised
	n.normalise("from 192.0.2.1 to <a@b.example> (#5.7.1)")
	if !n.ip || !n.address || n.enhanced.String() != "5.7.1" {
		t.Errorf("%+v", n)
	}
}

// TestPatternLanguage holds what docs/bounces.md says of it.
func TestPatternLanguage(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"mailbox full", "the mailbox: FULL", true},
		{"mailbox full", "the mailbox is full", false},
		{"mailbox .. full", "the mailbox is full", true},
		{"mailbox .. full", "the mailbox of somebody with a long name is full", false},
		{"mailbox ... full", "the mailbox of somebody with a long name is full", true},
		{"full ... mailbox", "the mailbox is full", false},
		{"{inbox,mailbox} {full,over quota}", "inbox over quota", true},
		{"{inbox,mailbox} {full,over quota}", "inbox is over quota", false},
		{"block*", "it was blocked", true},
		{"block*", "unblocked", false},
		{"*spamhaus*", "zen.spamhaus.org", true},
		{"spam", "spam.example.com", false},
		{"^blocked$", "Blocked.", true},
		{"^blocked$", "you are blocked", false},
		{"满", "邮箱已满了", true},
		{"ящик полон", "почтовый ящик полон", true},
		{"ящик", "ящики", false},
	} {
		r := &Ruleset{index: map[string]int32{}}
		if _, err := r.addPattern(c.pattern); err != nil {
			t.Fatal(err)
		}
		r.finish()
		sc := r.search(&Input{Text: c.text})
		if got := sc.has(0); got != c.want {
			t.Errorf("%q in %q: %v", c.pattern, c.text, got)
		}
	}
}
