package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tokenstore"
)

// kind is what a failed call means for the next step.
type kind int

const (
	// Vault cannot be used now: sealed, unreachable, too busy; nothing needs to change for the next try
	away    kind = iota + 1
	denied       // the policy lacks a capability
	dead         // our token is no longer known
	refused      // the login was refused
	wrong        // the configuration does not fit this Vault
	other
)

// failure is a failed call in words. It never wraps what Vault sent: that may hold secrets.
type failure struct {
	kind   kind
	status int // of Vault's answer; 0: there was none
	tried  string
	wrong  string
	remedy string
	cause  error // nil, a context's error, or one of tokenstore's
}

func (f *failure) Error() string {
	s := f.tried + ": " + f.wrong
	if f.remedy != "" {
		s += ": " + f.remedy
	}
	return s
}

func (f *failure) Unwrap() error { return f.cause }

// Own reports whether the failure may be one account's own: the policy denies its path, or its entry is broken, which
// Vault answers with status 500.
func (f *failure) Own() bool {
	return f.kind == denied || f.kind == other || f.status == http.StatusInternalServerError
}

// isKind reports whether err is a failure of kind k.
func isKind(err error, k kind) bool {
	var f *failure
	return errors.As(err, &f) && f.kind == k
}

// need is what a call needs of the policy, for the message when it is refused.
type need struct{ capability, path string }

// explain makes a failure of what the client returned. It is the only place that reads Vault's messages.
func explain(ctx context.Context, err error, tried string, n need) error {
	f := &failure{tried: tried, kind: other}
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		f.connection(ctx, err)
		return f
	}
	f.status = answer.StatusCode
	text := ""
	if !answer.RawError {
		text = strings.Join(answer.Errors, "\n")
	}
	switch s := answer.StatusCode; {
	case s == http.StatusBadRequest && answer.RawError: // no JSON: Go's server says so to http where it wants https
		f.kind = away
		f.wrong = "what answered with status 400 is no Vault, or wants https"
		f.remedy = "check scheme and port of store.vault.address"
	case s == http.StatusBadRequest && strings.Contains(text, "check-and-set parameter did not match"):
		// no status of its own
		f.wrong, f.cause = "somebody else changed it", tokenstore.ErrConflict
	case s == http.StatusBadRequest && strings.Contains(text, "pgrading"):
		// "Upgrading from non-versioned to versioned data"
		f.kind, f.wrong = away, "the secrets engine is still being prepared"
	case s == http.StatusForbidden && strings.Contains(text, "invalid token"):
		// beside "permission denied", which stands alone for policies
		f.kind, f.wrong = dead, "Vault does not know our token any more"
	case s == http.StatusForbidden:
		f.kind, f.wrong = denied, fmt.Sprintf("the policy of our token lacks %q on %s", n.capability, n.path)
		f.remedy = "add it if this is meant to be possible; deploy/vault has the policies"
	case s == http.StatusNotFound:
		f.kind, f.wrong, f.remedy = wrong, "Vault has nothing at this path", "check store.vault.mount and "+
			"store.vault.namespace"
	case s == http.StatusTooManyRequests:
		f.kind, f.wrong = away, "Vault's rate limit is reached"
	case s == http.StatusServiceUnavailable:
		f.kind, f.wrong, f.remedy = away, "Vault is sealed or has no active node", "unseal it"
	case s >= 500 || s == http.StatusPreconditionFailed:
		f.kind, f.wrong = away, fmt.Sprintf("Vault answered with status %d", s)
	default:
		f.wrong = fmt.Sprintf("Vault refused it with status %d", s)
	}
	return f
}

// connection words an error that came without an answer.
func (f *failure) connection(ctx context.Context, err error) {
	var (
		network *net.OpError
		noTLS   tls.RecordHeaderError
		name    *net.DNSError
		cert    *tls.CertificateVerificationError
		timeout net.Error
	)
	f.kind = away
	switch {
	case ctx.Err() != nil:
		f.wrong, f.cause = ctx.Err().Error(), ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.wrong, f.cause = "Vault did not answer in time", context.DeadlineExceeded
	case errors.As(err, &cert):
		f.wrong, f.remedy = cert.Error(), "check store.vault.address and store.vault.ca_file"
	case errors.As(err, &name):
		f.wrong, f.remedy = name.Error(), "check store.vault.address"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS):
		f.wrong, f.remedy = "what listens there does not speak https", "check scheme and port of store.vault.address; http "+
			"is taken on loopback only"
	case errors.As(err, &network):
		f.wrong, f.remedy = network.Error(), "check store.vault.address and that Vault runs"
	default:
		// the text may quote what came
		f.wrong, f.remedy = "the connection broke before Vault's answer", "check store.vault.address and what is between "+
			"us and Vault"
	}
}
