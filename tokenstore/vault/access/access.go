// Package access says where the records are in Vault and how the service logs in there. It is the configuration of
// package vault, apart from it so that the reader of the configuration file uses the same types and rules without a
// Vault client. Nothing is read from the environment, and nothing has a default here.
package access

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/destination"
)

// Config says where Vault is and how to log in.
type Config struct {
	Address   string        // URL; http only for loopback hosts
	Namespace string        // Vault Enterprise; refused on the community edition, which would ignore it. "": none
	CAFile    string        // PEM file of trust anchors; "": the system's
	Mount     string        // of a KV v2 secrets engine
	Prefix    string        // folder of the accounts in it
	Poll      time.Duration // how often changes by others are looked for, ±20 %
	Auth      Auth
}

// Auth is how the service logs in: exactly one field is set. Files are read again at each login.
type Auth struct {
	TokenFile  string // a file with a token that somebody else keeps alive or replaces
	AppRole    *AppRole
	Kubernetes *Workload
	JWT        *Workload
	Cert       *Cert
}

// AppRole logs in with a role id and a secret id.
type AppRole struct {
	Mount        string
	RoleID       string
	RoleIDFile   string // instead of RoleID
	SecretIDFile string
}

// Workload logs in with a signed token of the platform: a Kubernetes service account's, or any JWT.
type Workload struct{ Mount, Role, TokenFile string }

// Cert logs in with a TLS client certificate.
type Cert struct {
	Mount    string
	Role     string // "": Vault chooses by the certificate
	CertFile string // PEM
	KeyFile  string // PEM
}

// Problem is a value that breaks a rule.
type Problem struct {
	Key    string // of the section store.vault, e.g. auth.jwt.role
	Value  string // to be shown, without secrets; "": there is none
	Rule   string // that it breaks, e.g. must be given
	Remedy string // "": the rule says it
}

// path keeps out what would mean something else in a path or in a policy.
var path = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

// PathRule is what Mount and Prefix must be.
const PathRule = "names of a-z A-Z 0-9 . _ -, none beginning with a dot, separated by single slashes, none at the ends"

// Problems returns what is wrong with the place. Nothing is read for it.
func (c Config) Problems() []Problem {
	var out []Problem
	u, ok := destination.Confidential(c.Address)
	switch {
	case c.Address == "":
		out = append(out, Problem{"address", "", "must be given", "e.g. https://vault.example:8200, or set VAULT_ADDR"})
	case !ok || !bare(u):
		shown := destination.WithoutSecrets(c.Address)
		out = append(out, Problem{"address", shown, "must be https://HOST[:PORT]", "http is only for loopback hosts"})
	}
	for _, p := range []struct{ key, value string }{{"mount", c.Mount}, {"prefix", c.Prefix}} {
		if !path.MatchString(p.value) {
			out = append(out, Problem{p.key, p.value, "must be " + PathRule, ""})
		}
	}
	if c.Poll <= 0 {
		out = append(out, Problem{"poll", c.Poll.String(), "must be longer than 0s", ""})
	}
	return out
}

// bare reports whether a URL is a host alone.
func bare(u *url.URL) bool { return strings.Trim(u.Path, "/") == "" && u.RawQuery == "" }

// Problems returns what is wrong with the login. Nothing is read for it.
func (a Auth) Problems() []Problem {
	var out []Problem
	methods := 0
	needs := func(method string, values map[string]string) {
		methods++
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if values[key] == "" {
				out = append(out, Problem{Key: "auth." + method + "." + key, Rule: "must be given"})
			}
		}
	}
	if a.TokenFile != "" {
		methods++
	}
	if m := a.AppRole; m != nil {
		role := m.RoleID + m.RoleIDFile
		needs("approle", map[string]string{
			"mount": m.Mount, "role_id (or role_id_file)": role, "secret_id_file": m.SecretIDFile,
		})
		if m.RoleID != "" && m.RoleIDFile != "" {
			out = append(out, Problem{"auth.approle", "", "has both role_id and role_id_file", "keep one"})
		}
	}
	if m := a.Kubernetes; m != nil {
		needs("kubernetes", map[string]string{"mount": m.Mount, "role": m.Role, "token_file": m.TokenFile})
	}
	if m := a.JWT; m != nil {
		needs("jwt", map[string]string{"mount": m.Mount, "role": m.Role, "token_file": m.TokenFile})
	}
	if m := a.Cert; m != nil {
		needs("cert", map[string]string{"mount": m.Mount, "cert_file": m.CertFile, "key_file": m.KeyFile})
	}
	if methods != 1 {
		const rule = "must have exactly one of token_file, approle, kubernetes, jwt, cert"
		out = append(out, Problem{Key: "auth", Rule: rule})
	}
	return out
}
