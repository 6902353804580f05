package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// method is one way to a token.
type method struct {
	name string                         // for messages
	path string                         // of the login; "": the token is in a file
	body func() (map[string]any, error) // what is sent there
	file string                         // of the token
	held tokenstore.Secret              // the token itself, instead of a file
}

func (c Config) method() method {
	a := c.Auth
	switch {
	case !c.Token.IsZero():
		return method{name: "VAULT_TOKEN", held: c.Token}
	case a.AppRole != nil:
		c := *a.AppRole
		return method{name: "AppRole", path: "auth/" + c.Mount + "/login", body: func() (map[string]any, error) {
			role, err := c.RoleID, error(nil)
			if c.RoleIDFile != "" {
				role, err = readSecret("auth.approle.role_id_file", c.RoleIDFile)
			}
			id, serr := readSecret("auth.approle.secret_id_file", c.SecretIDFile)
			return map[string]any{"role_id": role, "secret_id": id}, cmp.Or(err, serr)
		}}
	case a.Kubernetes != nil:
		return workload(*a.Kubernetes, "Kubernetes", "auth.kubernetes.token_file")
	case a.JWT != nil:
		return workload(*a.JWT, "JWT", "auth.jwt.token_file")
	case a.Cert != nil:
		body := map[string]any{}
		if a.Cert.Role != "" {
			body["name"] = a.Cert.Role
		}
		return method{
			name: "TLS certificate",
			path: "auth/" + a.Cert.Mount + "/login",
			body: func() (map[string]any, error) { return body, nil },
		}
	}
	return method{name: "token file", file: a.TokenFile}
}

func workload(w access.Workload, name, key string) method {
	return method{name: name, path: "auth/" + w.Mount + "/login", body: func() (map[string]any, error) {
		jwt, err := readSecret(key, w.TokenFile)
		return map[string]any{"role": w.Role, "jwt": jwt}, err
	}}
}

// readSecret reads a one-line file.
func readSecret(key, path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	return oneLineSecret(key+" "+path, string(data))
}

func oneLineSecret(where, text string) (string, error) {
	s := strings.TrimSpace(text)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s must hold one line of visible characters", where)
	}
	return s, nil
}

// token is a token of ours and what Vault said of its life.
type token struct {
	value     string
	ttl       time.Duration // that was left when it came; 0: it never expires
	renewable bool
	owned     bool // we logged in for it, so we revoke it at the end
}

// login gets a token.
func (d *dialer) login(ctx context.Context, m method) (token, error) {
	if m.path == "" {
		return d.tokenOfOthers(ctx, m)
	}
	tried := "logging in to Vault with " + m.name
	body, err := m.body()
	if err != nil {
		return token{}, &failure{kind: refused, tried: tried, wrong: err.Error()}
	}
	c, err := d.client(d.fresh, "", kv.WriteTimeout, 0)
	if err != nil {
		return token{}, err
	}
	secret, err := c.Logical().WriteWithContext(ctx, m.path, body)
	if err != nil {
		return token{}, explainLogin(ctx, err, tried, m.path, body)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return token{}, &failure{
			kind:   refused,
			tried:  tried,
			wrong:  "the answer of " + m.path + " has no token",
			remedy: "check auth's mount",
		}
	}
	a := secret.Auth
	return token{
		value:     a.ClientToken,
		ttl:       time.Duration(a.LeaseDuration) * time.Second,
		renewable: a.Renewable,
		owned:     true,
	}, nil
}

// tokenOfOthers looks at a token that is not ours to end.
func (d *dialer) tokenOfOthers(ctx context.Context, m method) (token, error) {
	tried, value := "looking up VAULT_TOKEN in Vault", m.held.Reveal() //nolint:forbidigo // it is what Vault is asked with
	var err error
	if value == "" {
		tried = "looking up the token of auth.token_file"
		value, err = readSecret("auth.token_file", m.file)
	} else {
		value, err = oneLineSecret("VAULT_TOKEN", value)
	}
	if err != nil {
		return token{}, &failure{kind: refused, tried: "logging in to Vault", wrong: err.Error()}
	}
	c, err := d.client(d.fresh, value, kv.ReadTimeout, 0)
	if err != nil {
		return token{}, err
	}
	secret, err := c.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return token{}, explainLogin(ctx, err, tried, "auth/token/lookup-self", map[string]any{"token": value})
	}
	ttl, err := secret.TokenTTL()
	renewable, renewErr := secret.TokenIsRenewable()
	if err = errors.Join(err, renewErr); err != nil {
		return token{}, &failure{kind: refused, tried: tried, wrong: "the answer has no life time"}
	}
	return token{value: value, ttl: ttl, renewable: renewable}, nil
}

// explainLogin is explain for a login, where Vault's own words help and hold nothing but what was sent, which is taken
// out.
func explainLogin(ctx context.Context, err error, tried, path string, sent map[string]any) error {
	f := &failure{}
	if !errors.As(explain(ctx, err, tried, need{}), &f) || f.kind == away {
		return f
	}
	f.kind, f.wrong, f.remedy = refused, "refused at "+path, "check the role, its credential and the mount"
	var answer *api.ResponseError
	if errors.As(err, &answer) && !answer.RawError {
		words := strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " ")
		for _, key := range []string{"secret_id", "jwt", "token"} {
			if v, ok := sent[key].(string); ok {
				words = tokenstore.Redact(words, v)
			}
		}
		f.wrong += fmt.Sprintf(" with status %d: %s", answer.StatusCode, words[:min(len(words), 200)])
	}
	return f
}

// renew prolongs a token and returns it with its new life.
func renew(ctx context.Context, c *api.Client, t token) (token, error) {
	const path = "auth/token/renew-self"
	secret, err := c.Logical().WriteWithContext(ctx, path, nil)
	if err != nil {
		return token{}, explain(ctx, err, "renewing our Vault token", need{"update", path})
	}
	if secret == nil || secret.Auth == nil {
		return token{}, &failure{kind: other, tried: "renewing our Vault token", wrong: "the answer says nothing of its life"}
	}
	t.ttl, t.renewable = time.Duration(secret.Auth.LeaseDuration)*time.Second, secret.Auth.Renewable
	return t, nil
}
