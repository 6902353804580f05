package tokenstore

import (
	"go.uber.org/fx"
	"go.uber.org/zap"
)

// Module runs the Store and its Renewer. It needs a Config, a Backend, *Metrics and a *zap.Logger.
var Module = fx.Module("tokenstore", fx.Provide(
	func(lc fx.Lifecycle, p storeParams) (*Store, error) {
		s, err := New(p.Config, p.Backend, p.Metrics, p.Log.Named("tokenstore"))
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StartStopHook(s.Start, s.Stop))
		return s, nil
	},
	func(lc fx.Lifecycle, s *Store) *Renewer {
		r := s.Renewer()
		lc.Append(fx.StartStopHook(r.Start, r.Stop))
		return r
	},
))

type storeParams struct {
	fx.In

	Config  Config
	Backend Backend
	Metrics *Metrics
	Log     *zap.Logger
}
