package envoy

import (
	"regexp"
	"slices"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// TestEveryWayInNamesItsMethodsAndHidesItsHeaders: of no host's routes does one forward more than it says.
func TestEveryWayInNamesItsMethodsAndHidesItsHeaders(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
			if first := vh.GetRoutes()[0]; first.GetDirectResponse().GetStatus() != 400 {
				t.Errorf("host %s forwards before it looks at the path: %v", vh.GetName(), first)
			}
			for _, r := range vh.GetRoutes() {
				if r.GetRoute().GetCluster() == "" { // it refuses, or is for preflights
					continue
				}
				for _, method := range []string{"TRACE", "trace", "TRACK", "", "get", "GETS", "FOO"} {
					if lets(r, ":method", method) {
						t.Errorf("route %s forwards %q", r.GetName(), method)
					}
				}
				if !lets(r, ":method", "POST") || !lets(r, "x-http-method-override", "") ||
					lets(r, "x-http-method-override", "TRACE") {
					t.Errorf("route %s: %v", r.GetName(), r.GetMatch().GetHeaders())
				}
				if !slices.Contains(r.GetResponseHeadersToRemove(), "openai-organization") {
					t.Errorf("route %s says whose account served", r.GetName())
				}
				if shown := !slices.Contains(r.GetResponseHeadersToRemove(), "set-cookie"); shown != (r.GetName() == "batches") {
					t.Errorf("route %s: cookies are shown: %t", r.GetName(), shown)
				}
				carried := len(r.GetRoute().GetUpgradeConfigs()) > 0
				if carried != lets(r, "upgrade", "WebSocket") || carried && r.GetName() != "batches" {
					t.Errorf("route %s: upgrades are carried: %t", r.GetName(), carried)
				}
			}
		}
	})
}

// lets reports whether the route's match takes a header's value.
func lets(r *routev3.Route, name, value string) bool {
	for _, h := range r.GetMatch().GetHeaders() {
		if h.GetName() == name {
			return regexp.MustCompile("^(?:" + h.GetStringMatch().GetSafeRegex().GetRegex() + ")$").MatchString(value)
		}
	}
	return false
}

func TestOneRouteThatKeepsEscapedSlashesLeavesTheOthersStrict(t *testing.T) {
	refusing := func(b built) (n int) {
		for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
			for _, r := range vh.GetRoutes()[1:] {
				if r.GetDirectResponse().GetStatus() == 400 {
					n++
				}
			}
		}
		return n
	}
	small, all := decode(t, samples()["small"]), decode(t, samples()["everything"])
	if got := small.outer.GetPathWithEscapedSlashesAction(); got != hcmv3.HttpConnectionManager_REJECT_REQUEST ||
		refusing(small) != 0 {
		t.Errorf("no route keeps them: %s, %d routes refuse", got, refusing(small))
	}
	// all and batches at *, batches at team-b.example
	if got := all.outer.GetPathWithEscapedSlashesAction(); got != hcmv3.HttpConnectionManager_KEEP_UNCHANGED ||
		refusing(all) != 3 {
		t.Errorf("one route keeps them: %s, %d routes refuse, want 3", got, refusing(all))
	}
}

// TestTheAdminAddressOffersOnlyWhatIsReadable: the rest is on a socket of this user, or nowhere.
func TestTheAdminAddressOffersOnlyWhatIsReadable(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		admin := b.boot.GetAdmin()
		if pipe := admin.GetAddress().GetPipe(); pipe != nil {
			if pipe.GetMode() != 0o600 {
				t.Errorf("mode %o", pipe.GetMode())
			}
			return
		}
		for path, open := range map[string]bool{
			"/ready": true, "/stats": true, "/stats/prometheus": true, "/stats?filter=x": true, "/logging?level=debug": false,
			"/": false, "/stats/recentlookups": false, "/quitquitquit": false, "/readyquitquitquit": false, "/drain_listeners": false,
		} {
			got := false
			for _, m := range admin.GetAllowPaths() {
				got = got || regexp.MustCompile("^(?:"+m.GetSafeRegex().GetRegex()+")$").MatchString(path)
			}
			if got != open {
				t.Errorf("%s: served %t, want %t", path, got, open)
			}
		}
	})
}
