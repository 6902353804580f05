package config

import (
	"strings"
	"testing"
)

// mutual is a complete tls for extproc, less the keys that are left out.
func mutual(without ...string) string {
	keys := "cert_file: e.crt, key_file: e.key, client_ca_file: e.ca, client_san: [envoy.example], " +
		"envoy_cert_file: c.crt, envoy_key_file: c.key"
	var kept []string
next:
	for key := range strings.SplitSeq(keys, ", ") {
		for _, w := range without {
			if strings.HasPrefix(key, w+":") {
				continue next
			}
		}
		kept = append(kept, key)
	}
	return "tls: { " + strings.Join(kept, ", ") + " }"
}

func TestTokensGoToNobodyButOurEnvoy(t *testing.T) {
	const anywhere, local = "listen: 'tcp://0.0.0.0:9002'", "listen: 'tcp://127.0.0.1:9002'"
	for _, c := range []struct{ section, want string }{ // of what is wrong; "": it is valid
		{"listen: unix:./run/x.sock", ""},
		{"listen: unix:./run/x.sock, socket_gid: 0", ""},
		{"listen: unix:./run/x.sock, socket_gid: ''", ""},
		{"listen: unix:./run/x.sock, socket_gid: 1000", ""},
		{"listen: unix:./run/x.sock, socket_gid: -1", "extproc.socket_gid"},
		{"listen: unix:./run/x.sock, socket_gid: envoy", "extproc.socket_gid"},
		{"listen: unix:./run/x.sock, " + mutual(), "is not for a Unix socket"},
		{"listen: unix:./run/x.sock, tls: { client_san: [x] }", "is not for a Unix socket"},
		{"listen: unix:./run/x.sock, insecure_loopback: true", "is not for a Unix socket"},
		{"listen: unix:./run/x.sock, connect: 'x:1'", "is not for a Unix socket"},

		{anywhere, "would give tokens to whoever reaches it"},
		{anywhere + ", tls: { cert_file: e.crt, key_file: e.key }", "would give tokens to whoever reaches it"},
		{anywhere + ", insecure_loopback: true", "is for a loopback address alone"},
		{anywhere + ", insecure_loopback: true, " + mutual(), "is for a loopback address alone"},
		{"listen: 'tcp://:9002', insecure_loopback: true", "is for a loopback address alone"},
		{"listen: 'tcp://[::]:9002', insecure_loopback: true", "is for a loopback address alone"},
		{"listen: 'tcp://tokenward.example:9002', insecure_loopback: true", "is for a loopback address alone"},
		{anywhere + ", " + mutual(), ""},
		{anywhere + ", connect: 'tokenward.example:9002', " + mutual(), ""},
		{anywhere + ", connect: 'tokenward.example', " + mutual(), "must be the HOST:PORT"},
		{anywhere + ", connect: ':9002', " + mutual(), "must be the HOST:PORT"},
		{anywhere + ", " + mutual("client_ca_file"), "would give tokens to whoever reaches it"},
		{anywhere + ", " + mutual("client_san"), "must list the names"},
		{anywhere + ", " + mutual("cert_file"), "needs both cert_file and key_file"},
		{anywhere + ", " + mutual("envoy_cert_file"), "needs envoy_cert_file and envoy_key_file"},
		{anywhere + ", " + mutual("envoy_key_file"), "needs envoy_cert_file and envoy_key_file"},
		{anywhere + ", " + strings.Replace(mutual(), "[envoy.example]", "['*.example']", 1), "without wildcards"},
		{anywhere + ", " + strings.Replace(mutual(), "[envoy.example]", "['spiffe://']", 1), "without wildcards"},
		{anywhere + ", " + strings.Replace(mutual(), "[envoy.example]", "['']", 1), "without wildcards"},
		{anywhere + ", " + strings.Replace(mutual(), "[envoy.example]", "[]", 1), "must list the names"},
		{anywhere + ", " + strings.Replace(mutual(), "c.key", "e.ca", 1), ""}, // c.crt is on Envoy's machine
		{anywhere + ", " + strings.Replace(mutual(), "c.crt", "e.crt", 1), ""},
		{anywhere + ", " + strings.NewReplacer("c.crt", "e.crt", "c.key", "a.ca").Replace(mutual()), "are no pair"},

		{local, "would give tokens to every user of this machine"},
		{"listen: 'tcp://localhost:9002'", "would give tokens to every user of this machine"},
		{"listen: 'tcp://[::1]:9002'", "would give tokens to every user of this machine"},
		{local + ", tls: { cert_file: e.crt, key_file: e.key }", "would give tokens to every user of this machine"},
		{local + ", insecure_loopback: true", ""},
		{local + ", insecure_loopback: true, connect: 'localhost:9003'", ""},
		{local + ", insecure_loopback: true, connect: '[::1]:9003'", ""},
		{local + ", insecure_loopback: true, connect: 'tokenward.example:9002'", "is not on this machine"},
		{local + ", insecure_loopback: true, connect: '10.0.0.7:9002'", "is not on this machine"},
		{local + ", insecure_loopback: true, connect: 'localhost.example:9002'", "is not on this machine"},
		{local + ", insecure_loopback: true, connect: '10.0.0.7:9002', " + mutual(), "is not on this machine"},
		{local + ", connect: '10.0.0.7:9002', " + mutual(), ""},
		{local + ", insecure_loopback: true, tls: { cert_file: e.crt, key_file: e.key }", ""},
		{local + ", " + mutual(), ""},
		{local + ", socket_gid: 7, " + mutual(), "is for a Unix socket"},
	} {
		text := "extproc: { " + c.section + " }\n"
		if c.want == "" {
			mustLoad(t, smallest+text)
		} else {
			refusedWith(t, text, c.want)
		}
	}
}

func TestWhatIsPrintedOfExtProcLoadsToTheSame(t *testing.T) {
	for _, section := range []string{
		"socket_gid: 7", "listen: 'tcp://127.0.0.1:9002', insecure_loopback: true",
		"listen: 'tcp://127.0.0.1:9002', " + mutual(),
	} {
		a := mustLoad(t, smallest+"extproc: { "+section+" }")
		text, err := Print(a)
		if err != nil {
			t.Fatal(err)
		}
		if again := mustLoad(t, string(text)); len(Changed(a, again)) > 0 {
			t.Errorf("%s: %v differ", section, Changed(a, again))
		}
	}
}
