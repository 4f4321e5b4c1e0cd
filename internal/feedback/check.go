package feedback

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"sync"

	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// check finds out who the reporters of a page are, by their signatures and by SPF. All are asked about at once, within one
// bound: most of it is waiting for name servers that the reporters name, and while that goes on nothing else is decided.
func (r *Reader) check(ctx context.Context, list []*reading) {
	most := r.o.CheckTime
	if len(list) == maxPage {
		most /= busyShare
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var wg sync.WaitGroup
	for _, x := range list {
		if x.aside {
			continue
		}
		wg.Go(func() { x.row.DKIM, x.row.Verified = r.verify(ctx, x) })
		wg.Go(func() { x.row.SPF = r.checkSPF(ctx, x) })
	}
	wg.Wait()
}

// Results of a check in words, where there is no result of a signature.
const (
	unsigned  = "none"
	unchecked = "temperror" // there was no time, or no answer
	cutOff    = "unchecked" // the end of the mail is not here
)

// verify says what became of the mail's signatures, in words: unsigned, or a result and domain for each. verified is the
// domain of its author if one of them is that domain's, or that of a domain above it: such a signature RFC 9477 §3.5 wants on
// a complaint.
func (r *Reader) verify(ctx context.Context, x *reading) (words, verified string) {
	switch {
	case r.o.LookupTXT == nil:
		return "", ""
	case x.row.Truncated > 0:
		return cutOff, ""
	}
	list, err := (&dkim.Verifier{LookupTXT: r.o.LookupTXT, Now: r.o.Now}).Verify(ctx, bytes.NewReader(x.entry.Raw))
	if err != nil {
		return unchecked, ""
	}
	if len(list) == 0 {
		return unsigned, ""
	}
	_, author, _ := strings.Cut(x.row.Author, "@")
	all := make([]string, len(list))
	for i, l := range list {
		all[i] = strings.TrimSpace(string(l.Status) + " " + clip(l.Domain, maxAddress))
		if l.Status == dkim.Pass && within(author, l.Domain) {
			verified = strings.ToLower(author)
		}
	}
	return strings.Join(all, ", "), verified
}

// within reports whether a domain is the other one, or below it.
func within(domain, parent string) bool {
	domain, parent = strings.ToLower(domain), strings.ToLower(parent)
	return parent != "" && (domain == parent || strings.HasSuffix(domain, "."+parent))
}

// checkSPF says whether the host that brought a mail may send for its envelope sender; for the null sender, for the name
// the host calls itself (RFC 7208 §2.4). Nothing is decided by it: who forwards reports fails it rightly.
func (r *Reader) checkSPF(ctx context.Context, x *reading) string {
	row := x.row
	ip, err := netip.ParseAddr(row.Client)
	if r.o.SPF == nil || err != nil || x.entry.Kind != spool.InboxReturnPath { // else the client is who handed it in
		return ""
	}
	sender := mail.Address{Domain: row.Helo}
	if row.From != "" {
		if sender, err = mail.ParseAddress(row.From); err != nil {
			return ""
		}
	}
	if sender.Domain == "" {
		return ""
	}
	return r.o.SPF(ctx, ip, sender.Local, sender.Domain, row.Helo) + " " + clip(sender.Domain, maxAddress)
}
