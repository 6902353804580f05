package extproc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
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
	Listen         string          // unix:PATH or tcp://HOST:PORT
	CertFile       string          // with KeyFile: TLS, for TCP
	KeyFile        string          //
	ClientCAFile   string          // clients must show a certificate of this authority
	TrailAge       time.Duration   // longer than every route's recovery_timeout
	RevealAttempts map[string]bool // by route
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
	listener net.Listener
	served   chan struct{}
}

// New prepares a Server; no I/O but reading the TLS files.
func New(cfg Config, tokens Tokens, reg prometheus.Registerer, log *zap.Logger) (*Server, error) {
	held := newTrails(trailsMost, cfg.TrailAge)
	s := &Server{cfg: cfg, tokens: tokens, log: log, trails: held, metrics: newMetrics(reg, held), health: health.NewServer(), served: make(chan struct{})}
	var opts []grpc.ServerOption
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
// connections until it has drained them.
func (s *Server) Start(ctx context.Context) error {
	l, err := listen(ctx, s.cfg.Listen)
	if err != nil {
		return err
	}
	s.listener = l
	go func() {
		defer close(s.served)
		if err := s.grpc.Serve(l); err != nil {
			s.log.Error("serving ext_proc ended", zap.Error(err))
		}
	}()
	return nil
}

// Stop drains: Envoy is told to open no more streams here, running attempts go on to their end, at most 15 seconds.
// What is left then is cut, which costs no request: its answer passes, and a held refusal is retried.
func (s *Server) Stop(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
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
	<-s.served
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", strings.TrimPrefix(address, "tcp://"))
		if err != nil {
			return nil, fmt.Errorf("listening for Envoy on %s: %w: choose another extproc.listen", address, err)
		}
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the socket %s: %w", path, err)
	}
	return takeOver(ctx, path)
}

// takeOver binds the path by way of a rename, so that at every instant somebody listens on it.
func takeOver(ctx context.Context, path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("listening for Envoy on %s: the path exists and is no socket: remove it or choose another extproc.listen", path)
	}
	fresh := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid())) // short: a socket's path has at most 107 bytes
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listening for Envoy on %s: %w: choose another extproc.listen", path, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // by then the path may be a successor's
	}
	if err := errors.Join(os.Chmod(fresh, 0o660), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Served reports whether a process answers on a Unix socket that Start would take over.
func Served(ctx context.Context, address string) bool {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return false
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
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
