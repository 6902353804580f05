package provider

import (
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// Provider is one running simulated provider.
type Provider struct {
	ledger *ledger
	http   *http.Server
	url    string
}

// Start listens on address (HOST:PORT, port 0 for any) with HTTP/1.1 and HTTP/2 by prior knowledge.
func Start(address string) (*Provider, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Provider{ledger: newLedger(), url: "http://" + l.Addr().String()}
	m := http.NewServeMux()
	m.HandleFunc("POST /v1/oauth/token", p.token)
	m.HandleFunc("/control/", p.control)
	m.HandleFunc("/", p.api)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	p.http = &http.Server{Handler: m, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.http.Serve(l) }() // ends at Close
	return p, nil
}

// URL is the base of the API and, with /v1/oauth/token, of the token endpoint.
func (p *Provider) URL() string { return p.url }

// Close ends it at once.
func (p *Provider) Close() error { return p.http.Close() }

// control scripts the provider over HTTP: POST /control/{create,revoke,kill,script}?name=… and GET /control/seen.
func (p *Provider) control(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	defer func() {
		if v := recover(); v != nil {
			http.Error(w, "no such account", http.StatusNotFound)
		}
	}()
	var out any = map[string]string{"done": name}
	switch r.URL.Path {
	case "/control/create":
		life, err := time.ParseDuration(r.URL.Query().Get("lifetime"))
		if err != nil {
			http.Error(w, "lifetime must be a duration", http.StatusBadRequest)
			return
		}
		out = p.Create(name, life)
	case "/control/revoke":
		p.Revoke(name)
	case "/control/kill":
		p.Kill(name)
	case "/control/script":
		var s Script
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.Script(name, s)
	case "/control/account":
		out = p.Account(name)
	case "/control/seen":
		out = p.Seen(r.URL.Query().Get("test"))
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
