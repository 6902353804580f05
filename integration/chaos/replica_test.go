package chaos

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tokenward/tokenward/integration"
)

// replica is one real service process and its gates. The first one has an Envoy and clients.
type replica struct {
	*integration.Gateway
	number int
	vault  *gate
	grants *gate
	books  *ledger
	mu     sync.Mutex // held by a fault that needs the process alive, or ends it

	clock   string     // the file that says how far its clock is ahead, in seconds
	clockMu sync.Mutex // held while its clock is shifted
}

// adjust shortens the deadlines in the configuration that the harness wrote, and leads token calls through the gate.
// The lease exceeds the longest write (5 s), the look for its lost answer (3 s) and the grant together: a claim that
// counts as dead must be dead.
func (r *replica) adjust() error {
	file := filepath.Join(r.Opts.Folder, "tokenward.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	yaml := strings.NewReplacer("token_endpoint_timeout: 5s", "token_endpoint_timeout: "+grantTimeout.String(), "claim_lease: 6s", "claim_lease: "+lease.String(),
		r.Provider.URL()+"/v1/oauth/token", r.grants.URL+"/v1/oauth/token").
		Replace(string(b))
	return os.WriteFile(file, []byte(yaml), 0o600)
}

// up starts the process, and Envoy the first time.
func (r *replica) up(first bool) error {
	if first && r.number == 0 {
		return r.Start()
	}
	if err := r.StartService(); err != nil {
		return err
	}
	if !first {
		return nil
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if resp, err := http.Get(r.AdminURL + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				token, err := os.ReadFile(filepath.Join(r.Opts.Folder, "data", "admin.token"))
				r.Token = strings.TrimSpace(string(token))
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("replica %d was not ready in time:\n%s", r.number, r.Log)
}

// crash ends the process at once and starts it again on what it left behind.
func (r *replica) crash(pause time.Duration) error {
	_ = r.Service().Process.Kill()
	r.books.killed(r.number)
	_ = r.Service().Wait() // says that it was killed
	time.Sleep(pause)
	return r.up(false)
}

// force asks for a refresh of an account and returns the status; 0 without an answer.
func (r *replica) force(account string) (int, string) {
	return r.ask(http.MethodPost, `{"action":"refresh-single","accountId":"`+account+`","force":true}`)
}

// accounts is what the admin API says of all accounts.
func (r *replica) accounts() (int, string) { return r.ask(http.MethodGet, "") }

func (r *replica) ask(method, body string) (int, string) {
	req, err := http.NewRequest(method, r.AdminURL+"/api/admin/oauth/refresh", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	client := http.Client{Timeout: 25 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body) // a cut answer is part of the storm
	return resp.StatusCode, string(b)
}

// journal lists the rotations that the replica has not saved yet.
func (r *replica) journal() []string {
	found, _ := filepath.Glob(filepath.Join(r.Opts.Folder, "data", "journal", "*.rotation")) // the pattern is sound
	return found
}
