package extproc

import "github.com/tokenward/tokenward/tokenstore"

// begin makes the counters whose labels are known: one that appears with its first failure hides that failure from
// increase().
func (m *metrics) begin(upstreams map[string][]string) {
	for route, names := range upstreams {
		for _, result := range []string{"ok", "recovered", "failed", "refused", "canceled"} {
			m.requests.WithLabelValues(route, result)
		}
		for _, kind := range []string{"refresh", "failover"} {
			m.recovery.WithLabelValues(route, kind)
		}
		for _, upstream := range names {
			for _, class := range tokenstore.Classes() {
				m.attempts.WithLabelValues(route, upstream, class.String())
			}
			for _, why := range unreads {
				m.unread.WithLabelValues(route, upstream, string(why))
			}
		}
	}
}
