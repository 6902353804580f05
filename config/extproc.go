package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// This file is about the extproc section: tokens go to whoever may open a stream there.

// checkExtProc refuses whatever would give tokens to somebody else than our Envoy.
func (k *checker) checkExtProc(address func(path, a string, secured bool, remedy string)) {
	e := k.config.ExtProc
	if tcp, isTCP := strings.CutPrefix(e.Listen, "tcp://"); isTCP {
		address("extproc.listen", tcp, true, "")
		if _, _, err := net.SplitHostPort(tcp); err == nil {
			k.checkPeers(tcp)
		}
		return
	}
	if !strings.HasPrefix(e.Listen, "unix:") || len(e.Listen) == len("unix:") {
		k.bad("extproc.listen", e.Listen, "must be unix:PATH or tcp://HOST:PORT", "")
		return
	}
	const remedy = "remove it, or listen on tcp://HOST:PORT"
	if e.TLS != (TLS{}) || len(e.ClientSANs) > 0 || e.EnvoyCertFile+e.EnvoyKeyFile+e.ServerCAFile+e.ServerSAN != "" {
		k.bad("extproc.tls", "", "is not for a Unix socket, whose peers the kernel names", remedy)
	}
	if e.Connect != "" {
		k.bad("extproc.connect", e.Connect, "is not for a Unix socket", remedy)
	}
	if e.InsecureLoopback {
		k.bad("extproc.insecure_loopback", "true", "is not for a Unix socket", remedy)
	}
}

// checkPeers checks how Envoy is told from others over TCP.
func (k *checker) checkPeers(listen string) {
	e := k.config.ExtProc
	const mutual = "give extproc.tls with cert_file, key_file, client_ca_file, client_san, envoy_cert_file and " +
		"envoy_key_file"
	switch {
	case e.InsecureLoopback && !loopback(listen):
		k.bad("extproc.insecure_loopback", "true", "is for a loopback address alone", mutual+", or use unix:PATH")
	case e.TLS.ClientCAFile != "":
		k.checkMutual()
	case e.InsecureLoopback:
	case loopback(listen):
		k.bad("extproc.listen", e.Listen, "would give tokens to every user of this machine",
			mutual+", use unix:PATH, or say extproc.insecure_loopback: true")
	default:
		k.bad("extproc.listen", e.Listen, "would give tokens to whoever reaches it", mutual+", or use unix:PATH")
	}
	if e.SocketGID != nil {
		k.bad("extproc.socket_gid", strconv.Itoa(*e.SocketGID), "is for a Unix socket", "remove it")
	}
	if e.Connect == "" {
		return
	}
	host, port, err := net.SplitHostPort(e.Connect)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || strings.Trim(port, "0") == "" {
		k.bad("extproc.connect", e.Connect, "must be the HOST:PORT where Envoy reaches extproc.listen", "")
		return
	}
	if e.InsecureLoopback && !loopback(e.Connect) {
		k.bad("extproc.connect", e.Connect, "is not on this machine, for which alone insecure_loopback is: "+
			"tokens would go to whoever reaches it", mutual+", or remove connect")
	}
}

func (k *checker) checkMutual() {
	e := k.config.ExtProc
	if len(e.ClientSANs) == 0 {
		k.bad("extproc.tls.client_san", "", "must list the names of which Envoy's certificate carries one",
			"e.g. [envoy.internal] or [spiffe://example.org/envoy]: not all whom client_ca_file signs for are to get tokens")
	}
	for _, name := range e.ClientSANs {
		u, err := url.Parse(name)
		if name == "" || strings.ContainsAny(name, "*, ") || strings.Contains(name, "://") && (err != nil || u.Host == "") {
			k.bad("extproc.tls.client_san", name, "must be DNS names, IP addresses or URIs, without wildcards", "")
		}
	}
	if e.EnvoyCertFile == "" || e.EnvoyKeyFile == "" {
		k.bad("extproc.tls", "",
			"needs envoy_cert_file and envoy_key_file, as client_ca_file asks Envoy for a certificate",
			"give their paths as Envoy sees them")
	}
}
