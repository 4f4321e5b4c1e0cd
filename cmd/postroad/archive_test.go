package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSupport is a day at a support desk: did it arrive, what was in it, send it again, write to her no more, forget her.
func TestSupport(t *testing.T) {
	data, _, _ := testPlatform(t)
	at := func(args ...string) []string { return append(args, "--data", data) }
	postroad(t, strings.Replace(testAccounts, `name = "shop"`, "name = \"shop\"\narchive = {days = 30}", 1), at("apply", "-f", "-")...).want(t, exitOK)
	postroad(t, "", at("send", "--account", "shop", "--from", "info@shop.test", "--to", "ann@mailbox.test", "--subject", "Receipt 17", "--text", "You paid 12.50.")...).want(t, exitOK, "delivered")

	// Did it arrive?
	eventually(t, "delivered", at("search", "--recipient", "Ann@mailbox.test")...).want(t, exitOK, "Receipt 17")
	var mails struct{ Deliveries []delivery }
	postroad(t, "", at("search", "--recipient", "ann@mailbox.test", "--json")...).want(t, exitOK).json(t, &mails)
	if len(mails.Deliveries) != 1 {
		t.Fatalf("%+v", mails)
	}
	id, message := mails.Deliveries[0].ID, mails.Deliveries[0].Message
	eventually(t, "at dot: 250", at("trace", id)...).want(t, exitOK, "of "+message, `from info@shop.test, subject "Receipt 17"`)

	// What was sent?
	eventually(t, message, at("archive", "list", "--account", "shop", "--recipient", "ann@mailbox.test")...).want(t, exitOK)
	for _, x := range []string{message, id} {
		postroad(t, "", at("archive", "show", x)...).want(t, exitOK, "Subject: Receipt 17", "You paid 12.50.")
		postroad(t, "", at("archive", "show", x, "--raw")...).want(t, exitOK, "Subject: Receipt 17\r\n")
	}
	postroad(t, "", at("archive", "show", "dlv_"+message[4:])...).want(t, exitFailure, "archive show dlv_")
	postroad(t, "", at("archive", "export", "--account", "shop", "-o", filepath.Join(t.TempDir(), "all.mbox"))...).want(t, exitOK, "octets written")
	postroad(t, "", at("archive", "export", "--account", "shop", "--format", "eml", "-o", t.TempDir())...).want(t, exitOK, "1 ")

	// Send it again; write to her no more.
	postroad(t, "", at("resend", id)...).want(t, exitOK, "sends "+id+" again", "ann@mailbox.test  queued")
	postroad(t, "", at("suppress", "add", "ann@mailbox.test", "--account", "shop", "--reason", "asked by phone")...).want(t, exitOK)
	postroad(t, "", at("resend", message)...).want(t, exitNotAsWanted, "suppressed", "asked by phone")
	postroad(t, "", at("resend", message, "--json")...).want(t, exitNotAsWanted, `"suppressed"`)
	postroad(t, "", at("resend", message, "--force")...).want(t, exitOK, "queued")

	// She asks to be forgotten; but a case is pending.
	postroad(t, "", at("legal-hold", "set", "case-17", "--recipient", "ann@mailbox.test", "--reason", "a lawsuit")...).want(t, exitOK)
	postroad(t, "", at("erase", "--recipient", "ann@mailbox.test")...).want(t, exitFailure, "case-17")
	postroad(t, "", at("legal-hold", "release", "case-17")...).want(t, exitOK)
	postroad(t, "", at("erase", "--recipient", "ann@mailbox.test", "--note", "by letter")...).want(t, exitOK, "done")
	postroad(t, "", at("search", "--recipient", "ann@mailbox.test")...).want(t, exitOK, "nothing was found")
	postroad(t, "", at("archive", "show", message)...).want(t, exitFailure, "not kept")
	postroad(t, "", at("suppress", "check", "ann@mailbox.test")...).want(t, exitNotAsWanted, "sha256:")
	audit := postroad(t, "", at("audit")...).want(t, exitOK, "content.read", "archive.export", "resend", "erase.done", "by letter")
	if strings.Contains(audit.out, "ann@") {
		t.Errorf("the audit log names who was erased:\n%s", audit.out)
	}
}
