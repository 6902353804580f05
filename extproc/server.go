package extproc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	trailsMost = 100_000
	drainTime  = 15 * time.Second
)

// Config says where the service listens.
type Config struct {
	Listen         string              // unix:PATH or tcp://HOST:PORT
	CertFile       string              // with KeyFile: TLS, for TCP
	KeyFile        string              //
	ClientCAFile   string              // clients must show a certificate of this authority
	TrailAge       time.Duration       // longer than every route's recovery_timeout
	RevealAttempts map[string]bool     // by route
	Upstreams      map[string][]string // by route; their counters begin at 0
	Bound          net.Listener        // the TCP address, bound already; nil: Start binds it
	// What clients send as credentials beside headers: query keys in lower case with -, WebSocket subprotocols.
	CredentialQueryKeys, CredentialProtocols []string
}

// Server is the gRPC server that Envoy's ext_proc filter calls.
type Server struct {
	extprocv3.UnimplementedExternalProcessorServer
	cfg      Config
	tokens   Tokens
	log      *zap.Logger
	trails   *trails
	metrics  *metrics
	grpc     *grpc.Server
	health   *health.Server
	socket   *Socket
	scrub    *scrub
	listener net.Listener // nil until Start; then the watch's, until it has ended
	unwatch  context.CancelFunc
	watching sync.WaitGroup
	serving  sync.WaitGroup
}

// New prepares a Server; no I/O but reading the TLS files. The socket is of the same Config.
func New(cfg Config, socket *Socket, tokens Tokens, reg prometheus.Registerer, log *zap.Logger) (*Server, error) {
	held := newTrails(trailsMost, cfg.TrailAge)
	m := newMetrics(reg, held)
	m.begin(cfg.Upstreams)
	s := &Server{cfg: cfg, tokens: tokens, log: log, trails: held, metrics: m, health: health.NewServer(), socket: socket}
	s.scrub = newScrub(cfg.CredentialQueryKeys, cfg.CredentialProtocols)
	opts := bounds()
	if cfg.CertFile != "" {
		c, err := serverTLS(cfg)
		if err != nil {
			return nil, err
		}
		opts = append(opts, grpc.Creds(credentials.NewTLS(c)))
	}
	s.grpc = grpc.NewServer(opts...)
	extprocv3.RegisterExternalProcessorServer(s.grpc, s)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	return s, nil
}

// Start listens and serves. A Unix socket that is already there is taken over: the process that held it keeps its
// connections until it has drained them. If this process ends first, that one takes the path back.
func (s *Server) Start(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.serve(l)
	life, cancel := context.WithCancel(context.Background())
	s.unwatch = cancel
	if s.socket.path != "" {
		s.watching.Go(func() { s.watch(life) })
	}
	return nil
}

// Stop drains: Envoy is told to open no more streams here, running attempts go on to their end, at most 15 seconds.
// What is left then is cut, which costs no request: its answer passes, and a held refusal is retried.
func (s *Server) Stop(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	s.unwatch()
	s.watching.Wait()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	s.health.Shutdown()
	drained := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
	}
	s.serving.Wait()
	return nil
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.socket.path != "" {
		return s.socket.listen(ctx)
	}
	s.socket.lost.Store(nil)
	if s.cfg.Bound != nil {
		return s.cfg.Bound, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", strings.TrimPrefix(s.cfg.Listen, "tcp://"))
	if err != nil {
		return nil, fmt.Errorf("listening for Envoy on %s: %w: choose another extproc.listen", s.cfg.Listen, err)
	}
	return l, nil
}

// serve answers whoever connects to l, until it is closed.
func (s *Server) serve(l net.Listener) {
	s.listener = l
	s.serving.Go(func() {
		if err := s.grpc.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("serving ext_proc ended", zap.Error(err))
		}
	})
}

// watch takes the socket's path back when a process that had taken it over is gone.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l := s.socket.look(ctx); l != nil {
			_ = s.listener.Close() // nothing leads to it any more; its connections go on
			s.serve(l)
		}
	}
}

func serverTLS(cfg Config) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading extproc.tls: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if cfg.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("loading extproc.tls.client_ca_file: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("loading extproc.tls.client_ca_file: %s holds no certificate", cfg.ClientCAFile)
	}
	return c, nil
}
