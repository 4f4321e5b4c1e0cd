package smtpd

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postroad/postroad/internal/smtpserver"
)

// Metrics counts what the listeners do. Label values: listener is Listener.Name; reason is one of
// smtpserver.RefusedReasons; verb one of smtpserver.Observer.Replied; code the reply code.
type Metrics struct {
	open     *prometheus.GaugeVec
	opened   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	replies  *prometheus.CounterVec
	messages *prometheus.CounterVec
	octets   *prometheus.CounterVec
}

// NewMetrics makes the counters and registers them.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postroad", Subsystem: "smtpd", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "postroad", Subsystem: "smtpd", Name: "connections", Help: "Connections open now.",
		}, []string{"listener"}),
		opened:   counter("connections_total", "Connections taken.", "listener"),
		refused:  counter("refused_total", "Connections turned away or cut.", "listener", "reason"),
		replies:  counter("replies_total", "Replies sent.", "listener", "verb", "code"),
		messages: counter("messages_total", "Messages accepted.", "listener"),
		octets:   counter("message_octets_total", "Octets of the messages accepted.", "listener"),
	}
	for _, c := range []prometheus.Collector{m.open, m.opened, m.refused, m.replies, m.messages, m.octets} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// replyCounters holds the counters of one verb by code - 200, made when first needed: looking one up by its labels
// would cost more than the reply.
type replyCounters [400]atomic.Pointer[prometheus.Counter]

// verbs are those smtpserver counts replies for.
var verbs = []string{
	"", "?", "CONTENT", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "HELP",
}

func (m *Metrics) observer(listener string) smtpserver.Observer {
	open, opened := m.open.WithLabelValues(listener), m.opened.WithLabelValues(listener)
	messages, octets := m.messages.WithLabelValues(listener), m.octets.WithLabelValues(listener)
	for _, reason := range smtpserver.RefusedReasons {
		m.refused.WithLabelValues(listener, reason) // there from the start, at 0: a rate sees the first one
	}
	replies := make(map[string]*replyCounters, len(verbs))
	for _, v := range verbs {
		replies[v] = new(replyCounters)
	}
	return smtpserver.Observer{
		Opened:  func() { opened.Inc(); open.Inc() },
		Closed:  open.Dec,
		Refused: func(reason string) { m.refused.WithLabelValues(listener, reason).Inc() },
		Replied: func(verb string, code int) {
			v := replies[verb]
			if v == nil || code < 200 || code >= 600 {
				m.replies.WithLabelValues(listener, "?", strconv.Itoa(code)).Inc()
				return
			}
			c := v[code-200].Load()
			if c == nil {
				made := m.replies.WithLabelValues(listener, verb, strconv.Itoa(code))
				c = &made
				v[code-200].Store(c)
			}
			(*c).Inc()
		},
		Received: func(n int64) { messages.Inc(); octets.Add(float64(n)) },
	}
}
