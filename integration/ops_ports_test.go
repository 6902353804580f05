package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/port"
)

// second prepares another gateway in a folder of its own, at the first one's provider, with an account whose token has
// ended: it would be refreshed at once.
func (g *Gateway) second(t *testing.T, change func(yaml string) string) *Gateway {
	t.Helper()
	o := Options{Binary: g.Opts.Binary, Envoy: g.Opts.Envoy, Folder: t.TempDir(), Share: g.Provider, Serve: g.Opts.Serve}
	two, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(two.config(), []byte(change(string(two.yaml(t)))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := two.Add(fmt.Sprintf("due-%d", time.Now().UnixNano()), "claude", -time.Minute); err != nil {
		t.Fatal(err)
	}
	return two
}

// refusedToStart runs a gateway that cannot start and returns what it said.
func (g *Gateway) refusedToStart(t *testing.T, command ...string) string {
	t.Helper()
	cmd := exec.Command(g.Opts.Binary, append(command, "-c", g.config())...)
	kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v: got %v, want exit code 1: %s", command, err, out)
	}
	return string(out)
}

func TestAPortThatCannotBeHadIsNamedBeforeAnythingIsRefreshed(t *testing.T) {
	g := start(t, nil)
	envoyAdmin := quoted(t, string(g.yaml(t)), "envoy: { listen: \"", "admin: \"")
	foreign, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	taken := foreign.Addr().String()
	for name, c := range map[string]struct{ key, from, to, says string }{ // from is what the test changes
		"the gateway's":           {"envoy.listen", "listen", g.Opts.Gateway, "address already in use"},
		"somebody else's":         {"envoy.listen", "listen", taken, "address already in use"},
		"everywhere, on the same": {"envoy.listen", "listen", "0.0.0.0" + g.Opts.Gateway[strings.LastIndex(g.Opts.Gateway, ":"):], "address already in use"},
		"Envoy's admin":           {"envoy.admin", "admin", envoyAdmin, "address already in use"},
		"the page's":              {"admin.listen", "page", g.Opts.Admin, "address already in use"},
		"the service's over TCP":  {"extproc.listen", "extproc", taken, "address already in use"},
		"an address of elsewhere": {"envoy.listen", "listen", "192.0.2.7:10000", "this machine has no such address"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := g.Provider.TokenCalls()
			two := g.second(t, func(yaml string) string {
				yaml = "clients: { anonymous: always }\n" + yaml
				switch c.from {
				case "listen":
					return strings.Replace(yaml, quoted(t, yaml, "", "envoy: { listen: \""), c.to, 1)
				case "admin":
					return strings.Replace(yaml, quoted(t, yaml, "envoy: { listen: \"", "admin: \""), c.to, 1)
				case "page":
					return strings.Replace(yaml, quoted(t, yaml, "", "\nadmin: { listen: \""), c.to, 1)
				}
				return yaml + "extproc: { listen: 'tcp://" + c.to + "', insecure_loopback: true }\n"
			})
			out := two.refusedToStart(t, "run", "--envoy", g.Opts.Envoy)
			for _, want := range []string{"listening for ", c.to, c.says, "choose another " + c.key} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in: %s", want, out)
				}
			}
			expect(t, "token endpoint calls", g.Provider.TokenCalls(), calls)
			served(t, g.post(t, ""), "")
		})
	}
	expect(t, "the first one's socket was touched", strings.Contains(g.Log.String(), "taken over"), false)
}

// quoted is the quoted value behind a mark, which follows another.
func quoted(t *testing.T, text, after, mark string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, after)
	_, rest, found := strings.Cut(rest, mark)
	value, _, closed := strings.Cut(rest, `"`)
	if !ok || !found || !closed {
		t.Fatalf("no %q in %s", mark, text)
	}
	return value
}

func TestOfTwoGatewaysThatStartTogetherOnOnePortOneServesAndTheOtherSpendsNothing(t *testing.T) {
	g := start(t, nil) // for its provider
	address := port.Address()
	both := [2]*Gateway{}
	for i := range both {
		both[i] = g.second(t, func(yaml string) string {
			return strings.Replace(yaml, quoted(t, yaml, "", "envoy: { listen: \""), address, 1)
		})
	}
	calls := g.Provider.TokenCalls()
	ended := make(chan int, 2)
	var wg sync.WaitGroup
	for i, b := range both {
		b.service = b.command(b.Opts.Binary, "run", "--envoy", b.Opts.Envoy, "-c", b.config())
		if err := b.service.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = b.service.Wait(); ended <- i })
	}
	var loser int
	select {
	case loser = <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("both go on")
	}
	winner := both[1-loser]
	eventually(t, 15*time.Second, "one serves", func() bool { return winner.isReady(t) })
	expect(t, "exit code of the other", both[loser].service.ProcessState.ExitCode(), 1)
	if out := both[loser].Log.String(); !strings.Contains(out, "choose another envoy.listen") {
		t.Errorf("the other said: %s", out)
	}
	eventually(
		t,
		5*time.Second,
		"the winner refreshes its account",
		func() bool { return g.Provider.TokenCalls() > calls },
	)
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), calls+1)
	_ = winner.service.Process.Signal(terminate)
	wg.Wait()
	expect(t, "exit code", winner.service.ProcessState.ExitCode(), 0)
}
