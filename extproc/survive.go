package extproc

import (
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// survive ends a stream whose handler panics, and that one alone: gRPC would let the process end.
func (s *Server) survive(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.tokens.Panicked("an ext_proc stream", p, debug.Stack())
			err = status.Error(codes.Internal, "the service failed at this message: see its log")
		}
	}()
	return next(srv, st)
}
