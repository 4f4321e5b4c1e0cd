package mx

import (
	"strings"
	"testing"
)

// receiverSamples holds for each receiver a set of MX hosts that is one, and a set that is none.
var receiverSamples = []struct {
	name    string
	is      string // hosts separated by spaces
	isNot   string
	isOther string // receiver of isNot
}{
	{"google", "gmail-smtp-in.l.google.com alt1.gmail-smtp-in.l.google.com", "aspmx.l.google.com mx.example.com", ""},
	{"google", "aspmx.l.google.com alt1.aspmx.l.google.com aspmx2.googlemail.com", "mx.notgoogle.com", ""},
	{"microsoft-consumer", "outlook-com.olc.protection.outlook.com", "example-com.mail.protection.outlook.com", "microsoft-365"},
	{"microsoft-365", "example-com.mail.protection.outlook.com", "outlook-com.olc.protection.outlook.com", "microsoft-consumer"},
	{"microsoft-365", "example-com.x-v1.mx.microsoft", "mx.microsoft.example.com", ""},
	{"yahoo", "mta5.am0.yahoodns.net mta6.am0.yahoodns.net", "mx1.mail.yahoo.co.jp", "yahoo-jp"},
	{"yahoo-jp", "mx1.mail.yahoo.co.jp mx2.mail.yahoo.co.jp", "mta5.am0.yahoodns.net", "yahoo"},
	{"apple", "mx01.mail.icloud.com mx02.mail.icloud.com", "mail.icloud.com", ""},
	{"comcast", "mx1a1.comcast.net mx2h1.comcast.net", "comcast.net.example.com", ""},
	{"mimecast", "eu-smtp-inbound-1.mimecast.com eu-smtp-inbound-2.mimecast.com", "mimecast.com.example.com", ""},
	{"proofpoint", "mx0a-00000000.pphosted.com mx0b-00000000.pphosted.com", "mx1-us1.ppe-hosted.com", "proofpoint-essentials"},
	{"proofpoint-essentials", "mx1-us1.ppe-hosted.com mx2-us1.ppe-hosted.com", "mx0a-00000000.pphosted.com", "proofpoint"},
	{"orange", "smtp-in.orange.fr", "smtp-in.orange.fr.example.com", ""},
	{"gmx", "mx00.gmx.net mx01.gmx.net", "mx00.gmx.net.example.com", ""},
	{"gmx", "mx-ha02.web.de mx-ha03.web.de", "mx.einweb.de", ""},
	{"qq", "mx1.qq.com mx2.qq.com mx3.qq.com", "mx1.notqq.com", ""},
	{"netease", "163mx01.mxmail.netease.com 163mx02.mxmail.netease.com", "mx.163.com", ""},
	{"netease", "qiye163mx01.mxmail.netease.com mx.qiye.163.com", "163mx01.mxmail.netease.com mx1.qq.com", ""},
	{"barracuda", "d00000a.ess.barracudanetworks.com d00000b.ess.barracudanetworks.com", "barracudanetworks.com.example", ""},
	{"cisco", "mx1.hc0000-00.iphmx.com", "iphmx.com", ""},
	{"symantec", "cluster1.us.messagelabs.com cluster1a.us.messagelabs.com", "messagelabs.com.example", ""},
	{"trendmicro", "example.in.tmes.trendmicro.com", "mail.trendmicro.com", ""},
	{"hornetsecurity", "mx01.hornetsecurity.com mx-gate01.antispameurope.com", "hornetsecurity.example", ""},
	{"sophos", "mx-01-eu-west-1.prod.hydra.sophos.com", "mail.sophos.com", ""},
	{"ovh", "mx1.mail.ovh.net mx0.mail.ovh.net", "mail.ovh.net", ""},
	{"ionos", "mx00.ionos.de mx01.ionos.de", "mx00.notionos.de", ""},
	{"ionos", "mx00.kundenserver.de mx01.kundenserver.de", "kundenserver.de", ""},
	{"strato", "smtpin.rzone.de", "rzone.de.example", ""},
	{"godaddy", "smtp.secureserver.net mailstore1.secureserver.net", "secureserver.net.example", ""},
	{"rackspace", "mx1.emailsrvr.com mx2.emailsrvr.com", "emailsrvr.com.example", ""},
	{"hostinger", "mx1.hostinger.com mx2.hostinger.com", "hostinger.example", ""},
	{"zoho", "mx.zoho.com mx2.zoho.com mx3.zoho.com", "zoho.example", ""},
	{"zoho", "mx.zoho.eu mx2.zoho.eu", "mx.notzoho.eu", ""},
	{"fastmail", "in1-smtp.messagingengine.com in2-smtp.messagingengine.com", "fastmail.example", ""},
	{"proton", "mail.protonmail.ch mailsec.protonmail.ch", "protonmail.ch.example", ""},
	{"cloudflare", "route1.mx.cloudflare.net route2.mx.cloudflare.net", "www.cloudflare.net", ""},
	{"t-online", "mx00.t-online.de mx01.t-online.de", "t-online.de.example", ""},
	{"laposte", "smtpz4.laposte.net", "laposte.net.example", ""},
	{"free", "mx1.free.fr mx2.free.fr", "mx1.notfree.fr", ""},
	{"sfr", "smtp-in.sfr.fr", "sfr.fr.example", ""},
	{"libero", "smtp-in.libero.it", "libero.it.example", ""},
	{"mailru", "mxs.mail.ru", "mx.gmail.ru", ""},
	{"yandex", "mx.yandex.ru", "yandex.ru.example", ""},
	{"naver", "mx1.naver.com mx2.naver.com", "naver.com.example", ""},
}

func hosts(list string) []Host {
	var out []Host
	for name := range strings.FieldsSeq(list) {
		out = append(out, Host{Name: name})
	}
	return out
}

func TestReceivers(t *testing.T) {
	table, err := DefaultReceivers()
	if err != nil {
		t.Fatal(err)
	}
	proven := make(map[string]bool)
	for _, s := range receiverSamples {
		if got := table.Site(hosts(s.is)); got != s.name {
			t.Errorf("%s: receiver %q, want %q", s.is, got, s.name)
		}
		if got := table.Site(hosts(s.isNot)); got != s.isOther {
			t.Errorf("%s: receiver %q, want %q", s.isNot, got, s.isOther)
		}
		proven[s.name] = true
	}
	for _, r := range table.list {
		if !proven[r.Name] {
			t.Errorf("receiver %q has no sample", r.Name)
		}
	}
}

func TestMixedHostsAreNoReceiver(t *testing.T) {
	table, err := DefaultReceivers()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"", "mx.example.com aspmx.l.google.com", "aspmx.l.google.com mx1.qq.com", "google.com", "com", "l.google.com.example.com"} {
		if got := table.Site(hosts(list)); got != "" {
			t.Errorf("%q: receiver %q", list, got)
		}
	}
}

func TestParseReceiversRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"a trailing dot":       "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.example.com.']",
		"no leading dot":       "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['example.com']",
		"upper case":           "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.Example.com']",
		"an empty suffix":      "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.']",
		"a host with a dot":    "[[receiver]]\nname='a'\nsource='x'\nhosts=['mx.example.com.']",
		"an address":           "[[receiver]]\nname='a'\nsource='x'\nhosts=['192.0.2.1']",
		"nothing to match":     "[[receiver]]\nname='a'\nsource='x'",
		"no source":            "[[receiver]]\nname='a'\nsuffixes=['.example.com']",
		"no name":              "[[receiver]]\nsource='x'\nsuffixes=['.example.com']",
		"an unknown key":       "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.example.com']\nmatch='y'",
		"a name twice":         "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.a.com']\n[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.b.com']",
		"a suffix twice":       "[[receiver]]\nname='a'\nsource='x'\nsuffixes=['.a.com']\n[[receiver]]\nname='b'\nsource='x'\nsuffixes=['.a.com']",
		"something not a list": "receiver = 5",
	} {
		if _, err := ParseReceivers([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestLongestSuffixWins(t *testing.T) {
	table, err := ParseReceivers([]byte(`
[[receiver]]
name = "wide"
suffixes = [".example.com"]
source = "test"
[[receiver]]
name = "narrow"
suffixes = [".mx.example.com"]
hosts = ["mx.example.com"]
source = "test"
`))
	if err != nil {
		t.Fatal(err)
	}
	for h, want := range map[string]string{"a.example.com": "wide", "a.mx.example.com": "narrow", "mx.example.com": "narrow", "amx.example.com": "wide", "example.com": ""} {
		if got := table.Host(h); got != want {
			t.Errorf("%s: %q, want %q", h, got, want)
		}
	}
}
