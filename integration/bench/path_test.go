package bench

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/integration"
)

// BenchmarkCPUOfTheWholePath reports what a request costs of Envoy and of the service, in CPU time, from the client's
// connection to the provider's: `tokenward run` with the Envoy that it configures and runs. With a build of another
// commit it alternates with that one and its Envoy.
func BenchmarkCPUOfTheWholePath(b *testing.B) {
	const rounds, requests = 6, 6000
	binaries := map[string]string{"ours": tool(b, "TOKENWARD", "../../bin/tokenward", "make build")}
	kinds := []string{"ours"}
	if old := os.Getenv(oldBuild); old != "" {
		binaries["old"], kinds = filepath.Join(old, "tokenward"), append(kinds, "old")
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * clients, MaxConnsPerHost: clients}}
	gateways := map[string]*integration.Gateway{}
	for _, kind := range kinds {
		g, err := integration.Prepare(integration.Options{
			Binary: binaries[kind], Envoy: tool(b, "ENVOY", "", "make tools"), Folder: filepath.Join(b.TempDir(), "g"),
		})
		must(b, err)
		b.Cleanup(func() { _ = g.Stop() })
		for i := range 3 {
			must(b, g.Add(fmt.Sprint("claude-", i), "claude", time.Hour))
		}
		must(b, g.Start())
		must(b, post(client, g.URL, 1000)) // warm up
		gateways[kind] = g
	}
	for b.Loop() {
		service, envoy := map[string]time.Duration{}, map[string]time.Duration{}
		for range rounds {
			for _, kind := range kinds {
				pid := gateways[kind].Service().Process.Pid
				ours, all := cpu(b, pid), family(b, pid)
				must(b, post(client, gateways[kind].URL, requests))
				ours, all = cpu(b, pid)-ours, family(b, pid)-all
				service[kind] += ours
				envoy[kind] += all - ours
			}
			slices.Reverse(kinds) // what the machine does beside us meets each alike
		}
		for _, kind := range kinds {
			b.ReportMetric(float64(service[kind].Microseconds())/(rounds*requests), kind+"-service-µs/request")
			b.ReportMetric(float64(envoy[kind].Microseconds())/(rounds*requests), kind+"-envoy-µs/request")
		}
		if before := service["old"] + envoy["old"]; before > 0 {
			b.ReportMetric(100*float64(service["ours"]+envoy["ours"]-before)/float64(before), "%-more-than-old")
			b.ReportMetric(100*float64(service["ours"]-service["old"])/float64(before), "%-more-in-the-service")
		}
	}
	b.ReportMetric(0, "ns/op")
}

const clients = 16

// post makes n requests, some at a time, which all must be served.
func post(client *http.Client, url string, n int) error {
	var g errgroup.Group
	for range clients {
		g.Go(func() error {
			for range n / clients {
				resp, err := client.Post(url+"/v1/messages", "application/json", strings.NewReader(`{"model":"x"}`))
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, resp.Body)
				if err = errors.Join(err, resp.Body.Close()); err != nil {
					return err
				}
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("a request got %s", resp.Status)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// family is the CPU time of a process and of those that it started.
func family(b *testing.B, pid int) time.Duration {
	total := cpu(b, pid)
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	must(b, err)
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			must(b, err)
			total += family(b, n)
		}
	}
	return total
}

func tool(b *testing.B, variable, path, remedy string) string {
	b.Helper()
	p, err := integration.Tool(variable, path, remedy)
	must(b, err)
	return p
}
