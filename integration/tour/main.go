// Command tour is what `make run` plays: the gateway behind a real Envoy, a simulated provider, and scenarios that show
// what clients see when credentials fail. Afterwards everything stays up to be tried by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/tokenward/tokenward/integration"
	"github.com/tokenward/tokenward/private"
)

const (
	gatewayAddress = "127.0.0.1:10000"
	adminAddress   = "127.0.0.1:8980"
)

func main() {
	// The gateway's death signal belongs to the thread that starts it: the main thread lives as long as we do.
	runtime.LockOSThread()
	only := flag.Bool("only", false, "exit after the tour, non-zero if a scenario failed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only bool) (err error) {
	o, log, err := options()
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	g, err := integration.Prepare(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Stop()) }()
	t := &tour{Gateway: g, ctx: ctx}
	if err := t.addAll(); err != nil {
		return err
	}
	if err := g.Start(); err != nil {
		return err
	}
	ok, err := t.play(os.Stdout)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted: the tour is not complete")
	case err != nil:
		return err
	case only && !ok:
		return errors.New("a scenario failed: the gateway's log is " + log.Name())
	case only:
		return nil
	}
	if err := t.reset(); err != nil { // the last scenario leaves every account benched
		return err
	}
	invite(g)
	<-ctx.Done()
	fmt.Println("\nstopping")
	return nil
}

// options empties what an earlier tour left in run/ and picks the addresses.
func options() (integration.Options, *os.File, error) {
	o := integration.Options{
		Envoy:    os.Getenv("ENVOY"),
		Gateway:  gatewayAddress,
		Admin:    adminAddress,
		Provider: "127.0.0.1:0",
	}
	if o.Envoy == "" {
		return o, nil, errors.New("$ENVOY is not set: use make run, or name the Envoy to run")
	}
	var err error
	if o.Binary, err = filepath.Abs("bin/tokenward"); err == nil {
		_, err = os.Stat(o.Binary)
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w: run make build first, and the tour from the top of the checkout", err)
	}
	if o.Folder, err = filepath.Abs("run"); err != nil {
		return o, nil, err
	}
	// Before anything is removed: a gateway that holds the ports may be an earlier tour that still uses the folder.
	for _, address := range []string{gatewayAddress, adminAddress} {
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			continue
		}
		if o.Folder, err = os.MkdirTemp("", "tokenward-tour-"); err != nil {
			return o, nil, err
		}
		fmt.Printf("%s is taken: using free ports, and the folder %s instead of run/\n\n", address, o.Folder)
		o.Gateway, o.Admin = "", ""
		break
	}
	if (private.Host{}).Folder(o.Folder) != nil { // a checkout of another user's, where tokenward would not start
		if o.Folder, err = os.MkdirTemp("", "tokenward-tour-"); err != nil {
			return o, nil, err
		}
		fmt.Printf("other users may change run/: using the folder %s instead\n\n", o.Folder)
	}
	if err := clean(o.Folder); err != nil {
		return o, nil, err
	}
	log, err := os.OpenFile(filepath.Join(o.Folder, "tokenward.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	o.LogFile = log
	return o, log, err
}

// clean removes what a tour writes, and nothing else that somebody may have put there.
func clean(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for _, pattern := range []string{"tokenward.yaml", "data", "*.sock", "run", "envoy.yaml", "*.access"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func invite(g *integration.Gateway) {
	post := "-d '{\"model\":\"x\"}' " + g.URL + "/v1/messages"
	// The provider counts a fault per x-test-id: without one, only its very first request would be refused.
	fmt.Printf(`
gateway  %s
page     %s/#token=%s
log      %s

try:
  curl -i %s
  curl -i -H 'x-sim: status=401' -H "x-test-id: $RANDOM" %s
  curl -N -H 'x-sim: events=5; pause=300ms' %s

Ctrl-C stops everything.
`, g.URL, g.AdminURL, g.Token, filepath.Join(g.Opts.Folder, "tokenward.log"), post, post, post)
}
