package tokenstoretest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// Driver is a scripted provider with strict rotation: refreshing rt-N yields at-(N+1) and rt-(N+1), and a refresh token
// that was used is refused for good.
type Driver struct {
	Lifetime time.Duration // of access tokens
	Policy   tokenstore.ReplayPolicy
	Grace    time.Duration // with ReplayGrace
	// OnRefresh, when set, runs before a grant is processed; its error is the answer and the token is not spent.
	OnRefresh func(ctx context.Context, r tokenstore.Record) error
	// OnAnswer, when set, runs after a grant was processed; its error replaces the answer, as when the answer is lost.
	OnAnswer func(ctx context.Context, r tokenstore.Record) error
	// OnGrant, when set, may change a grant before it is handed out.
	OnGrant func(g *tokenstore.Grant)
	// Life is what access tokens tell of their own lifetime; 0: nothing.
	Life time.Duration

	mu     sync.Mutex // guards what follows
	refuse *tokenstore.RefreshError
	calls  int
	spent  map[string]int
	next   int
}

// NewDriver returns a driver whose access tokens live an hour.
func NewDriver() *Driver {
	return &Driver{Lifetime: time.Hour, Policy: tokenstore.ReplayStrict, spent: map[string]int{}}
}

// Refuse makes every grant fail before it is processed, until it is called with nil.
func (d *Driver) Refuse(e *tokenstore.RefreshError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = e
}

// Calls is how many grants were asked for.
func (d *Driver) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// MostSpent is the largest number of times that one refresh token was redeemed.
func (d *Driver) MostSpent() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := 0
	for _, n := range d.spent {
		most = max(most, n)
	}
	return most
}

// Check implements tokenstore.Driver.
func (d *Driver) Check(r tokenstore.Record) error {
	if r.RefreshToken.IsZero() && r.AccessToken.IsZero() {
		return &tokenstore.RecordError{Key: "refresh_token", Rule: "must be given"}
	}
	if strings.ContainsAny(r.AccessToken.Reveal(), "\r\n") {
		return &tokenstore.RecordError{Key: "access_token", Rule: "must be one line"}
	}
	return nil
}

// Refreshable implements tokenstore.Driver.
func (d *Driver) Refreshable(r tokenstore.Record) bool { return !r.RefreshToken.IsZero() }

// Token implements tokenstore.Driver.
func (d *Driver) Token(r tokenstore.Record) tokenstore.Secret { return r.AccessToken }

// Refresh implements tokenstore.Driver.
func (d *Driver) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	d.mu.Lock()
	d.calls++
	refuse := d.refuse
	d.mu.Unlock()
	if refuse != nil {
		return tokenstore.Grant{}, refuse
	}
	if d.OnRefresh != nil {
		if err := d.OnRefresh(ctx, r); err != nil {
			return tokenstore.Grant{}, err
		}
	}
	d.mu.Lock()
	token := r.RefreshToken.Reveal()
	d.spent[token]++
	used := d.spent[token] > 1
	d.next++
	n := d.next
	d.mu.Unlock()
	if used {
		return tokenstore.Grant{}, &tokenstore.RefreshError{
			Class:  tokenstore.RefreshPermanent,
			Status: 400,
			Code:   "invalid_grant",
		}
	}
	if d.OnAnswer != nil {
		if err := d.OnAnswer(ctx, r); err != nil {
			return tokenstore.Grant{}, err
		}
	}
	g := tokenstore.Grant{
		AccessToken:  tokenstore.NewSecret(fmt.Sprintf("at-%d", n)),
		RefreshToken: tokenstore.NewSecret(fmt.Sprintf("rt-%d", n)),
		ExpiresIn:    d.Lifetime,
	}
	if d.OnGrant != nil {
		d.OnGrant(&g)
	}
	return g, nil
}

// Lifespan implements tokenstore.Estimator.
func (d *Driver) Lifespan(tokenstore.Record) time.Duration { return d.Life }

// Headers implements tokenstore.Driver.
func (d *Driver) Headers(r tokenstore.Record) []tokenstore.Header {
	return []tokenstore.Header{{Name: "authorization", Value: "Bearer " + r.AccessToken.Reveal()}}
}

// Classify implements tokenstore.Driver.
func (d *Driver) Classify(resp tokenstore.Response) tokenstore.Verdict {
	class, scope := tokenstore.ClassRequestFault, tokenstore.ScopeRequest
	var wait time.Duration
	switch s := resp.Status; {
	case resp.Local && resp.NotSent:
		class, scope = tokenstore.ClassUnreachable, tokenstore.ScopeProvider
	case resp.Local:
		class, scope = tokenstore.ClassProviderFault, tokenstore.ScopeProvider
	case s < 400:
		class = tokenstore.ClassOK
	case s == 401:
		class, scope = tokenstore.ClassTokenRejected, tokenstore.ScopeAccount
	case s == 403:
		class = tokenstore.ClassForbidden
	case s == 429:
		class, scope = tokenstore.ClassRateLimited, tokenstore.ScopeAccount
		if resp.Header != nil {
			wait, _ = time.ParseDuration(resp.Header.Get("retry-after") + "s")
		}
	case s == 529 || s == 503:
		class, scope = tokenstore.ClassOverloaded, tokenstore.ScopeProvider
	case s >= 500:
		class, scope = tokenstore.ClassProviderFault, tokenstore.ScopeProvider
	}
	return tokenstore.Verdict{Class: class, Scope: scope, Wait: wait, Message: string(resp.Body)}
}

// Header is headers by lower-case name.
type Header map[string]string

// Get implements tokenstore.HeaderGetter.
func (h Header) Get(name string) string { return h[name] }

// Room implements tokenstore.Driver.
func (d *Driver) Room(h tokenstore.HeaderGetter) bool { return h != nil && h.Get("remaining") != "" }

// Shape implements tokenstore.Driver.
func (d *Driver) Shape(ref tokenstore.Refusal) (string, []byte) {
	body, _ := json.Marshal(struct { // strings always encode
		Reason   tokenstore.Reason `json:"reason"`
		Message  string            `json:"message"`
		Provider string            `json:"provider"`
	}{ref.Reason, ref.Message, ref.ProviderMessage})
	return "application/json", body
}

// Replay implements tokenstore.Driver.
func (d *Driver) Replay() (tokenstore.ReplayPolicy, time.Duration) { return d.Policy, d.Grace }
