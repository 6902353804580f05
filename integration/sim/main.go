// Command sim is what docker-compose.yaml needs from outside of the gateway: the simulated provider, and a certificate
// for the admin page. It is never part of the product.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

const usage = "usage: sim serve HOST:PORT | sim healthy URL | sim certificate FOLDER"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New(usage)
	}
	switch args[0] {
	case "serve":
		p, err := provider.Start(args[1])
		if err != nil {
			return err
		}
		<-ctx.Done()
		return p.Close()
	case "healthy":
		return healthy(ctx, args[1])
	case "certificate":
		return certificate(args[1], time.Now())
	}
	return errors.New(usage)
}

// healthy is a health check for an image without curl.
func healthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/control/seen?test=health", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider at %s answered %s", url, resp.Status)
	}
	return nil
}
