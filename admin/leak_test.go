package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// TestNoAnswerAndNoLogHoldsASecret works on a real store, whose records, provider errors and callers all carry secrets.
func TestNoAnswerAndNoLogHoldsASecret(t *testing.T) {
	now := time.Now().UTC()
	memory, driver := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
	for _, id := range []tokenstore.AccountID{"good", "bad"} {
		r := tokenstore.Record{
			Provider:     "p",
			Kind:         tokenstore.KindOAuthRefresh,
			ObtainedAt:   now.Add(-2 * time.Hour),
			ExpiresAt:    now.Add(-time.Hour),
			RefreshToken: tokenstore.NewSecret("planted-refresh-of-" + string(id)),
			AccessToken:  tokenstore.NewSecret("planted-access-of-" + string(id)),
		}
		if _, err := memory.CompareAndSwap(t.Context(), id, r, 0); err != nil {
			t.Fatal(err)
		}
	}
	driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
		if strings.HasSuffix(r.RefreshToken.Reveal(), "bad") {
			return fmt.Errorf("%w: wrapped without a class", errors.New("planted-in-an-error"))
		}
		return nil
	}
	var logged bytes.Buffer
	log := zap.New(
		zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(&logged)),
			zapcore.DebugLevel),
	)
	reg := prometheus.NewRegistry()
	store, err := tokenstore.New(tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{
			"r": {Upstreams: []string{"u"}, Attempts: 1, RecoveryTimeout: time.Second, RefreshWait: time.Second},
		},
		Upstreams: map[string]tokenstore.UpstreamConfig{"u": {Pool: "p", Cluster: "c"}},
		Pools:     map[string]tokenstore.PoolConfig{"p": {Provider: "p", Select: tokenstore.LeastLoaded}},
		Drivers:   map[string]tokenstore.Driver{"p": driver},
		Renewal: tokenstore.RenewalConfig{
			Sweep:                time.Minute,
			Workers:              1,
			TokenEndpointTimeout: time.Second,
			ClaimLease:           10 * time.Second,
			BackoffMin:           time.Second,
			BackoffMax:           time.Minute,
		},
	}, memory, tokenstore.NewMetrics(reg, "memory", true), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := server(t, store)
	s.http.Handler, s.log = s.checked(s.mux(reg)), log
	session := signIn(t, s)
	var seen []answer
	for _, call := range []struct{ method, path, body string }{
		{"GET", refreshPath, ""},
		{"POST", refreshPath, `{"action":"refresh-single","accountId":"good","force":true}`},
		{"POST", refreshPath, `{"action":"refresh-single","accountId":"bad","force":true}`},
		{"POST", refreshPath, `{"action":"refresh-single","accountId":"none"}`},
		{"POST", refreshPath, `{"action":"refresh-all","force":true}`},
		{"POST", refreshPath, `{"action":"refresh-all","refresh_token":"planted-in-a-body"}`},
		{"POST", refreshPath, `{"action":"planted-in-a-body"}`},
		{"POST", "/login", `{"token":"planted-wrong-token"}`},
		{"POST", "/login", `{"token":["` + adminToken + `"]}`},
		{"POST", "/login", `{"token":"` + adminToken},
		{"POST", "/logout", ""},
		{"GET", refreshPath, ""},
		{"GET", "/metrics", ""},
		{"GET", "/healthz", ""},
		{"GET", "/readyz", ""},
		{"GET", "/", ""},
		{"GET", "/app.js", ""},
		{"GET", "/api/admin/openapi.yaml", ""},
		{"GET", "/api/admin/none", ""},
	} {
		seen = append(seen, send(s, call.method, call.path, call.body))
		seen = append(seen, send(s, call.method, call.path, call.body, header("Authorization", "Bearer planted-wrong-token")))
	}
	for _, j := range s.jobs.byID {
		seen = append(seen, send(s, "GET", "/api/admin/jobs/"+j.id, ""))
	}
	if driver.Calls() < 2 || len(s.jobs.byID) == 0 {
		t.Fatalf("the calls reached nothing: %d refreshes, %d jobs", driver.Calls(), len(s.jobs.byID))
	}
	s.jobs.stop()
	if err := store.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	seen = append(seen, answer{body: logged.String()})
	rotated, _, err := memory.Load(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{"planted-", session.Value, rotated.AccessToken.Reveal(), rotated.RefreshToken.Reveal()}
	for _, a := range seen {
		for _, secret := range secrets {
			if everything := a.body + fmt.Sprint(a.header); secret != "" && strings.Contains(everything, secret) {
				t.Errorf("%d %s holds %q", a.status, everything, secret)
			}
		}
	}
}
