package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

func TestTheGraphIsComplete(t *testing.T) {
	file := filepath.Join(t.TempDir(), defaultFile)
	if err := os.WriteFile(file, config.Starter(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := domainConfig(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := fx.ValidateApp(options(c, domain, ports{}, adminConfig(c), nil, zap.NewNop())); err != nil {
		t.Fatal(err)
	}
}

func TestEveryDriverTheConfigurationKnowsCanBeBuilt(t *testing.T) {
	for _, name := range provider.Names() {
		s := provider.Settings{Driver: name, TokenURL: "https://idp.example/token"}
		if _, err := provider.New(name, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceThatListensEverywhereIsCalledAtLocalhost(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:8980": "localhost:8980", "[::]:8980": "localhost:8980", ":8980": "localhost:8980",
		"127.0.0.1:8980": "127.0.0.1:8980", "gateway.example:8980": "gateway.example:8980",
	} {
		if got := callable(listen); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
}

// What README.md and deploy/vault/setup.sh let appear in a checkout goes neither into commits nor into a build's
// stages.
func TestSecretsInACheckoutStayOutOfCommitsAndImages(t *testing.T) {
	ignored, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for path, rule := range map[string]string{
		"gateway/token.txt": "gateway", "keys/secret_id": "keys", "data/tokenward.key": "data",
		"operator.token": "**/operator.token", "deploy/vault/secret_id": "**/secret_id", "deploy/vault/role_id": "**/role_id",
	} {
		if out, err := exec.CommandContext(t.Context(), "git", "check-ignore", path).CombinedOutput(); err != nil {
			t.Errorf("git does not ignore %s: %v %s", path, err, out)
		}
		if !slices.Contains(strings.Fields(string(ignored)), rule) {
			t.Errorf(".dockerignore has no %s, which covers %s", rule, path)
		}
	}
}
