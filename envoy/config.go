package envoy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Names that users see in Envoy's stats and logs.
const (
	ListenerIn      = "tokenward_in"
	ListenerAttempt = "tokenward_attempt"
	FilterAttempt   = "tokenward.attempt"
	clusterService  = "tokenward"
	ListenerAdmin   = "tokenward_admin" // and the cluster of the admin socket
)

// OwnClusters are the clusters that are not upstreams.
func OwnClusters() []string { return []string{clusterService, ListenerAttempt, ListenerAdmin} }

// What the outer listener lets in by Envoy's defaults, 100 headers and 60 KiB, must still fit when the facts of the
// request, its token and the configured headers have been added. The same holds for a provider's answer on the way out.
const (
	innerHeaders   = 256
	innerHeadersKB = 128
)

// restartReserve is how many retries are kept beyond a route's attempts for those that the service did not answer,
// since it died: the next one waits for its successor. The service counts a request's attempts itself.
const restartReserve = 3

// Config is what the generated configuration depends on.
type Config struct {
	Listen string // clients call here, HOST:PORT
	// Admin is where Envoy's readiness and statistics can be read, HOST:PORT. Nothing else is served there.
	Admin string
	// AdminSocket is the absolute path of a Unix socket for the whole admin interface; "": there is none.
	AdminSocket    string
	CertFile       string // with KeyFile: TLS for clients
	KeyFile        string
	RetryBodyLimit uint32        // bytes of a request body kept for retries; larger bodies are sent once
	MaxHeap        uint64        // bytes of memory that Envoy may use
	MaxConnections uint32        // of clients, at once
	UploadTimeout  time.Duration // for a whole request, head and body, to come in
	ExtProc        string        // unix:/absolute/path or tcp://HOST:PORT
	ExtProcTLS     bool          // TLS towards the service
	ExtProcCAFile  string
	// What Envoy shows to the service, and the name that it wants in the service's certificate; "": the host of ExtProc.
	ExtProcCertFile, ExtProcKeyFile, ExtProcSAN string
	Upstreams                                   []Upstream
	Routes                                      []Route
	// headers of requests and answers that the service must see, besides its own
	ForwardHeaders []string
	// RemovedHeaders are removed from what clients send; so are names that end in -NAME, and spellings with _ for -.
	RemovedHeaders []string
	HiddenHeaders  []string      // of answers, which clients do not see unless the route reveals them
	ServiceWait    time.Duration // how long a request waits for a service that is not there
	RetryAfter     time.Duration // what a client is told then
	LongestHold    time.Duration // the longest time the service holds an answer
	SystemCAFile   string        // trust anchor of upstreams without their own; "": the usual places are searched
	// LoopbackOnly says that clients are of this host, and nothing else is known of them: only Host names that lead here
	// from nowhere else are served, and those that a route names.
	LoopbackOnly bool
	// Origins are the web pages that may call, besides the listener's own: an Origin, one that ends in * for all that
	// begin so, or * for all.
	Origins []string
	// TrustedProxies, as ADDRESS/BITS, are the only ones whose TenantHeader is believed.
	TrustedProxies []string
}

// Upstream becomes a cluster.
type Upstream struct {
	Name     string // of the cluster
	URL      string // http(s)://HOST[:PORT]
	CAFile   string
	Protocol string // auto, http1, http2
}

// Route becomes a route of the outer listener.
type Route struct {
	Name         string
	Prefix       string
	Hosts        []string
	Attempts     int
	Tenant       string
	TenantHeader string
	Methods      []string // that clients may use; every other one is refused
	WebSocket    bool     // clients may ask for an upgrade
	// KeepEscapedSlashes lets paths with %2F through as they are.
	KeepEscapedSlashes bool
	RevealHeaders      []string // of HiddenHeaders, those that clients see after all
}

// endpoint is an upstream's URL taken apart.
type endpoint struct {
	host string
	port uint32
	tls  bool
	ip   bool
}

func parseURL(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return endpoint{}, fmt.Errorf("upstream URL %q: use http(s)://HOST[:PORT] without a path", raw)
	}
	e := endpoint{host: u.Hostname(), port: 80, tls: u.Scheme == "https", ip: net.ParseIP(u.Hostname()) != nil}
	if e.tls {
		e.port = 443
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return endpoint{}, fmt.Errorf("upstream URL %q: the port is no number below 65536", raw)
		}
		e.port = uint32(n)
	}
	return e, nil
}

func splitAddress(address string) (string, uint32, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: use HOST:PORT", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: the port is no number below 65536", address)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	return host, uint32(n), nil
}

var systemCAFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

func systemCA() (string, error) {
	for _, f := range systemCAFiles {
		if _, err := os.Stat(f); err == nil {
			return f, nil
		}
	}
	return "", errors.New(
		"the system's certificate bundle was not found: install ca-certificates, or give the upstream a ca_file",
	)
}
