package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/dig"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/tokenward/tokenward/admin"
	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/envoy"
	"github.com/tokenward/tokenward/extproc"
	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
)

// stopTimeout is above the sum of what the parts may take: Envoy 20 s, ext_proc 15 s, admin 3 s, saving 30 s.
const stopTimeout = 75 * time.Second

// serve runs the service until the context ends, with an Envoy of its own if child is set. file is where c was read
// from; hung are the requests to read it again, caught since before it was.
func serve(ctx context.Context, hung <-chan os.Signal, file string, c *config.Config, child *envoy.ChildConfig) error {
	outliveReaders()
	log, level, err := newLogger(c.Log)
	if err != nil {
		return err
	}
	secureProcess(file, log)
	files := tlsfile.New(log.Named("tls"))
	domain, err := domainConfig(c, files)
	if err != nil {
		return err
	}
	if err := outOfReach(c, servicePlaces(c)); err != nil {
		return err
	}
	if domain.Journal, err = openJournal(c.Store); err != nil {
		return err
	}
	// Vault may be sealed or down for a while; a file that cannot be opened stays so
	domain.WaitForStore = c.Store.Vault != nil
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the heap is small and most garbage is one request's: an eighth less CPU, measured
	}
	operators := adminConfig(c)
	operators.Files = files
	// a rolling restart: the old process drains while this one serves
	operators.Succeeds = extproc.Served(ctx, c.ExtProc.Listen)
	// an Envoy that cannot start comes too late to leave the socket alone
	if operators.Succeeds && child != nil {
		return fmt.Errorf(
			"listening for Envoy on %s: another tokenward serves there: stop it first, or choose another extproc.listen",
			c.ExtProc.Listen,
		)
	}
	held, err := bindPorts(ctx, c, child != nil, operators.Succeeds)
	if err != nil {
		return err
	}
	defer held.close()
	var store *tokenstore.Store
	app := fx.New(options(c, domain, held, operators, child, log), fx.Populate(&store))
	if err := app.Err(); err != nil {
		return rootCause(err)
	}
	startCtx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	switch err := app.Start(startCtx); {
	case ctx.Err() != nil:
		return nil // asked to stop before all was up; what had started is stopped again
	case err != nil:
		return rootCause(err)
	}
	at := []zap.Field{zap.String("extproc", c.ExtProc.Listen), zap.String("admin", c.Admin.Listen)}
	if child != nil {
		u := urlsOf(c)
		at = append(at, zap.String("gateway", u.gateway), zap.String("page", u.page), zap.String("try", u.try))
		if term.IsTerminal(int(os.Stdout.Fd())) {
			u.print(os.Stdout, c.Admin.TokenFile, slices.Concat(store.NotReady(), store.Degraded()))
		}
	}
	log.Info("serving", at...)
	for running := c; ctx.Err() == nil; {
		select {
		case <-hung:
			running = reload(file, running, level, log)
		case <-ctx.Done():
		}
	}
	log.Info("stopping: running refreshes and saves are finished first")
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return app.Stop(stopCtx)
}

// options is the graph. Its invokes state the start order; stopping is the reverse. Envoy comes first: whether it gets
// its ports is known before anything is refreshed, and a request that comes early is repeated until the service
// answers. The ext_proc server comes last: a start that fails must not have taken the socket from a process that
// serves.
func options(
	c *config.Config, domain tokenstore.Config, held ports, operators admin.Config, child *envoy.ChildConfig,
	log *zap.Logger,
) fx.Option {
	operators.Bound = held.admin
	edge := extprocConfig(c)
	edge.Bound, edge.Files = held.extproc, operators.Files
	return fx.Options(
		fx.StopTimeout(stopTimeout),
		fx.WithLogger(func() fxevent.Logger {
			l := &fxevent.ZapLogger{Logger: log.Named("fx")}
			l.UseLogLevel(zap.DebugLevel)
			l.UseErrorLevel(zap.DebugLevel) // what fails is returned and printed once
			return l
		}),
		fx.Supply(log, domain, edge, operators, operators.Files, c),
		fx.Provide(newRegistry, newMetrics, provideBackend,
			func(s *tokenstore.Store) extproc.Tokens { return s },
			func(s *tokenstore.Store, k *extproc.Socket) admin.Tokens { return operated{s, k} },
		),
		fx.Invoke(rereadFiles),
		domainModule, edgeModule, operatorsModule,
		envoyChild(child, fx.Invoke(func(*tokenstore.Store, *tokenstore.Renewer, *admin.Server, *extproc.Server) {})),
	)
}

// operated is what operators see: the domain, and whether Envoy comes to this process.
type operated struct {
	*tokenstore.Store
	socket *extproc.Socket
}

// NotReady implements admin.Tokens.
func (o operated) NotReady() []string { return slices.Concat(o.Store.NotReady(), o.socket.NotReady()) }

// envoyChild starts Envoy before the rest, if it is ours to run, and drains it before the rest stops.
func envoyChild(child *envoy.ChildConfig, rest fx.Option) fx.Option {
	if child == nil {
		return rest
	}
	return fx.Options(
		fx.Provide(func(log *zap.Logger) *envoy.Child { return envoy.NewChild(*child, log.Named("envoy")) }),
		fx.Invoke(func(lc fx.Lifecycle, c *envoy.Child) { lc.Append(fx.StartStopHook(c.Start, c.Stop)) }),
		rest,
		fx.Invoke(func(lc fx.Lifecycle, c *envoy.Child) { lc.Append(fx.StopHook(c.Stop)) }),
	)
}

func newRegistry() (*prometheus.Registry, prometheus.Registerer) {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tokenward", Name: "build_info", Help: "1; the labels say which build runs.",
	}, []string{"version", "commit", "go"})
	build.WithLabelValues(version, commit, runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r, r
}

func newMetrics(reg prometheus.Registerer, c *config.Config) *tokenstore.Metrics {
	return tokenstore.NewMetrics(reg, backendName(c.Store), c.Admin.AccountLabel)
}

// rereadFiles notices certificates that are renewed while the service runs.
func rereadFiles(lc fx.Lifecycle, reg prometheus.Registerer, files *tlsfile.Files) {
	reg.MustRegister(files)
	lc.Append(fx.StartStopHook(files.Start, files.Stop))
}

func provideBackend(
	lc fx.Lifecycle, c *config.Config, files *tlsfile.Files, reg prometheus.Registerer, log *zap.Logger,
) (tokenstore.Backend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := openBackend(ctx, c.Store, files, tokenstore.Secret{}, log.Named("store"))
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(b.Close))
	watchLogin(reg, backendName(c.Store), b)
	return b, nil
}

func newLogger(c config.Log) (*zap.Logger, zap.AtomicLevel, error) {
	z := zap.NewProductionConfig()
	if c.Format == "console" {
		z = zap.NewDevelopmentConfig()
		z.DisableStacktrace = true
	}
	z.EncoderConfig.EncodeTime = func(t time.Time, out zapcore.PrimitiveArrayEncoder) {
		out.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z07:00")) // RFC 3339
	}
	z.EncoderConfig.EncodeDuration = zapcore.MillisDurationEncoder
	level, err := zap.ParseAtomicLevel(c.Level)
	if err != nil {
		return nil, level, fmt.Errorf("log.level: %w", err)
	}
	z.Level, z.Sampling, z.DisableCaller = level, nil, true
	out, _, err := zap.Open(z.OutputPaths...)
	if err != nil {
		return nil, level, err
	}
	log, err := z.Build(zap.WrapCore(func(zapcore.Core) zapcore.Core { return logCore(z, out) }))
	return log, level, err
}

// rootCause strips dig's account of the graph: the user needs the cause.
func rootCause(err error) error { return dig.RootCause(err) }

// domainModule runs the Store and, as a background module of its own, the Renewer.
var domainModule = fx.Module("tokenstore", fx.Provide(
	func(
		lc fx.Lifecycle, cfg tokenstore.Config, b tokenstore.Backend, m *tokenstore.Metrics, log *zap.Logger,
	) (*tokenstore.Store, error) {
		s, err := tokenstore.New(cfg, b, m, log.Named("tokenstore"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
	func(lc fx.Lifecycle, s *tokenstore.Store) *tokenstore.Renewer {
		r := s.Renewer()
		lc.Append(fx.StartStopHook(r.Start, r.Stop))
		return r
	},
))

// edgeModule runs the ext_proc server.
var edgeModule = fx.Module("extproc", fx.Provide(
	func(cfg extproc.Config, log *zap.Logger) *extproc.Socket {
		return extproc.NewSocket(cfg, log.Named("extproc"))
	},
	func(
		lc fx.Lifecycle, cfg extproc.Config, socket *extproc.Socket, t extproc.Tokens, reg prometheus.Registerer,
		log *zap.Logger,
	) (*extproc.Server, error) {
		s, err := extproc.New(cfg, socket, t, reg, log.Named("extproc"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
))

// operatorsModule runs the admin server.
var operatorsModule = fx.Module("admin", fx.Provide(
	func(
		lc fx.Lifecycle, cfg admin.Config, t admin.Tokens, reg *prometheus.Registry, log *zap.Logger,
	) (*admin.Server, error) {
		s, err := admin.New(cfg, t, reg, log.Named("admin"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
))
