package extproc

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
)

// Module runs the ext_proc server. It needs a Config, Tokens, a prometheus.Registerer and a *zap.Logger.
var Module = fx.Module("extproc", fx.Provide(
	func(cfg Config, log *zap.Logger) *Socket { return NewSocket(cfg, log.Named("extproc")) },
	func(
		lc fx.Lifecycle, cfg Config, socket *Socket, t Tokens, reg prometheus.Registerer, log *zap.Logger,
	) (*Server, error) {
		s, err := New(cfg, socket, t, reg, log.Named("extproc"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
))
