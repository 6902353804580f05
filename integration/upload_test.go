package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func TestALargeBodyIsRetriedIntactAndOneAboveTheLimitIsSentOnce(t *testing.T) {
	both(t, func(o *Options) { o.Limit = "8MiB" }, func(t *testing.T, g *Gateway, _ string) {
		body := strings.Repeat("0123456789abcdef", 5<<20/16)
		sum := sha256.Sum256([]byte(body))
		a, err := g.Post(t.Context(), t.Name(), "status=401", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status", a.Status, 200)
		if !strings.Contains(a.Body, hex.EncodeToString(sum[:])) {
			t.Error("the body did not arrive intact")
		}
		a, err = g.Post(t.Context(), t.Name()+" large", "status=401", strings.NewReader(strings.Repeat(body, 4)))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status above the limit", a.Status, 401)
		expect(t, "attempts above the limit", len(g.Provider.Seen(t.Name()+" large")), 1)
	})
}
