package vaultserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sys/unix"

	"github.com/tokenward/tokenward/integration/port"
)

// patience bounds every wait for the server; a loaded machine needs a few seconds.
const patience = 60 * time.Second

// Server is a Vault child process. Its methods are for one goroutine, save Root and CLI, which any number may use.
type Server struct {
	Address string      // http or https URL on loopback
	CAFile  string      // trust anchor of a server with TLS, else ""
	Token   string      // the root token
	Root    *api.Client // acts with the root token; does not retry

	folder string   // holds the home, the log, the data
	args   []string // of the program
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	unseal string        // the unseal key of a raft server
}

// StartDev starts a development server: unsealed, in memory, KV v2 at secret/. Stop ends it.
func StartDev() (*Server, error) { return startDev(false) }

// StartDevTLS is StartDev with TLS; the server asks for client certificates.
func StartDevTLS() (*Server, error) { return startDev(true) }

func startDev(withTLS bool) (*Server, error) {
	address := port.Address()
	s, err := prepare(address, withTLS)
	if err != nil {
		return nil, err
	}
	s.Token = "root"
	s.args = []string{"server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-dev-listen-address=" + address}
	if withTLS {
		s.args = append(s.args, "-dev-tls", "-dev-tls-cert-dir="+s.folder)
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.connect(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.until(func() error { _, err := s.Root.Sys().MountConfig("secret"); return err }); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func prepare(address string, withTLS bool) (*Server, error) {
	folder, err := os.MkdirTemp("", "vaultserver-")
	if err != nil {
		return nil, err
	}
	s := &Server{Address: "http://" + address, folder: folder}
	if withTLS {
		s.Address, s.CAFile = "https://"+address, filepath.Join(folder, "vault-ca.pem")
	}
	return s, nil
}

// Start starts the process, again after Kill, and returns when it answers. A raft server comes up sealed.
func (s *Server) Start() error {
	binary, err := Binary()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(binary, s.args...)
	s.cmd.Dir, s.cmd.Env = s.folder, []string{"HOME=" + s.folder, "PATH=" + os.Getenv("PATH"), "SKIP_SETCAP=1"}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	return s.until(func() error {
		if s.Root == nil {
			if err := s.connect(); err != nil {
				return err
			}
		}
		_, err := s.Root.Sys().Health()
		return err
	})
}

// connect makes the root client. Its connections are not kept, so that none outlives a restart or a test.
func (s *Server) connect() error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	cfg := &api.Config{
		Address:    s.Address,
		HttpClient: &http.Client{Transport: transport},
		Timeout:    patience,
		MaxRetries: 0,
	}
	if s.CAFile != "" {
		if _, err := os.Stat(s.CAFile); err != nil {
			return err // the server has not written it yet
		}
		if err := cfg.ConfigureTLS(&api.TLSConfig{CACert: s.CAFile}); err != nil {
			return err
		}
	}
	root, err := api.NewClient(cfg)
	if err != nil {
		return err
	}
	root.ClearNamespace()
	root.SetToken(s.Token)
	s.Root = root
	return nil
}

// until tries f until it succeeds, the process ends, or patience does.
func (s *Server) until(f func() error) error {
	deadline := time.After(patience)
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("vault ended: %s", s.logEnd())
		case <-deadline:
			return fmt.Errorf("vault is not ready: %w: %s", err, s.logEnd())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the process at once (SIGKILL) and returns when it is gone.
func (s *Server) Kill() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.exited
	return nil
}

// Pause stops the process as it stands (SIGSTOP): connections are taken and never answered. Resume lets it go on. It
// returns when every thread has stopped: until then one of them may still answer.
func (s *Server) Pause() error {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Resume undoes Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// PID is the process's id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop kills the server and removes its folder.
func (s *Server) Stop() error { return errors.Join(s.Kill(), os.RemoveAll(s.folder)) }

func (s *Server) logFile() string { return filepath.Join(s.folder, "vault.log") }

// Log returns what the server printed so far.
func (s *Server) Log() string {
	data, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// logEnd is what an error has room for.
func (s *Server) logEnd() string {
	log := s.Log()
	return log[max(0, len(log)-2000):]
}

// CLI runs the vault command line with the root token and returns what it prints; a failure's error has its output.
func (s *Server) CLI(ctx context.Context, args ...string) (string, error) {
	binary, err := Binary()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = s.folder, s.Env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("vault %s: %w: %s", args[0], err, out)
	}
	return string(out), err
}

// Env is an environment for programs that are to use this server with the root token.
func (s *Server) Env() []string {
	return []string{
		"HOME=" + s.folder, "PATH=" + os.Getenv("PATH"), "VAULT_ADDR=" + s.Address, "VAULT_TOKEN=" + s.Token,
		"VAULT_CACERT=" + s.CAFile,
	}
}
