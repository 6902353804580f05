package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// carrier implements kv.Carrier: it sends each request to Vault, with the session's token.
type carrier struct {
	cfg     Config
	dialer  *dialer
	session *session
}

// Names implements kv.Carrier.
func (k *carrier) Names(ctx context.Context) ([]string, error) {
	path := k.cfg.Mount + "/metadata/" + k.cfg.Prefix
	var folder struct {
		Keys []string `json:"keys"`
	}
	c := call{"listing the accounts in Vault", path, need{"list", path}}
	found, err := k.get(ctx, c, map[string][]string{"list": {"true"}}, &folder)
	if err != nil {
		return nil, err
	}
	if found && folder.Keys == nil { // read as none, it would end every account
		return nil, &failure{kind: away, tried: c.tried, wrong: "the answer has no list"}
	}
	return folder.Keys, nil
}

// Read implements kv.Carrier.
func (k *carrier) Read(ctx context.Context, id tokenstore.AccountID) (kv.Current, error) {
	path := k.dataPath(id)
	var secret struct {
		Data     json.RawMessage `json:"data"`
		Metadata struct {
			Version tokenstore.Version `json:"version"`
			Ends    string             `json:"deletion_time"` // "", or when the version ends: delete_version_after is set
		} `json:"metadata"`
	}
	c := call{"reading account " + string(id) + " from Vault", path, need{"read", path}}
	found, err := k.get(ctx, c, nil, &secret)
	if err == nil && found && secret.Metadata.Version == 0 {
		err = c.notVaults()
	}
	ends, _ := time.Parse(time.RFC3339Nano, secret.Metadata.Ends) // zero for ""
	return kv.Current{Version: secret.Metadata.Version, Data: secret.Data, Ends: ends}, err
}

// Write implements kv.Carrier. It makes one request, and repeats it only after Vault refused our token.
func (k *carrier) Write(
	ctx context.Context, tried string, id tokenstore.AccountID, data json.RawMessage, cas tokenstore.Version,
) (tokenstore.Version, error) {
	path := k.dataPath(id)
	n := need{"update", path}
	if cas == 0 {
		n.capability = "create"
	}
	return k.put(ctx, call{tried, path, n}, data, cas)
}

// MayRemove implements kv.Carrier.
func (k *carrier) MayRemove(ctx context.Context, tried string, id tokenstore.AccountID) error {
	path := k.metadataPath(id)
	var granted []string
	err := k.do(ctx, func(g *grant) error {
		var err error
		if granted, err = g.reader.Sys().CapabilitiesSelfWithContext(ctx, path); err != nil {
			return explain(ctx, err, tried, need{"update", "sys/capabilities-self"})
		}
		return nil
	})
	if err == nil && !slices.Contains(granted, "delete") && !slices.Contains(granted, "root") {
		err = &failure{
			kind: denied, tried: tried, wrong: fmt.Sprintf("the policy of our token lacks %q on %s", "delete", path),
			remedy: "add it if this is meant to be possible; deploy/vault has the policies",
		}
	}
	return err
}

// Remove implements kv.Carrier.
func (k *carrier) Remove(ctx context.Context, tried string, id tokenstore.AccountID) error {
	path := k.metadataPath(id)
	return k.do(ctx, func(g *grant) error {
		if _, err := g.writer.Logical().DeleteWithContext(ctx, path); err != nil {
			return explain(ctx, err, tried, need{"delete", path})
		}
		return nil
	})
}
