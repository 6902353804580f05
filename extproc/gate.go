package extproc

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Why a peer gets nothing, for the metric peers_refused_total.
const (
	refusedUser        = "user"        // of the Unix socket
	refusedCertificate = "certificate" // none, or one of another authority
	refusedName        = "name"        // a certificate for somebody else
)

// sayEvery is how often refused peers are logged at most.
const sayEvery = 10 * time.Second

// gate lets in who may have tokens: on a Unix socket by the peer's user and groups, over TCP by its certificate. It
// stands where gRPC takes its credentials, before a byte of the peer is read.
type gate struct {
	credentials.TransportCredentials
	users   users
	log     *zap.Logger
	refused *prometheus.CounterVec
	said    atomic.Int64 // when a refusal was logged last, Unix nanoseconds
}

func newGate(cfg Config, reg prometheus.Registerer, log *zap.Logger) (*gate, error) {
	g := &gate{TransportCredentials: insecure.NewCredentials(), users: newUsers(cfg.SocketGID), log: log}
	if cfg.CertFile != "" {
		c, err := serverTLS(cfg)
		if err != nil {
			return nil, err
		}
		g.TransportCredentials = credentials.NewTLS(c)
	}
	g.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tokenward", Name: "peers_refused_total",
		Help: "Connections to extproc.listen of somebody who is not our Envoy.",
	}, []string{"reason"})
	for _, reason := range []string{refusedUser, refusedCertificate, refusedName} {
		g.refused.WithLabelValues(reason)
	}
	reg.MustRegister(g.refused)
	return g, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (g *gate) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if local, ok := c.(*net.UnixConn); ok {
		if err := g.users.admit(local); err != nil {
			return nil, nil, g.refuse(refusedUser, "unix", err)
		}
	}
	conn, info, err := g.TransportCredentials.ServerHandshake(c)
	if err != nil {
		return nil, nil, g.refuse(refusal(err), c.RemoteAddr().String(), err)
	}
	return conn, info, nil
}

// Clone implements credentials.TransportCredentials.
func (g *gate) Clone() credentials.TransportCredentials { return g }

// broken is the other side's no: it does not trust our certificate. Nobody was refused, but Envoy does not say why.
const broken = "handshake"

// refusal is why a handshake failed; "": the peer left, or the network did.
func refusal(err error) string {
	var name *nameError
	var network net.Error
	var alert *net.OpError
	switch {
	case errors.As(err, &name):
		return refusedName
	case errors.As(err, &alert) && alert.Op == "remote error":
		return broken
	case errors.Is(err, io.EOF), errors.As(err, &network):
		return ""
	}
	return refusedCertificate
}

// refuse counts and, not too often, logs a peer that gets nothing.
func (g *gate) refuse(reason, from string, err error) error {
	said := "refused a connection to extproc.listen: it is not our Envoy's"
	switch reason {
	case "":
		return err
	case broken:
		said = "a connection to extproc.listen broke off: if it was Envoy's, it does not trust extproc.tls.cert_file " +
			"(extproc.tls.server_ca_file and server_san are what it looks at)"
	default:
		g.refused.WithLabelValues(reason).Inc()
	}
	last, now := g.said.Load(), time.Now().UnixNano()
	if now-last >= int64(sayEvery) && g.said.CompareAndSwap(last, now) {
		g.log.Warn(said, zap.String("reason", reason), zap.String("from", from), zap.Error(err))
	}
	return err
}
