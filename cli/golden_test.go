package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// What scripts read must not change by accident: every object that -o json prints, byte for byte.
func TestWhatIsPrintedAsJSON(t *testing.T) {
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) { everyObject(t, &out) })
	for _, problems := range []bool{false, true} {
		fmt.Fprintf(&out, "# status, problems: %t\n%s\n", problems, shown(t, &app{output: "json"}, ofEveryKind(), problems))
	}
	const path = "testdata/json.golden"
	if *rewrite {
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// everyObject runs the commands that print an object of their own.
func everyObject(t *testing.T, out *strings.Builder) {
	s := newShell(t)
	edits := map[tokenstore.AccountID]func(*tokenstore.Record){
		"full": func(r *tokenstore.Record) {
			r.Limits = tokenstore.Limits{RPM: 60}
			r.Rotation.Last = &tokenstore.Outcome{
				At: time.Now(), Trigger: tokenstore.TriggerSchedule, Result: "failed", Class: tokenstore.RefreshTransient,
				Status: 503, Error: "overloaded", Fingerprint: "fp", FailingSince: time.Now(), Refusals: 2, RefusedSince: time.Now(),
			}
		},
		"bare": func(r *tokenstore.Record) {
			r.Pools, r.Tenant, r.Labels, r.ClientID = nil, "", nil, ""
			r.AccessToken, r.ExpiresAt = tokenstore.Secret{}, time.Time{}
			r.Limits.Concurrency = 2
		},
		"ended":  func(r *tokenstore.Record) { r.ExpiresAt = time.Now().Add(-time.Hour) },
		"key":    func(r *tokenstore.Record) { r.RefreshToken, r.ExpiresAt = tokenstore.Secret{}, time.Time{} },
		"paused": func(r *tokenstore.Record) { r.State = tokenstore.Paused },
		"refused": func(r *tokenstore.Record) {
			r.AccessToken, r.ObtainedAt, r.ExpiresAt = tokenstore.Secret{}, time.Time{}, time.Time{}
		},
		"spoilt": func(*tokenstore.Record) {},
	}
	for _, id := range slices.Sorted(maps.Keys(edits)) { // the versions are printed
		r := living()
		r.RefreshToken = tokenstore.NewSecret(planted + string(id))
		edits[id](&r)
		s.put(t, id, r)
	}
	s.Corrupt("spoilt")
	s.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
		if r.RefreshToken.Equal(tokenstore.NewSecret(planted + "refused")) {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Message: "invalid_grant"}
		}
		return nil
	}
	tell := func(args ...string) {
		r := s.run(t, "", append(args, "-o", "json")...)
		fmt.Fprintf(out, "# %s\nexit code %d\n%s\n", strings.Join(args, " "), r.code, r.out)
	}
	tell("accounts", "list")
	for _, id := range []string{"full", "bare", "spoilt"} {
		tell("accounts", "show", id)
	}
	for _, id := range []string{"full", "ended", "key", "paused", "refused"} {
		tell("accounts", "refresh", id)
	}
	tell("accounts", "set", "full", "--rpm", "5")
}
