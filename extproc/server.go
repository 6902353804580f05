package extproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tokenward/tokenward/tlsfile"
)

const (
	trailsMost = 100_000
	drainTime  = 15 * time.Second
)

// Config says where the service listens.
type Config struct {
	Listen       string         // unix:PATH or tcp://HOST:PORT
	CertFile     string         // with KeyFile: TLS, for TCP
	KeyFile      string         //
	ClientCAFile string         // clients must show a certificate of this authority, over TCP
	ClientSANs   []string       // that is for one of these names
	Files        *tlsfile.Files // reads these files again; nil: they are read once
	// InsecureLoopback gives tokens to every local user: TCP on a loopback address without ClientCAFile is refused
	// otherwise.
	InsecureLoopback bool
	// members of this group may connect to the Unix socket, beside our own user; nil: nobody else
	SocketGID      *int
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
	gate     *gate
	grpc     *grpc.Server // nil until Start: its workers run before it serves
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
	var err error
	s.gate, err = newGate(cfg, reg, log)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open makes the gRPC server, which runs workers from now on until it is stopped.
func (s *Server) open() {
	s.grpc = grpc.NewServer(append(bounds(), grpc.Creds(s.gate), grpc.ChainStreamInterceptor(s.survive))...)
	extprocv3.RegisterExternalProcessorServer(s.grpc, s)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
}

// Start listens and serves. A Unix socket that is already there is taken over: the process that held it keeps its
// connections until it has drained them. If this process ends first, that one takes the path back.
func (s *Server) Start(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.open()
	s.serve(l)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
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
	l := s.cfg.Bound
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", strings.TrimPrefix(s.cfg.Listen, "tcp://")); err != nil {
			return nil, fmt.Errorf("listening for Envoy on %s: %w: choose another extproc.listen", s.cfg.Listen, err)
		}
	}
	if err := s.cfg.guarded(l.Addr()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if s.cfg.ClientCAFile == "" {
		s.log.Warn("extproc.insecure_loopback: every user of this machine gets tokens at " + l.Addr().String())
	}
	s.socket.lost.Store(nil)
	return l, nil
}

// guarded returns an error if tokens would go to whoever reaches a TCP address.
func (c Config) guarded(address net.Addr) error {
	tcp, ok := address.(*net.TCPAddr)
	local := ok && tcp.IP.IsLoopback()
	switch {
	case c.ClientCAFile != "" && c.CertFile != "" && len(c.ClientSANs) > 0, local && c.InsecureLoopback:
		return nil
	case local:
		return fmt.Errorf("listening for Envoy on %s: every local user would get tokens there: "+
			"give extproc.tls with client_ca_file and client_san, use unix:PATH, or say extproc.insecure_loopback: true",
			c.Listen)
	}
	return fmt.Errorf("listening for Envoy on %s: whoever reaches it would get tokens: "+
		"give extproc.tls with client_ca_file and client_san, or use unix:PATH", c.Listen)
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
