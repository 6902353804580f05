package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// reachTimeout bounds the question to one token endpoint.
const reachTimeout = 10 * time.Second

// tokenURLs are the token endpoints that a provider entry's accounts may be refreshed at.
func tokenURLs(s Settings) []string {
	switch {
	case s.TokenURL != "":
		return []string{s.TokenURL}
	case s.Driver == driverAnthropic:
		return []string{anthropicTokenURL, claudeCodeTokenURL}
	}
	return nil
}

// Reached is what a token endpoint answered to a question without a grant.
type Reached struct {
	URL    string
	Status int   // 0: it did not answer
	Err    error // why no grant could be had there; nil: it may be
}

// Reach asks the provider's token endpoints for an answer the way a refresh would: through the same proxy, with the same trust
// anchors. It sends no credential and spends nothing. An answer that no token endpoint gives is an error: a grant would only
// ever fail there.
func Reach(ctx context.Context, name string, s Settings) []Reached {
	e, err := newEndpoint(s)
	if err != nil {
		return []Reached{{URL: s.TokenURL, Err: fmt.Errorf("provider %s: %w", name, err)}}
	}
	var out []Reached
	for _, url := range tokenURLs(s) {
		r := Reached{URL: url}
		if r.Status, err = e.reach(ctx, url); err != nil {
			r.Err = fmt.Errorf("reaching the token endpoint of provider %s: %w: check token_url, proxy, ca_file and the network", name, err)
		} else if why := noEndpoint(r.Status); why != "" {
			r.Err = fmt.Errorf("reaching the token endpoint of provider %s: %s answers %d: %s: correct token_url", name, url, r.Status, why)
		}
		out = append(out, r)
	}
	return out
}

// noEndpoint says what an answer's status shows instead of a token endpoint; "": it may be one.
func noEndpoint(status int) string {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return "there is nothing at this URL"
	case status >= 300 && status < 400:
		return "a grant does not follow redirects"
	}
	return ""
}

// reach asks with HEAD. What only answers POST may look absent then, so that an empty POST has the last word.
func (e *endpoint) reach(ctx context.Context, url string) (int, error) {
	status, err := e.ask(ctx, http.MethodHead, url)
	if err == nil && noEndpoint(status) != "" {
		return e.ask(ctx, http.MethodPost, url)
	}
	return status, err
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
	return resp.StatusCode, errors.Join(resp.Body.Close())
}
