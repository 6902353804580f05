package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration"
	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

const (
	accountsPath = "tokenward/accounts/"
	replicas     = 3
	accounts     = 12
	life         = 12 * time.Second // of an access token
	lease        = 10 * time.Second
	grantTimeout = 1500 * time.Millisecond
)

// world is all that the storm befalls.
type world struct {
	provider *provider.Provider
	vault    *vaultserver.Server
	replicas []*replica
	names    []string
	books    *ledger

	vaultMu sync.Mutex             // one fault at a time befalls the Vault
	edits   map[string]*sync.Mutex // one operator at a time edits an account
}

func newWorld(t *testing.T) *world {
	t.Helper()
	v, err := vaultserver.StartRaft()
	check(t, err)
	t.Cleanup(func() { check(t, v.Stop()) })
	role, secret := setUp(t, v)
	p, err := provider.Start("127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { check(t, p.Close()) })
	w := &world{provider: p, vault: v, books: newLedger(), edits: map[string]*sync.Mutex{}}
	for i := range accounts {
		name := fmt.Sprintf("a%02d", i)
		w.names, w.edits[name] = append(w.names, name), &sync.Mutex{}
		check(t, w.put(t.Context(), name))
	}
	shiftable := buildShiftable(t)
	for i := range replicas {
		folder := t.TempDir()
		r := &replica{
			number: i,
			books:  w.books,
			clock:  filepath.Join(folder, "clock"),
			vault:  newGate(v.Address, i, w.books),
			grants: newGate(p.URL(), i, w.books),
		}
		check(t, r.setClock(0))
		t.Cleanup(r.vault.Close)
		t.Cleanup(r.grants.Close)
		r.Gateway, err = integration.Prepare(integration.Options{
			Binary:    shiftable,
			Env:       []string{"STORM_CLOCK=" + r.clock},
			Envoy:     tool(t, "ENVOY", "../../.tools/envoy/bin/envoy", "make tools"),
			Folder:    folder,
			Serve:     true,
			Share:     p,
			Renewal:   "  backoff: { min: 200ms, max: 2s }",
			EnvoyKeys: ", service_wait: 10s", // a crash in the storm may meet a sealed Vault, and starts slowly then
			Store: fmt.Sprintf("{ vault: { address: %q, poll: 1s, auth: { approle: { role_id: %q, secret_id_file: %q } } } }",
				r.vault.URL, role, secret),
		})
		check(t, err)
		check(t, r.adjust())
		t.Cleanup(func() { check(t, r.Stop()) })
		check(t, r.up(true))
		w.replicas = append(w.replicas, r)
	}
	return w
}

// setUp prepares the Vault with the shipped script and returns the role id and the secret id's file.
func setUp(t *testing.T, v *vaultserver.Server) (role, secret string) {
	t.Helper()
	binary, err := vaultserver.Binary()
	check(t, err)
	keys := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../deploy/vault/setup.sh", keys)
	cmd.Env = append(v.Env(), "VAULT="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("setup.sh: %v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(keys, "role_id"))
	check(t, err)
	return strings.TrimSpace(string(b)), filepath.Join(keys, "secret_id")
}

func tool(t *testing.T, variable, path, remedy string) string {
	t.Helper()
	p, err := integration.Tool(variable, path, remedy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
