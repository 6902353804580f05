package extproc

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// What one peer may use up.
const (
	mostStreams    = 1024      // of a connection; Envoy opens another then
	largestMessage = 2 << 20   // bytes: an error's body of 1 MiB, as the inner listener allows, and its headers
	mostMetadata   = 128 << 10 // bytes
	connectWithin  = 10 * time.Second
)

// streamWorkers are goroutines that serve one stream after the other. A new goroutine's stack grows some times until a
// message is encoded, which is a sixth of what an attempt costs; a worker's has grown. Streams beyond them get a
// goroutine of their own.
const streamWorkers = 256

// bounds end connections that do not come about or whose peer is gone. Envoy's own pings, one in 30 s, are welcome: by
// gRPC's defaults they would end its idle connection.
func bounds() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(mostStreams), grpc.MaxRecvMsgSize(largestMessage), grpc.MaxHeaderListSize(mostMetadata),
		grpc.ConnectionTimeout(connectWithin), grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
}
