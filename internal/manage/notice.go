package manage

import (
	"slices"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func (v *validator) notices(where string, a *platform.Account) {
	if !slices.Contains([]string{"", platform.NoticesOff, platform.NoticesFailures, platform.NoticesDelays}, a.BounceNotice) {
		v.bad(where+".bounce_notice", "%q is none of off, failures, failures+delays", a.BounceNotice)
	}
	if !slices.Contains([]string{"", platform.ForwardOff, platform.ForwardAll, string(mail.Transactional), string(mail.Bulk)}, a.ForwardAutoreplies) {
		v.bad(where+".forward_autoreplies", "%q is none of off, transactional, bulk, all", a.ForwardAutoreplies)
	}
}
