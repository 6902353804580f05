package vault_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/vault"
)

var update = flag.Bool("update", false, "rewrite the policies in deploy/vault")

func TestTheShippedPoliciesAreThoseOfTheCode(t *testing.T) {
	for file, want := range map[string]string{
		"service.hcl":  vault.ServicePolicy("secret", "tokenward/accounts"),
		"operator.hcl": vault.OperatorPolicy("secret", "tokenward/accounts"),
	} {
		path := filepath.Join("..", "..", "deploy", "vault", file)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: run make golden", err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the code says (-want +got); run make golden:\n%s", file, diff)
		}
	}
}
