package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
)

// maxAnswer bounds what is read of a token endpoint's answer, in bytes: of its header fields, which take many times
// their size in memory, and of its body.
const maxAnswer = 1 << 20

// endpoint makes grant requests for one provider entry.
type endpoint struct {
	url    string // "": the driver's own
	client *http.Client
}

// request is one grant to ask for.
type request struct {
	askGrant
	url      string
	grant    string // grant_type
	record   tokenstore.Record
	refusals []rule[tokenstore.RefreshClass] // what an answer without a grant means
}

// newEndpoint is of the provider entry name.
func newEndpoint(name string, s Settings) (*endpoint, error) {
	proxy := http.ProxyFromEnvironment
	if s.Proxy != "" {
		u, err := url.Parse(s.Proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("proxy is no URL: use http://HOST:PORT")
		}
		proxy = http.ProxyURL(u)
	}
	roots, err := s.Files.Roots("providers."+name+".ca_file", s.CAFile)
	if err != nil {
		return nil, err
	}
	return &endpoint{url: s.TokenURL, client: &http.Client{
		Transport: tlsfile.NewTransport(roots, func(roots *x509.CertPool) *http.Transport {
			return &http.Transport{
				Proxy:                  proxy,
				TLSHandshakeTimeout:    10 * time.Second,
				DisableKeepAlives:      true,
				MaxResponseHeaderBytes: maxAnswer,
				TLSClientConfig: &tls.Config{
					MinVersion: tls.VersionTLS12,
					NextProtos: []string{"h2", "http/1.1"},
					RootCAs:    roots,
				},
				TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{
					"h2": func(_ string, c *tls.Conn) http.RoundTripper { return oneShot{c} },
				},
			}
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// once hides everything from net/http that would let it rewind and send a body again.
type once struct{ io.Reader }

// redeem makes the grant request, once. One that the server surely did not process is made again, on another
// connection.
func (e *endpoint) redeem(ctx context.Context, r request) (tokenstore.Grant, error) {
	grant, err := e.try(ctx, r)
	var away *turnedAwayError
	if errors.As(err, &away) {
		grant, err = e.try(ctx, r)
	}
	var answered *tokenstore.RefreshError
	if err == nil || errors.As(err, &answered) {
		return grant, err
	}
	class := tokenstore.RefreshNotSent
	var sent *sentError
	if errors.As(err, &sent) && !errors.As(err, &away) {
		class = tokenstore.RefreshUnknown
	}
	return tokenstore.Grant{}, &tokenstore.RefreshError{Class: class, Message: clean(transportWords(err), r.record)}
}

// sentError is a failure after bytes of the request have left.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// try makes the grant request. Its error is a *tokenstore.RefreshError when there was an answer, else the transport's.
func (e *endpoint) try(ctx context.Context, r request) (tokenstore.Grant, error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	req, err := e.build(httptrace.WithClientTrace(ctx, trace), r)
	if err != nil {
		return tokenstore.Grant{}, &tokenstore.RefreshError{
			Class: tokenstore.RefreshMisconfigured, Message: "the token endpoint's URL cannot be used",
		}
	}
	resp, err := e.client.Do(req)
	switch {
	case err != nil && sent.Load():
		return tokenstore.Grant{}, &sentError{err}
	case err != nil:
		return tokenstore.Grant{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode < 300 {
		return tokenstore.Grant{}, &tokenstore.RefreshError{
			Class: tokenstore.RefreshUnknown, Status: resp.StatusCode,
			Message: clean("reading the answer: "+transportWords(err), r.record),
		}
	}
	return parseAnswer(r, resp.StatusCode, resp.Header, body)
}

func (e *endpoint) build(ctx context.Context, r request) (*http.Request, error) {
	params := grantParams(r)
	var body []byte
	kind := "application/x-www-form-urlencoded"
	if r.json {
		kind = "application/json"
		body, _ = json.Marshal(params) // a map of strings always marshals
	} else {
		form := url.Values{}
		for k, v := range params {
			form.Set(k, v)
		}
		body = []byte(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, once{bytes.NewReader(body)})
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tokenward")
	if r.style == "header" {
		req.Header.Set("Authorization", basicAuth(r))
	}
	for k, v := range r.headers {
		req.Header.Set(k, v)
	}
	return req, nil
}

// clean cuts a text to 256 characters, takes presented secrets out of it, and what steers a terminal or a reader's
// eye: control characters (C0, DEL, C1), direction marks and other invisible ones.
func clean(s string, r tokenstore.Record) string {
	for _, p := range planted(r) {
		s = tokenstore.Redact(s, p)
	}
	s = strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return c
	}, s)
	if len(s) > 256 {
		s = strings.ToValidUTF8(s[:256], "")
	}
	return s
}
