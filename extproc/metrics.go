package extproc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenward/tokenward/tokenstore"
)

// unknownRoute is the label of every route that is not in the configuration: peers must not make series at will.
const unknownRoute = "unknown"

// label is a route's label.
func (s *Server) label(route string) string {
	if _, ok := s.cfg.Upstreams[route]; !ok {
		return unknownRoute
	}
	return route
}

type metrics struct {
	requests *prometheus.CounterVec
	attempts *prometheus.CounterVec
	unread   *prometheus.CounterVec
	recovery *prometheus.HistogramVec
	request  prometheus.Observer // decision_seconds by phase, resolved once: they are on the hot path
	response prometheus.Observer
	streams  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, held *trails) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "tokenward", Name: name, Help: help}
	}
	decisions := prometheus.NewHistogramVec(
		prometheus.HistogramOpts{
			Namespace: "tokenward",
			Name:      "decision_seconds",
			Help:      "Our own share of the latency, waiting for refreshes excluded.",
			Buckets:   prometheus.ExponentialBuckets(0.00001, 4, 9),
		},
		[]string{"phase"},
	)
	m := &metrics{
		requests: prometheus.NewCounterVec(opts("requests_total", "Requests by their end."), []string{"route", "result"}),
		attempts: prometheus.NewCounterVec(opts("attempts_total", "Upstream attempts by what the answer meant."),
			[]string{"route", "upstream", "verdict"}),
		unread: prometheus.NewCounterVec(
			opts("unread_answers_total", "Error answers whose words would have told more, and could not be read."),
			[]string{"route", "upstream", "reason"},
		),
		recovery: prometheus.NewHistogramVec(
			prometheus.HistogramOpts{
				Namespace: "tokenward",
				Name:      "recovery_seconds",
				Help:      "What recovery added to a request.",
				Buckets:   prometheus.ExponentialBuckets(0.005, 2, 13),
			},
			[]string{"route", "kind"},
		),
		request:  decisions.WithLabelValues("request"),
		response: decisions.WithLabelValues("response"),
		streams: prometheus.NewGauge(
			prometheus.GaugeOpts{Namespace: "tokenward", Name: "streams", Help: "ext_proc streams that are open."},
		),
	}
	reg.MustRegister(
		m.requests,
		m.attempts,
		m.unread,
		m.recovery,
		decisions,
		m.streams,
		prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: "tokenward", Name: "trails", Help: "Requests between two attempts."},
			func() float64 { return float64(held.len()) },
		),
	)
	return m
}

func (m *metrics) recovered(route string, t *tokenstore.Trail) {
	m.recovery.WithLabelValues(route, t.Kind()).Observe(time.Since(t.Started()).Seconds())
}
