package envoy_test

import (
	"fmt"
	"time"

	"github.com/tokenward/tokenward/envoy"
)

func ExampleBuild() {
	bootstrap, err := envoy.Build(envoy.Config{
		Listen: "127.0.0.1:10000", Admin: "127.0.0.1:9901", LoopbackOnly: true,
		ExtProc: "unix:/run/tokenward/extproc.sock",
		Upstreams: []envoy.Upstream{
			{Name: "anthropic", URL: "https://api.anthropic.com", CAFile: "/etc/ssl/certs/ca-certificates.crt", Protocol: "auto"},
		},
		Routes: []envoy.Route{
			{Name: "messages", Prefix: "/v1/", Hosts: []string{"*"}, Attempts: 3, Methods: []string{"POST"}},
		},
		RetryBodyLimit: 32 << 20, MaxHeap: 1 << 30, MaxConnections: 1024, UploadTimeout: time.Minute,
		ServiceWait: 2500 * time.Millisecond, RetryAfter: 2 * time.Second, LongestHold: 15 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range bootstrap.GetStaticResources().GetListeners() {
		fmt.Println("listener", l.GetName())
	}
	for _, c := range bootstrap.GetStaticResources().GetClusters() {
		fmt.Println("cluster", c.GetName())
	}
	text, err := envoy.YAML(bootstrap) // what envoy -c takes
	fmt.Println(len(text) > 1000, err)

	// Output:
	// listener tokenward_in
	// listener tokenward_attempt
	// cluster tokenward_attempt
	// cluster tokenward
	// cluster anthropic
	// true <nil>
}
