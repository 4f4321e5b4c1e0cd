package mail

// The keys mail facts are logged under, and no others.
const (
	LogTenant  = "tenant"
	LogClient  = "client" // address of a submitting client
	LogMsg     = "msg"
	LogRcpt    = "rcpt"
	LogAttempt = "attempt"
	LogQueue   = "queue"
	LogPool    = "pool"
	LogSource  = "source"
	LogMX      = "mx"
	LogClass   = "class"
	LogCode    = "code"
	LogECode   = "ecode"
	LogDelay   = "delay"
	LogEvent   = "event"
	LogErr     = "err"
	LogReport  = "report" // ReportID of mail that came back
)
