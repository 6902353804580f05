package vault

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/vault/api"
)

// checker asks once, with the first grant, whether this Vault fits the configuration.
type checker struct {
	cfg    Config
	dialer *dialer
	passed atomic.Bool
}

func (c *checker) check(ctx context.Context, g *grant) error {
	if c.passed.Load() {
		return nil
	}
	if err := c.namespace(ctx); err != nil {
		return err
	}
	if err := c.mount(ctx, g.reader); err != nil {
		return err
	}
	c.passed.Store(true)
	return nil
}

// namespace refuses a namespace on the community edition, which ignores the header and would serve the root's secrets.
func (c *checker) namespace(ctx context.Context) error {
	if c.cfg.Namespace == "" {
		return nil
	}
	const tried = "asking Vault for its edition"
	client, err := c.dialer.reader("")
	if err != nil {
		return err
	}
	client.ClearNamespace() // sys/health is the root's
	health, err := client.Sys().HealthWithContext(ctx)
	if err != nil {
		return explain(ctx, err, tried, need{"read", "sys/health"})
	}
	if !health.Enterprise {
		return &failure{
			kind:   wrong,
			tried:  tried,
			wrong:  fmt.Sprintf("this is the community edition, which has no namespaces and would ignore %q", c.cfg.Namespace),
			remedy: "remove store.vault.namespace",
		}
	}
	return nil
}

// mount wants a KV v2 secrets engine. The path is open to every token that may do anything below the mount.
func (c *checker) mount(ctx context.Context, client *api.Client) error {
	tried := fmt.Sprintf("looking for the secrets engine %s/ in Vault", c.cfg.Mount)
	path := "sys/internal/ui/mounts/" + c.cfg.Mount
	var found struct {
		Path    string            `json:"path"`
		Type    string            `json:"type"`
		Options map[string]string `json:"options"`
	}
	_, err := read(ctx, client, call{tried: tried, path: path, need: need{"read", path}}, &found)
	switch {
	case isKind(err, denied):
		return &failure{
			kind: wrong, tried: tried, wrong: "there is none, or our policy grants nothing in it",
			remedy: "check store.vault.mount; deploy/vault/setup.sh makes both",
		}
	case err != nil:
		return err
	case found.Type != "kv":
		return &failure{
			kind:   wrong,
			tried:  tried,
			wrong:  fmt.Sprintf("it is of type %q, not kv", found.Type),
			remedy: "check store.vault.mount",
		}
	case found.Options["version"] != "2":
		return &failure{
			kind: wrong, tried: tried, wrong: "it is KV version 1, which has no compare-and-set",
			remedy: "upgrade it with `vault kv enable-versioning " + c.cfg.Mount + "`, or name another mount",
		}
	}
	return nil
}
