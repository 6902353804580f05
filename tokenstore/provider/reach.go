package provider

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// reachTimeout bounds the question to one token endpoint.
const reachTimeout = 10 * time.Second

// tokenURLs are the token endpoints that a provider entry's accounts may be refreshed at.
func tokenURLs(s Settings) []string {
	if s.TokenURL != "" {
		return []string{s.TokenURL}
	}
	known, _ := spec(s.Driver)
	var out []string
	for _, k := range known.Kinds {
		if k.TokenURL != "" && !slices.Contains(out, k.TokenURL) {
			out = append(out, k.TokenURL)
		}
	}
	return out
}

// Reached is what a token endpoint answered to a question without a grant.
type Reached struct {
	URL    string
	Status int   // 0: it did not answer
	Err    error // why no grant could be had there; nil: it may be
}

// Reach asks the provider's token endpoints for an answer the way a refresh would: through the same proxy, with the
// same trust anchors. It sends no credential and spends nothing. An answer that no token endpoint gives is an error: a
// grant would only ever fail there.
func Reach(ctx context.Context, name string, s Settings) []Reached {
	e, err := newEndpoint(name, s)
	if err != nil {
		return []Reached{{URL: s.TokenURL, Err: fmt.Errorf("provider %s: %w", name, err)}}
	}
	var out []Reached
	for _, url := range tokenURLs(s) {
		status, why, err := e.reach(ctx, url)
		switch {
		case err != nil:
			err = fmt.Errorf("reaching the token endpoint of provider %s: %w: "+
				"check token_url, proxy, ca_file and the network", name, err)
		case why != "":
			err = fmt.Errorf("reaching the token endpoint of provider %s: %s answers %d: %s: "+
				"correct token_url", name, url, status, why)
		}
		out = append(out, Reached{URL: url, Status: status, Err: err})
	}
	return out
}

// noEndpoint says what the status of an answer to a POST shows instead of a token endpoint; "": it may be one.
func noEndpoint(status int) string {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return "there is nothing at this URL"
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return "what is there takes no POST"
	case status >= 300 && status < 400:
		return "a grant does not follow redirects"
	}
	return ""
}

// reach asks with HEAD, which most token endpoints refuse with 405. What answers POST alone may look absent or broken
// then, so that an empty POST has the last word. why is what the answer shows instead of a token endpoint.
func (e *endpoint) reach(ctx context.Context, url string) (status int, why string, err error) {
	status, err = e.ask(ctx, http.MethodHead, url)
	if err != nil || status == http.StatusMethodNotAllowed || status < 500 && noEndpoint(status) == "" {
		return status, "", err
	}
	status, err = e.ask(ctx, http.MethodPost, url)
	return status, noEndpoint(status), err
}

func (e *endpoint) ask(ctx context.Context, method, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
