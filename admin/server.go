package admin

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tlsfile"
)

//go:embed openapi.yaml
var openapi []byte

//go:embed page
var pageFiles embed.FS

// Config says where the admin edge listens and who may use it.
type Config struct {
	Listen       string // HOST:PORT
	TokenFile    string // created (0600) when missing
	CertFile     string // with KeyFile: TLS
	KeyFile      string
	ClientCAFile string
	Files        *tlsfile.Files // reads these files again; nil: they are read once
	MetricsAuth  bool           // /metrics needs the token too
	// Exposed: others than this machine reach Listen. Why the service is not ready, which names accounts, is then for
	// callers with the token alone.
	Exposed bool
	// Bound is Listen, bound already; nil: Start binds it.
	Bound net.Listener
	// Succeeds: a predecessor still serves. When Listen is in use it is waited for, in the background, until it is free.
	Succeeds bool
}

// Server is the admin HTTP server.
type Server struct {
	cfg      Config
	tokens   Tokens
	log      *zap.Logger
	token    string
	sessions sessions
	jobs     *jobs
	tls      *tlsfile.Server // nil: plain HTTP
	http     *http.Server
	listener net.Listener // nil until the address is bound
	waiting  context.CancelFunc
	served   chan struct{}
}

// New prepares the server. It reads, or creates, the token file.
func New(cfg Config, t Tokens, reg *prometheus.Registry, log *zap.Logger) (*Server, error) {
	token, err := loadToken(cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		tokens:   t,
		log:      log,
		token:    token,
		sessions: sessions{ids: map[string]time.Time{}},
		jobs:     newJobs(t),
		served:   make(chan struct{}),
	}
	s.http = &http.Server{
		Handler: s.checked(s.mux(reg)), ErrorLog: zap.NewStdLog(log), ConnContext: withConnection, MaxHeaderBytes: mostHeader,
		ReadHeaderTimeout: headWithin, ReadTimeout: requestWithin, WriteTimeout: answerWithin, IdleTimeout: idleFor,
	}
	if cfg.CertFile != "" {
		if s.tls, err = cfg.Files.Server("admin.tls", cfg.CertFile, cfg.KeyFile, cfg.ClientCAFile); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) mux(reg *prometheus.Registry) *http.ServeMux {
	m := http.NewServeMux()
	allowed := map[string][]string{}
	for pattern, h := range s.api() {
		m.Handle(pattern, s.guarded(h))
		method, path, _ := strings.Cut(pattern, " ")
		allowed[path] = append(allowed[path], method)
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		m.HandleFunc(path, wrongMethod(strings.Join(methods, ", ")))
	}
	m.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "unknown-call", "there is no such call: see /api/admin/openapi.yaml for those there are")
	})
	m.HandleFunc("POST /login", s.login)
	m.HandleFunc("POST /logout", s.logout)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		m.HandleFunc(path, wrongMethod("GET"))
	}
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, api.Health{Status: "ok"})
	})
	m.HandleFunc("GET /readyz", s.readyz)
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})
	if s.cfg.MetricsAuth {
		metrics = s.guarded(metrics.ServeHTTP)
	}
	m.Handle("GET /metrics", metrics)
	files, _ := fs.Sub(pageFiles, "page")   // the folder is embedded
	m.Handle("/", http.FileServerFS(files)) // without a method: "GET /" would overlap with /api/
	return m
}

// api is what openapi.yaml documents, by pattern; all of it needs the token.
func (s *Server) api() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /api/admin/oauth/refresh":  s.getRefresh,
		"POST /api/admin/oauth/refresh": s.postRefresh,
		"GET /api/admin/jobs/{id}":      s.getJob,
		"GET /api/admin/openapi.yaml": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(openapi)
		},
	}
}

func wrongMethod(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		fail(w, http.StatusMethodNotAllowed, "wrong-method", "this call does not take "+r.Method+": use "+allowed)
	}
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	status, text, why := http.StatusOK, "ready", s.tokens.NotReady()
	if len(why) > 0 {
		status, text = http.StatusServiceUnavailable, "not_ready"
	} else if why = s.tokens.Degraded(); len(why) > 0 {
		text = "degraded"
	}
	answer := api.Readiness{Status: text}
	if !s.cfg.Exposed || s.authorised(r) {
		answer.Reasons = why
	}
	write(w, status, answer)
}

// handOver is how often a successor looks whether its predecessor has left the address.
const handOver = 100 * time.Millisecond

// Start listens and serves.
func (s *Server) Start(ctx context.Context) error {
	l, err := s.listen(ctx)
	switch {
	case err == nil:
		s.listener = l
		go s.serve(l)
	case s.cfg.Succeeds && errors.Is(err, syscall.EADDRINUSE):
		s.log.Warn("admin.listen is still held by the service that this one succeeds: waiting for it to stop",
			zap.String("address", s.cfg.Listen))
		wait, cancel := context.WithCancel(context.Background())
		s.waiting = cancel
		go s.serveWhenFree(wait) //nolint:contextcheck // until Stop: ctx is only of Start
	default:
		return fmt.Errorf(
			"listening for operators on %s: %w: stop the tokenward that runs there, or choose another admin.listen",
			s.cfg.Listen, err,
		)
	}
	return nil
}

func (s *Server) listen(ctx context.Context) (l net.Listener, err error) {
	if l = s.cfg.Bound; l == nil {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	}
	if err != nil {
		return nil, err
	}
	l = &bounded{Listener: l, most: mostConnections}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls.Config(nil))
	}
	return l, nil
}

func (s *Server) serve(l net.Listener) {
	defer close(s.served)
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("serving the admin API ended", zap.Error(err))
	}
}

func (s *Server) serveWhenFree(ctx context.Context) {
	tick := time.NewTicker(handOver)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			close(s.served)
			return
		case <-tick.C:
		}
		if l, err := s.listen(ctx); err == nil {
			s.log.Info("admin.listen is free: serving operators", zap.String("address", s.cfg.Listen))
			s.serve(l)
			return
		}
	}
}

// Addr is the address that Start bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop finishes running calls within three seconds.
func (s *Server) Stop(ctx context.Context) error {
	if s.listener == nil && s.waiting == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if s.waiting != nil {
		s.waiting()
	}
	s.jobs.end() // calls that wait for a job are answered
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.served
	s.jobs.stop()
	return err
}
