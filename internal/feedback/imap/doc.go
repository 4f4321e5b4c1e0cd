// Package imap reads bounce mailboxes over IMAP (RFC 9051, and servers of RFC 3501): those of accounts whose provider or
// ISP returns what it cannot deliver to the sender's own address. It decides which mails of a mailbox are reports, and
// when one may be marked, moved or deleted: once it is in the spool's inbox, and not before.
//
// Its door is New and Poller.Run; Poller.Changed tells it that mailboxes may have changed.
//
// Guarantees: a report is durable before its mail is touched, and gets the same mail.ReportID whenever it is fetched
// again, be it after a crash, a lost connection or a new UIDVALIDITY, so that nothing is taken twice. Mail that is no
// report is left as it is, unseen. What a server sends is bounded in octets and time at every step; one mail is in memory
// at a time. A wrong password raises an alert and is tried again minutes later, then hours.
//
// One goroutine reads each mailbox; Run owns them all and returns when they have ended.
//
// The IMAP dialogue is go-imap's, a library in beta: that is why nothing outside this package sees it.
package imap
