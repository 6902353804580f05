package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Store says where records live: in Vault when Vault is set, else in SQLite.
type Store struct {
	SQLite     SQLite
	Vault      *Vault
	JournalDir string // "": no journal
}

// SQLite is the embedded store.
type SQLite struct{ Path, KeyFile string }

// Vault is HashiCorp Vault's KV v2.
type Vault struct {
	Address, Namespace, CAFile, Mount, Prefix string
	Poll                                      time.Duration
	Auth                                      VaultAuth
}

// VaultAuth is how the service logs in; exactly one is set.
type VaultAuth struct {
	TokenFile  string
	AppRole    *VaultAppRole
	Kubernetes *VaultJWT
	JWT        *VaultJWT
	Cert       *VaultCert
}

// VaultAppRole is a login with a role id and a secret id.
type VaultAppRole struct{ Mount, RoleID, RoleIDFile, SecretIDFile string }

// VaultJWT is a login with a token that the platform projects into a file.
type VaultJWT struct{ Mount, Role, TokenFile string }

// VaultCert is a login with a TLS client certificate.
type VaultCert struct{ Mount, Role, CertFile, KeyFile string }

const projectedToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path

func (r *reader) store(s *Store) read {
	return r.object(keys{
		"sqlite":      r.object(keys{"path": r.text(&s.SQLite.Path), "key_file": r.text(&s.SQLite.KeyFile)}),
		"vault":       r.vault(s),
		"journal_dir": r.text(&s.JournalDir),
	})
}

func (r *reader) vault(s *Store) read {
	return func(n *yaml.Node, path string) {
		v := &Vault{Mount: "secret", Prefix: "tokenward/accounts", Poll: 15 * time.Second}
		v.Address, _ = r.env("VAULT_ADDR")
		s.Vault = v
		r.object(keys{
			"address": r.text(&v.Address), "namespace": r.text(&v.Namespace), "ca_file": r.text(&v.CAFile), "mount": r.text(&v.Mount),
			"prefix": r.text(&v.Prefix), "poll": r.duration(&v.Poll, time.Second), "auth": r.vaultAuth(&v.Auth),
		})(n, path)
	}
}

func (r *reader) vaultAuth(a *VaultAuth) read {
	jwt := func(dst **VaultJWT, mount, file string) read {
		return func(n *yaml.Node, path string) {
			*dst = &VaultJWT{Mount: mount, TokenFile: file}
			r.object(keys{"mount": r.text(&(*dst).Mount), "role": r.text(&(*dst).Role), "token_file": r.text(&(*dst).TokenFile)})(n, path)
		}
	}
	return r.object(keys{
		"token_file": r.text(&a.TokenFile),
		"approle": func(n *yaml.Node, path string) {
			a.AppRole = &VaultAppRole{Mount: "approle"}
			r.object(keys{"mount": r.text(&a.AppRole.Mount), "role_id": r.text(&a.AppRole.RoleID), "role_id_file": r.text(&a.AppRole.RoleIDFile), "secret_id_file": r.text(&a.AppRole.SecretIDFile)})(n, path)
		},
		"kubernetes": jwt(&a.Kubernetes, "kubernetes", projectedToken),
		"jwt":        jwt(&a.JWT, "jwt", ""),
		"cert": func(n *yaml.Node, path string) {
			a.Cert = &VaultCert{Mount: "cert"}
			r.object(keys{"mount": r.text(&a.Cert.Mount), "role": r.text(&a.Cert.Role), "cert_file": r.text(&a.Cert.CertFile), "key_file": r.text(&a.Cert.KeyFile)})(n, path)
		},
	})
}

// vaultPath keeps out what would mean something else in a path or in a policy.
var vaultPath = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

func (k *checker) checkStore() {
	v := k.config.Store.Vault
	if v == nil {
		for _, p := range []struct{ key, value string }{{"path", k.config.Store.SQLite.Path}, {"key_file", k.config.Store.SQLite.KeyFile}} {
			if p.value == "" {
				k.bad(0, "store.sqlite."+p.key, "", "must not be empty", "remove it for the default")
			}
		}
		return
	}
	line := k.values["store.vault"].Line
	if k.values["store.sqlite"] != nil {
		k.bad(line, "store", "", "has both sqlite and vault", "keep one")
	}
	u, ok := confidential(v.Address)
	switch {
	case v.Address == "":
		k.bad(line, "store.vault.address", "", "must be given", "e.g. https://vault.example:8200, or set VAULT_ADDR")
	case !ok || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		k.bad(line, "store.vault.address", withoutSecrets(v.Address), "must be https://HOST[:PORT]", "http is only for loopback hosts")
	}
	for _, p := range []struct{ key, value string }{{"mount", v.Mount}, {"prefix", v.Prefix}} {
		if !vaultPath.MatchString(p.value) {
			k.bad(line, "store.vault."+p.key, p.value, "must be names of a-z A-Z 0-9 . _ -, none beginning with a dot, separated by single slashes, none at the ends", "")
		}
	}
	if lead := k.config.Renewal.Lead; lead > 0 && v.Poll > lead/10 {
		k.bad(line, "store.vault.poll", v.Poll.String(), "must be at most a tenth of renewal.lead ("+lead.String()+")", "or a change by an operator is seen too late")
	}
	k.checkVaultAuth(v.Auth, line)
}

func (k *checker) checkVaultAuth(a VaultAuth, line int) {
	const path = "store.vault.auth"
	needs := func(method string, values map[string]string) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if values[key] == "" {
				k.bad(line, path+"."+method+"."+key, "", "must be given", "")
			}
		}
	}
	methods := 0
	if a.TokenFile != "" {
		methods++
	}
	if m := a.AppRole; m != nil {
		methods++
		needs("approle", map[string]string{"mount": m.Mount, "role_id (or role_id_file)": m.RoleID + m.RoleIDFile, "secret_id_file": m.SecretIDFile})
		if m.RoleID != "" && m.RoleIDFile != "" {
			k.bad(line, path+".approle", "", "has both role_id and role_id_file", "keep one")
		}
	}
	if m := a.Kubernetes; m != nil {
		methods++
		needs("kubernetes", map[string]string{"mount": m.Mount, "role": m.Role, "token_file": m.TokenFile})
	}
	if m := a.JWT; m != nil {
		methods++
		needs("jwt", map[string]string{"mount": m.Mount, "role": m.Role, "token_file": m.TokenFile})
	}
	if m := a.Cert; m != nil {
		methods++
		needs("cert", map[string]string{"mount": m.Mount, "cert_file": m.CertFile, "key_file": m.KeyFile})
	}
	if methods != 1 {
		k.bad(line, path, "", "must have exactly one of token_file, approle, kubernetes, jwt, cert", "")
	}
}

// paths are the files and folders of the section, to be made relative to the configuration file.
func (s *Store) paths() []*string {
	out := []*string{&s.SQLite.Path, &s.SQLite.KeyFile, &s.JournalDir}
	v := s.Vault
	if v == nil {
		return out
	}
	out = append(out, &v.CAFile, &v.Auth.TokenFile)
	if m := v.Auth.AppRole; m != nil {
		out = append(out, &m.RoleIDFile, &m.SecretIDFile)
	}
	for _, m := range []*VaultJWT{v.Auth.Kubernetes, v.Auth.JWT} {
		if m != nil {
			out = append(out, &m.TokenFile)
		}
	}
	if m := v.Auth.Cert; m != nil {
		out = append(out, &m.CertFile, &m.KeyFile)
	}
	return out
}

// printed is the section as Print shows it. It holds no secrets: they are in files.
func (s Store) printed() map[string]any {
	out := map[string]any{"journal_dir": s.JournalDir}
	v := s.Vault
	if v == nil {
		out["sqlite"] = map[string]any{"path": s.SQLite.Path, "key_file": s.SQLite.KeyFile}
		return out
	}
	auth := map[string]any{}
	if v.Auth.TokenFile != "" {
		auth["token_file"] = v.Auth.TokenFile
	}
	if m := v.Auth.AppRole; m != nil {
		auth["approle"] = map[string]any{"mount": m.Mount, "role_id": m.RoleID, "role_id_file": m.RoleIDFile, "secret_id_file": m.SecretIDFile}
	}
	for name, m := range map[string]*VaultJWT{"kubernetes": v.Auth.Kubernetes, "jwt": v.Auth.JWT} {
		if m != nil {
			auth[name] = map[string]any{"mount": m.Mount, "role": m.Role, "token_file": m.TokenFile}
		}
	}
	if m := v.Auth.Cert; m != nil {
		auth["cert"] = map[string]any{"mount": m.Mount, "role": m.Role, "cert_file": m.CertFile, "key_file": m.KeyFile}
	}
	out["vault"] = map[string]any{
		"address": v.Address, "namespace": v.Namespace, "ca_file": v.CAFile, "mount": v.Mount, "prefix": v.Prefix, "poll": v.Poll.String(), "auth": auth,
	}
	return out
}
