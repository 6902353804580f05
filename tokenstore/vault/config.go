package vault

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
)

// Config says where Vault is and how to log in. Nothing is read from the environment.
type Config struct {
	Address   string        // URL; http only for loopback addresses
	Namespace string        // Vault Enterprise; refused on the community edition, which would ignore it. "": none
	CAFile    string        // PEM file of trust anchors; "": the system's
	Mount     string        // of a KV v2 secrets engine; "": secret
	Prefix    string        // folder of the accounts in it; "": tokenward/accounts
	Poll      time.Duration // how often changes by others are looked for, ±20 %; 0: 15 s
	Auth      Auth
	Files     *tlsfile.Files // reads the files for TLS again; nil: they are read once
}

// Auth is how the service logs in: exactly one field is set. Files are read again at each login; those of
// a certificate when they change, by Config.Files.
type Auth struct {
	Token      tokenstore.Secret // a token that somebody else keeps alive, e.g. the operator's who runs a command
	TokenFile  string            // a file with a token that somebody else keeps alive or replaces
	AppRole    *AppRole
	Kubernetes *Workload
	JWT        *Workload
	Cert       *Cert
}

// AppRole logs in with a role id and a secret id.
type AppRole struct {
	Mount        string // "": approle
	RoleID       string
	RoleIDFile   string // instead of RoleID
	SecretIDFile string
}

// Workload logs in with a signed token of the platform: a Kubernetes service account's, or any JWT.
type Workload struct {
	Mount     string // "": kubernetes, jwt
	Role      string
	TokenFile string // "": the pod's own, for Kubernetes only
}

// Cert logs in with a TLS client certificate.
type Cert struct {
	Mount    string // "": cert
	Role     string // "": Vault chooses by the certificate
	CertFile string // PEM
	KeyFile  string // PEM
}

const podTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// pathPattern keeps out what would mean something else in a path or in a policy.
var pathPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

// complete fills in the defaults and checks what can be checked without Vault; all problems are reported at once.
func (c Config) complete() (Config, error) {
	c.Mount = orElse(strings.Trim(c.Mount, "/"), "secret")
	c.Prefix = orElse(strings.Trim(c.Prefix, "/"), "tokenward/accounts")
	if c.Poll == 0 {
		c.Poll = 15 * time.Second
	}
	problems := []error{checkAddress(c.Address)}
	for key, path := range map[string]string{"mount": c.Mount, "prefix": c.Prefix} {
		if !pathPattern.MatchString(path) {
			problems = append(problems, fmt.Errorf("%s %q: use names of a-z A-Z 0-9 . _ -, separated by /", key, path))
		}
	}
	if c.Poll < 0 {
		problems = append(problems, fmt.Errorf("poll %s: use a positive duration", c.Poll))
	}
	auth, err := c.Auth.complete()
	c.Auth = auth
	return c, oneLine(append(problems, err))
}

func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil:
		return errors.New("address: use the URL of Vault, e.g. https://vault.example:8200, without credentials")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("address %s: tokens would cross the network in clear text: use https, or a loopback address", address)
	}
	return fmt.Errorf("address %s: use https", address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a Auth) complete() (Auth, error) {
	var given []string
	var problems []error
	need := func(key, value string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("auth.%s is missing", key))
		}
	}
	if !a.Token.IsZero() {
		given = append(given, "VAULT_TOKEN")
	}
	if a.TokenFile != "" {
		given = append(given, "token_file")
	}
	if a.AppRole != nil {
		given = append(given, "approle")
		c := *a.AppRole
		c.Mount = orElse(strings.Trim(c.Mount, "/"), "approle")
		need("approle.role_id", c.RoleID+c.RoleIDFile)
		if c.RoleID != "" && c.RoleIDFile != "" {
			problems = append(problems, errors.New("auth.approle has both role_id and role_id_file: keep one"))
		}
		need("approle.secret_id_file", c.SecretIDFile)
		a.AppRole = &c
	}
	if a.Kubernetes != nil {
		given = append(given, "kubernetes")
		c := *a.Kubernetes
		c.Mount, c.TokenFile = orElse(strings.Trim(c.Mount, "/"), "kubernetes"), orElse(c.TokenFile, podTokenFile)
		need("kubernetes.role", c.Role)
		a.Kubernetes = &c
	}
	if a.JWT != nil {
		given = append(given, "jwt")
		c := *a.JWT
		c.Mount = orElse(strings.Trim(c.Mount, "/"), "jwt")
		need("jwt.role", c.Role)
		need("jwt.token_file", c.TokenFile)
		a.JWT = &c
	}
	if a.Cert != nil {
		given = append(given, "cert")
		c := *a.Cert
		c.Mount = orElse(strings.Trim(c.Mount, "/"), "cert")
		need("cert.cert_file", c.CertFile)
		need("cert.key_file", c.KeyFile)
		a.Cert = &c
	}
	if len(given) != 1 {
		problems = append(problems, fmt.Errorf("auth: give exactly one of token_file, approle, kubernetes, jwt, cert (given: %d)", len(given)))
	}
	return a, oneLine(problems)
}

// oneLine joins problems to one error, nil if there is none.
func oneLine(problems []error) error {
	var words []string
	for _, p := range problems {
		if p != nil {
			words = append(words, p.Error())
		}
	}
	if len(words) == 0 {
		return nil
	}
	return errors.New(strings.Join(words, "; "))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
