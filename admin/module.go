package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/zap"
)

// Module runs the admin server. It needs a Config, Tokens, a *prometheus.Registry and a *zap.Logger.
var Module = fx.Module("admin", fx.Provide(
	func(lc fx.Lifecycle, cfg Config, t Tokens, reg *prometheus.Registry, log *zap.Logger) (*Server, error) {
		s, err := New(cfg, t, reg, log.Named("admin"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
))
