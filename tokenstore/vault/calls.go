package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// call names a request for its messages.
type call struct {
	tried string
	path  string
	need  need
}

// notVaults is the failure of a call that somebody else answered.
func (c call) notVaults() error {
	return &failure{
		kind:   away,
		tried:  c.tried,
		wrong:  "the answer is not Vault's",
		remedy: "check what is between us and Vault",
	}
}

func (k *carrier) dataPath(id tokenstore.AccountID) string {
	return k.cfg.Mount + "/data/" + k.cfg.Prefix + "/" + string(id)
}

func (k *carrier) metadataPath(id tokenstore.AccountID) string {
	return k.cfg.Mount + "/metadata/" + k.cfg.Prefix + "/" + string(id)
}

// do makes a call with the current grant, and once more with the next one if Vault called the grant's token dead: then
// it has done nothing.
func (k *carrier) do(ctx context.Context, f func(*grant) error) error {
	g, err := k.session.use(ctx)
	if err != nil {
		return err
	}
	if err = f(g); !isKind(err, dead) {
		return err
	}
	if g, err = k.session.replace(ctx, g); err != nil {
		return err
	}
	return f(g)
}

// get reads c.path into the value that into points to; found is false when nothing is there. KV answers 404 for a
// deleted version too, with a body that into gets.
func (k *carrier) get(ctx context.Context, c call, query map[string][]string, into any) (found bool, err error) {
	err = k.do(ctx, func(g *grant) error {
		found, err = readWith(ctx, g.reader, c, query, into)
		return err
	})
	return found, err
}

func read(ctx context.Context, client *api.Client, c call, into any) (bool, error) {
	return readWith(ctx, client, c, nil, into)
}

func readWith(
	ctx context.Context, client *api.Client, c call, query map[string][]string, into any,
) (found bool, err error) {
	limited, cancel := context.WithTimeout(ctx, kv.ReadTimeout)
	defer cancel()
	resp, err := client.Logical().ReadRawWithDataWithContext(limited, c.path, query)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	var answer *api.ResponseError
	// with errors: no such mount
	absent := errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound && len(answer.Errors) == 0
	if err != nil && !absent {
		return false, explain(ctx, err, c.tried, c.need)
	}
	body := struct {
		Data   any       `json:"data"`
		Errors *[]string `json:"errors"`
	}{Data: into}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		if limited.Err() != nil {
			return false, explain(ctx, limited.Err(), c.tried, c.need)
		}
		return false, &failure{kind: away, tried: c.tried, wrong: "the answer was cut off or is not Vault's"}
	}
	// a gateway's: an account must not be taken for gone
	if absent && body.Errors == nil && reflect.ValueOf(into).Elem().IsZero() {
		return false, c.notVaults()
	}
	return !absent, nil
}

// put writes a version of a secret on top of expect, 0: where there is none, and returns its number.
func (k *carrier) put(
	ctx context.Context, c call, data json.RawMessage, expect tokenstore.Version,
) (tokenstore.Version, error) {
	body, err := json.Marshal(map[string]any{"options": map[string]any{"cas": expect}, "data": data})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.tried, err)
	}
	var v tokenstore.Version
	err = k.do(ctx, func(g *grant) error {
		secret, err := g.writer.Logical().WriteBytesWithContext(ctx, c.path, body)
		if err != nil {
			return explain(ctx, err, c.tried, c.need)
		}
		if secret != nil {
			v = versionIn(secret.Data["version"])
		}
		if v == 0 { // applied or not: like a lost answer
			return &failure{kind: away, tried: c.tried, wrong: "the answer does not name the new version"}
		}
		return nil
	})
	return v, err
}

func versionIn(v any) tokenstore.Version {
	n, _ := v.(json.Number)
	i, err := n.Int64()
	if err != nil || i < 0 {
		return 0
	}
	return tokenstore.Version(i)
}
