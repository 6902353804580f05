package tokenstore

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
)

// Metrics are the domain's own. docs/metrics.md promises their names.
type Metrics struct {
	refreshes       *prometheus.CounterVec
	refreshDuration *prometheus.HistogramVec
	failovers       *prometheus.CounterVec
	unsaved         prometheus.Gauge
	claims          prometheus.Gauge
	conflicts       prometheus.Counter
	ambiguous       prometheus.Counter
	requestFaults   *prometheus.CounterVec
	withheld        *prometheus.CounterVec
	panics          prometheus.Counter
	storeSeconds    *prometheus.HistogramVec
	accountLabel    bool
	reg             prometheus.Registerer
	backend         string
}

// NewMetrics registers the domain's metrics. accountLabel false leaves the per-account series out and empties the
// account label; backend names the store in store_up and store_operation_seconds.
func NewMetrics(reg prometheus.Registerer, backend string, accountLabel bool) *Metrics {
	c := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "tokenward", Name: name, Help: help}
	}
	g := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "tokenward", Name: name, Help: help}
	}
	m := &Metrics{
		refreshes: prometheus.NewCounterVec(c("refreshes_total", "Refreshes that ended, by result and failure class."),
			[]string{"provider", "trigger", "result", "class"}),
		refreshDuration: prometheus.NewHistogramVec(
			prometheus.HistogramOpts{
				Namespace: "tokenward",
				Name:      "refresh_duration_seconds",
				Help:      "Time the token endpoint took.",
				Buckets:   prometheus.ExponentialBuckets(0.01, 2, 12),
			},
			[]string{"provider", "result"},
		),
		failovers: prometheus.NewCounterVec(c("failovers_total", "Attempts that were moved from an account to another."),
			[]string{"account", "from", "to", "reason"}),
		unsaved: prometheus.NewGauge(
			g("unsaved_rotations", "Rotated credentials that are in memory and not yet in the store. Page somebody above 0."),
		),
		claims:    prometheus.NewGauge(g("claims_held", "Claims that this process holds.")),
		conflicts: prometheus.NewCounter(c("claim_conflicts_total", "Writes that lost a compare-and-set.")),
		ambiguous: prometheus.NewCounter(
			c("ambiguous_refreshes_total", "Refreshes that were sent and got no readable answer."),
		),
		requestFaults: prometheus.NewCounterVec(
			c("request_faults_total",
				"Requests whose refusals proved to be their own fault: several healthy accounts refused them. "+
					"No account was blamed."),
			[]string{"route"},
		),
		withheld: prometheus.NewCounterVec(
			c("refreshes_withheld_total", "Refreshes that a refusal did not cause since another had within the last minute."),
			[]string{"provider"},
		),
		panics: prometheus.NewCounter(c("panics_total", "Panics caught. Each cost one refresh or one ext_proc stream.")),
		storeSeconds: prometheus.NewHistogramVec(
			prometheus.HistogramOpts{
				Namespace: "tokenward",
				Name:      "store_operation_seconds",
				Help:      "Calls of the backend.",
				Buckets:   prometheus.ExponentialBuckets(0.0005, 2, 14),
			},
			[]string{"backend", "op", "result"},
		),
		accountLabel: accountLabel,
		reg:          reg,
		backend:      backend,
	}
	reg.MustRegister(m.refreshes, m.refreshDuration, m.failovers, m.unsaved, m.claims, m.conflicts, m.ambiguous,
		m.requestFaults, m.withheld, m.panics, m.storeSeconds)
	return m
}

// counters are those that the keeper counts by.
func (m *Metrics) counters() rotation.Counters {
	return rotation.Counters{
		Unsaved:        m.unsaved,
		Claims:         m.claims,
		Conflicts:      m.conflicts,
		Ambiguous:      m.ambiguous,
		RefreshSeconds: m.refreshDuration,
		StoreOp:        m.storeOp,
	}
}

// unknownName is the label of a pool or provider that is not in the configuration: records must not make series at
// will.
const unknownName = "unknown"

// known is a name's label.
func known[T any](name string, configured map[string]T) string {
	if _, ok := configured[name]; !ok {
		return unknownName
	}
	return name
}

// label is the account label's value.
func (m *Metrics) label(id record.ID) string {
	if !m.accountLabel {
		return ""
	}
	return labelOf(id)
}

// labelOf is an id as a label, which must be UTF-8 or ends the process.
func labelOf(id record.ID) string {
	if s := string(id); utf8.ValidString(s) {
		return s
	}
	return strconv.QuoteToASCII(string(id))
}

func (m *Metrics) storeOp(op string, ok bool, d time.Duration) {
	r := "ok"
	if !ok {
		r = "error"
	}
	m.storeSeconds.WithLabelValues(m.backend, op, r).Observe(d.Seconds())
}

// watch adds the series that are read off the store at each scrape.
func (m *Metrics) watch(s *Store) {
	m.begin(s)
	label := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tokenward_"+name, help, labels, nil)
	}
	m.reg.MustRegister(&collector{
		store: s, metrics: m,
		attempts: label("account_attempts_total", "Attempts that the account was picked for.", "account"),
		moved:    label("account_failovers_total", "Attempts that were moved from the account to another.", "account"),
		state:    label("account_state", "1 for the state an account is in.", "account", "state"),
		expiry:   label("token_expiry_timestamp_seconds", "When the access token ends.", "account"),
		due:      label("token_refresh_due_timestamp_seconds", "When the next renewal is planned.", "account"),
		pool:     label("pool_accounts", "Accounts of a pool by state.", "pool", "state"),
		up:       label("store_up", "1 while the store answers.", "backend"),
		journal:  label("journal_up", "1 unless the latest rotation could not be written to the journal."),
	})
}

// begin makes the counters whose labels are known: one that appears with its first failure hides that failure from
// increase().
func (m *Metrics) begin(s *Store) {
	for provider := range s.cfg.Drivers {
		m.withheld.WithLabelValues(provider)
		for _, trigger := range []record.Trigger{
			record.TriggerSchedule, record.TriggerResponse, record.TriggerRequest, record.TriggerOperator,
		} {
			for _, outcome := range []rotation.RefreshOutcome{rotation.Refreshed, rotation.Adopted, rotation.Skipped} {
				m.refreshes.WithLabelValues(provider, string(trigger), string(outcome), "")
			}
			for _, class := range []record.RefreshClass{
				record.RefreshNotSent, record.RefreshTransient, record.RefreshPermanent, record.RefreshMisconfigured,
				record.RefreshUnknown,
			} {
				m.refreshes.WithLabelValues(provider, string(trigger), string(rotation.Failed), string(class))
			}
		}
	}
	for route := range s.cfg.Routes {
		m.requestFaults.WithLabelValues(route)
	}
}

type collector struct {
	store                                 *Store
	metrics                               *Metrics
	attempts, moved                       *prometheus.Desc
	state, expiry, due, pool, up, journal *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.attempts, c.moved, c.state, c.expiry, c.due, c.pool, c.up, c.journal} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge(c.up, flag(c.store.keeper.Reachable()), c.metrics.backend)
	gauge(c.journal, flag(c.store.keeper.Journalling()))
	type key struct{ pool, state string }
	counts := map[key]float64{}
	for name := range c.store.cfg.Pools {
		counts[key{name, string(StateActive)}] = 0
	}
	for _, a := range c.store.Statuses() {
		for _, p := range c.poolsOf(a) {
			counts[key{p, string(a.State)}]++
		}
		if !c.metrics.accountLabel {
			continue
		}
		id := labelOf(a.ID)
		count(c.attempts, a.Requests, id)
		count(c.moved, a.Failovers, id)
		gauge(c.state, 1, id, string(a.State))
		if !a.ExpiresAt.IsZero() {
			gauge(c.expiry, float64(a.ExpiresAt.Unix()), id)
		}
		if !a.NextRefresh.IsZero() {
			gauge(c.due, float64(a.NextRefresh.Unix()), id)
		}
	}
	for k, n := range counts {
		gauge(c.pool, n, k.pool, k.state)
	}
}

// poolsOf are the labels under which an account counts, each once.
func (c *collector) poolsOf(a AccountStatus) []string {
	out := make([]string, 0, len(a.Pools))
	for _, p := range a.Pools {
		out = append(out, known(p, c.store.cfg.Pools))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
