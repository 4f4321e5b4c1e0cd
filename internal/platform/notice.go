package platform

// What Account.BounceNotice may say. Empty: NoticesFailures for mail that came in over SMTP, NoticesOff for mail of the API.
const (
	NoticesOff      = "off"
	NoticesFailures = "failures"
	NoticesDelays   = "failures+delays"
)

// What Account.ForwardAutoreplies may say, beside the name of a stream. Empty: those to transactional mail that came in over
// SMTP.
const (
	ForwardOff = "off"
	ForwardAll = "all"
)
