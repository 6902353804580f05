package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
	"github.com/tokenward/tokenward/tokenstore"
)

// recorder remembers what is registered: a vector without children gathers nothing.
type recorder struct {
	prometheus.Registerer
	all []prometheus.Collector
}

func (r *recorder) MustRegister(list ...prometheus.Collector) {
	r.all = append(r.all, list...)
	r.Registerer.MustRegister(list...)
}

// loggedIn is a backend that has to log in.
type loggedIn struct{ tokenstore.Backend }

func (loggedIn) LoginExpires() time.Time { return time.Time{} }

// serviceMetrics starts the service that the starter configuration describes, with one account and a certificate, and
// returns all that it registers, and what that says while it runs.
func serviceMetrics(t *testing.T) (all []prometheus.Collector, families []*dto.MetricFamily) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile(defaultFile, config.Starter(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(defaultFile)
	if err != nil {
		t.Fatal(err)
	}
	c.Admin.Listen = "127.0.0.1:0"
	own := tlsfiletest.NewAuthority(t).Sign("localhost")
	c.Admin.TLS = config.TLS{CertFile: "admin.crt", KeyFile: "admin.key"}
	for file, text := range map[string][]byte{c.Admin.TLS.CertFile: own.Cert, c.Admin.TLS.KeyFile: own.Key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	putAccount(t, c)
	operators := adminConfig(c)
	operators.Files = tlsfile.New(zap.NewNop())
	domain, err := domainConfig(c, operators.Files)
	if err != nil {
		t.Fatal(err)
	}
	var reg *recorder
	var registry *prometheus.Registry
	app := fx.New(options(c, domain, ports{}, operators, nil, zap.NewNop()), fx.Populate(&registry),
		fx.Decorate(func(r prometheus.Registerer) prometheus.Registerer {
			reg = &recorder{Registerer: r}
			return reg
		}))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := app.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	watchLogin(reg, "vault", loggedIn{})
	if families, err = registry.Gather(); err != nil {
		t.Fatal(err)
	}
	return reg.all, families
}

// putAccount gives the store an account, whose token lives and need not be renewed yet.
func putAccount(t *testing.T, c *config.Config) {
	t.Helper()
	provider := slices.Sorted(maps.Keys(c.Providers))[0]
	b, err := openBackend(t.Context(), c.Store, nil, tokenstore.Secret{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, err = b.CompareAndSwap(t.Context(), "a", tokenstore.Record{
		Provider: provider, Kind: tokenstore.KindAnthropicOAuth, ClientID: "c", Pools: slices.Sorted(maps.Keys(c.Pools)),
		RefreshToken: tokenstore.NewSecret("rt"), AccessToken: tokenstore.NewSecret("at"),
		ObtainedAt: now, ExpiresAt: now.Add(8 * time.Hour),
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// metric is a row of the document.
type metric struct{ kind, help, labels string }

// described lists the metrics by name: with the help, and with the labels in order.
func described(t *testing.T, all []prometheus.Collector, families []*dto.MetricFamily) map[string]metric {
	t.Helper()
	out := map[string]metric{}
	for _, c := range all {
		kind := ""
		switch c.(type) {
		case *prometheus.CounterVec:
			kind = "counter"
		case *prometheus.HistogramVec:
			kind = "histogram"
		}
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := description.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("a description of another form: %s", d)
			}
			labels := strings.FieldsFunc(m[4], func(r rune) bool { return r == ',' })
			for constant := range strings.SplitSeq(m[3], ",") {
				if name, _, ok := strings.Cut(constant, "="); ok {
					labels = append(labels, name)
				}
			}
			out[m[1]] = metric{kind, m[2], strings.Join(labels, ",")}
		}
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "tokenward_") {
			continue // the libraries' own
		}
		m, known := out[name]
		if m.kind = strings.ToLower(f.GetType().String()); !known { // the registry's own
			m.help = f.GetHelp()
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			m.labels = strings.Join(labels, ",")
		}
		out[name] = m
	}
	return out
}

func TestEveryMetricIsInTheDocument(t *testing.T) {
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all, families := serviceMetrics(t)
	metrics := described(t, all, families)
	if len(metrics) < 25 {
		t.Fatalf("only %d metrics were found", len(metrics))
	}
	var table strings.Builder
	table.WriteString("| name | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	labels := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		m := metrics[name]
		if m.kind == "" || m.help == "" {
			t.Errorf("%s has the type %q and the help %q", name, m.kind, m.help)
		}
		var shown []string
		for l := range strings.SplitSeq(m.labels, ",") {
			if l != "" {
				labels[l] = true
				shown = append(shown, "`"+l+"`")
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, m.kind, strings.Join(shown, ", "), m.help)
	}
	file := filepath.Join(folder, "docs/metrics.md")
	isGenerated(t, file, table.String())

	document := rowsOf(t, file, "## Labels")
	for l := range labels {
		if document[l] == "" {
			t.Errorf("%s does not say what the label %s may be", file, l)
		}
	}
	for l := range document {
		if !labels[l] {
			t.Errorf("%s tells of the label %s, which no metric has", file, l)
		}
	}
	closed := []string{"class", "kind", "op", "phase", "reason", "result", "state", "trigger", "verdict"}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if v := l.GetValue(); v != "" && slices.Contains(closed, l.GetName()) &&
					!strings.Contains(document[l.GetName()], "`"+v+"`") {
					t.Errorf("%s does not say that the label %s may be %q, as of %s", file, l.GetName(), v, f.GetName())
				}
			}
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rowsOf reads the table under a heading: by each name in its first column, the rest of the row.
func rowsOf(t *testing.T, file, heading string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(text), heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", file, heading)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	out := map[string]string{}
	for line := range strings.Lines(part) {
		cells := strings.SplitN(strings.Trim(line, "| \n"), " | ", 2)
		if len(cells) < 2 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			out[m[1]] = cells[1]
		}
	}
	return out
}
