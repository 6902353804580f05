package provider

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// Account is a family of tokens and what is scripted for it.
type Account struct {
	Name     string        `json:"name"`
	Lifetime time.Duration `json:"lifetime"`
	Script   Script        `json:"script"`

	Redemptions int  `json:"redemptions"` // grants processed
	Reuses      int  `json:"reuses"`      // refresh tokens presented a second time
	Dead        bool `json:"dead"`        // the family is revoked

	access  map[string]time.Time // living access tokens and their end
	refresh string               // the one valid refresh token
	signIns int                  // each begins a family
	spent   map[string]int       // spent refresh tokens and the sign-in of their family
}

// Script is what goes wrong for an account until it is changed.
type Script struct {
	Status     int               `json:"status,omitempty"` // the LLM API's answer
	Body       string            `json:"body,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Shape      Shape             `json:"shape,omitzero"`
	TokenError int               `json:"token_error,omitempty"` // status of the token endpoint, nothing is processed
	TokenBody  string            `json:"token_body,omitempty"`
	Before     time.Duration     `json:"before,omitempty"`     // the token endpoint thinks before it processes a grant
	After      time.Duration     `json:"after,omitempty"`      // and after
	DropAfter  bool              `json:"drop_after,omitempty"` // the grant is processed and the answer lost
	DropBefore bool              `json:"drop_before,omitempty"`
	TokenTail  string            `json:"token_tail,omitempty"` // spoils the access token in the token endpoint's answer
}

// Seen is one request that reached the LLM API.
type Seen struct {
	Test           string              `json:"test"` // header x-test-id
	Path           string              `json:"path"`
	URI            string              `json:"uri"` // path and query, as sent
	Trailers       map[string][]string `json:"trailers"`
	Proto          string              `json:"proto"`
	Headers        map[string][]string `json:"headers"`
	Authorizations []string            `json:"authorizations"`
	Account        string              `json:"account"`
	Status         int                 `json:"status"`
	BodyLength     int                 `json:"body_length"`
	BodySum        string              `json:"body_sum"`
}

type ledger struct {
	mu       sync.Mutex // guards everything below, and the accounts
	accounts map[string]*Account
	byAccess map[string]*Account
	byToken  map[string]*Account // by refresh token, spent ones included
	seen     []Seen
	counts   map[string]int // answers per test id: lets x-sim limit a fault
	calls    int            // of the token endpoint
}

func newLedger() *ledger {
	return &ledger{
		accounts: map[string]*Account{},
		byAccess: map[string]*Account{},
		byToken:  map[string]*Account{},
		counts:   map[string]int{},
	}
}

// Credential is what an operator would be given.
type Credential struct {
	ClientID     string    `json:"client_id"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// ClientID is the only OAuth client the authorization server knows.
const ClientID = "sim-client"

// Create makes an account, or signs in to an existing one anew: the old family is revoked.
func (p *Provider) Create(name string, lifetime time.Duration) Credential {
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[name]
	if a == nil {
		a = &Account{Name: name, spent: map[string]int{}}
		l.accounts[name] = a
	}
	a.Lifetime, a.Dead, a.access = lifetime, false, map[string]time.Time{}
	a.signIns++
	access := l.issue(a)
	return Credential{ClientID: ClientID, AccessToken: access, RefreshToken: a.refresh, ExpiresAt: a.access[access]}
}

// issue makes a new pair of tokens; older access tokens live on until their end.
func (l *ledger) issue(a *Account) string {
	access := "sk-ant-oat-sim-" + a.Name + "-" + rand.Text()
	a.refresh = "sk-ant-ort-sim-" + a.Name + "-" + rand.Text()
	a.access[access] = time.Now().Add(a.Lifetime)
	l.byAccess[access], l.byToken[a.refresh] = a, a
	return access
}

// Revoke makes every access token of the account invalid before its end. Its refresh token stays.
func (p *Provider) Revoke(name string) {
	p.with(name, func(a *Account) { a.access = map[string]time.Time{} })
}

// Kill revokes the whole family.
func (p *Provider) Kill(name string) { p.with(name, func(a *Account) { a.kill() }) }

func (a *Account) kill() { a.Dead, a.access = true, map[string]time.Time{} }

// Script sets what goes wrong for the account; the zero Script ends it.
func (p *Provider) Script(name string, s Script) { p.with(name, func(a *Account) { a.Script = s }) }

// Account returns the account's counters.
func (p *Provider) Account(name string) Account {
	var out Account
	p.with(name, func(a *Account) { out = *a })
	return out
}

func (p *Provider) with(name string, f func(a *Account)) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	a := p.ledger.accounts[name]
	if a == nil {
		panic(fmt.Sprintf("simulated provider: no account %q", name))
	}
	f(a)
}

// Seen returns the requests of a test, in order; "" for all.
func (p *Provider) Seen(test string) []Seen {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	var out []Seen
	for _, s := range p.ledger.seen {
		if test == "" || s.Test == test {
			out = append(out, s)
		}
	}
	return out
}

// TokenCalls is how often the token endpoint was called.
func (p *Provider) TokenCalls() int {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return p.ledger.calls
}
