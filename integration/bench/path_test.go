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
	const rounds, requests = 40, 1600 // short ones: what else the machine does then meets both alike
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
		spent := map[string][]float64{} // µs per request, by round
		for range rounds {
			for _, kind := range kinds {
				pid := gateways[kind].Service().Process.Pid
				ours, all := onCPU(b, pid), family(b, pid)
				must(b, post(client, gateways[kind].URL, requests))
				ours, all = onCPU(b, pid)-ours, family(b, pid)-all
				each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / requests }
				spent[kind+"-service"] = append(spent[kind+"-service"], each(ours))
				spent[kind+"-envoy"] = append(spent[kind+"-envoy"], each(all-ours))
			}
			slices.Reverse(kinds)
		}
		for what, rounds := range spent {
			b.ReportMetric(median(rounds), what+"-µs/request")
		}
		if len(kinds) == 1 {
			continue
		}
		for _, part := range []string{"service", "envoy"} { // each as a part of the whole of its own round
			var more []float64
			for i := range rounds {
				before := spent["old-service"][i] + spent["old-envoy"][i]
				more = append(more, 100*(spent["ours-"+part][i]-spent["old-"+part][i])/before)
			}
			b.ReportMetric(median(more), "%-more-in-"+part)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
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
	total := onCPU(b, pid)
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

// onCPU is the CPU time of a process's threads, to the nanosecond (proc(5), schedstat).
func onCPU(b *testing.B, pid int) time.Duration {
	var total time.Duration
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(b, err)
	for _, list := range lists {
		stat, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		ran, _, _ := strings.Cut(string(stat), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		must(b, err)
		total += time.Duration(ns)
	}
	return total
}

func tool(b *testing.B, variable, path, remedy string) string {
	b.Helper()
	p, err := integration.Tool(variable, path, remedy)
	must(b, err)
	return p
}
