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

// Reach asks the provider's token endpoints for an answer, whatever it is, the way a refresh would: through the same
// proxy, with the same trust anchors. It sends no credential and spends nothing.
func Reach(ctx context.Context, name string, s Settings) error {
	e, err := newEndpoint(s)
	if err != nil {
		return fmt.Errorf("provider %s: %w", name, err)
	}
	var errs []error
	for _, url := range tokenURLs(s) {
		if err := e.reach(ctx, url); err != nil {
			errs = append(errs, fmt.Errorf("reaching the token endpoint of provider %s: %w: check token_url, proxy, ca_file and the network", name, err))
		}
	}
	return errors.Join(errs...)
}

func (e *endpoint) reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
