package record

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// ID names an account in every backend, log and answer: 1 to 128 characters of a-z A-Z 0-9 . _ -, not starting
// with a dot. It is not a secret.
type ID string

var accountIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// Validate reports whether the id can be used as a name in every backend.
func (id ID) Validate() error {
	if !accountIDPattern.MatchString(string(id)) {
		return fmt.Errorf("account id %q: use 1 to 128 of a-z A-Z 0-9 . _ -, not starting with a dot", string(id))
	}
	return nil
}

// Generation counts the access tokens of an account; it rises with every token installed. 0: no token yet.
type Generation uint64

// OperatorState is what the operator wants of an account.
type OperatorState string

// The states an operator may set. An absent state means active.
const (
	Active OperatorState = "active"
	Paused OperatorState = "paused"
)

// Kind is the record's type: how its access tokens come about. Drivers list the kinds they know.
type Kind string

// Kinds of accounts. AnthropicOAuth and ClaudeCode belong to the anthropic driver.
const (
	KindOAuthRefresh      Kind = "oauth_refresh"
	KindClientCredentials Kind = "client_credentials"
	KindAPIKey            Kind = "api_key"
	KindAnthropicOAuth    Kind = "ANTHROPIC_OAUTH"
	KindClaudeCode        Kind = "CLAUDE_CODE"
)

// Record is one account as a backend stores it: one flat JSON object. The operator owns the first group of fields and
// the credential, the service owns the token and Rotation; a refresh that rotates the refresh token writes both.
// A Record is a value: whoever changes one works on a Clone.
type Record struct {
	Provider string            // name of the provider in the configuration
	Pools    []string          // pools it serves; none: the pool with the provider's name
	Tenant   string            // "" or the only tenant it serves
	Labels   map[string]string // free, for people
	Limits   Limits            // what one process may give it
	State    OperatorState     // "" means active
	Kind     Kind              // key `type`

	ClientID     string
	ClientSecret Secret
	RefreshToken Secret
	APIKey       Secret
	Scope        string

	AccessToken Secret
	TokenType   string
	ExpiresAt   time.Time // UTC; zero: unknown, the token is used until the provider refuses it
	ObtainedAt  time.Time // UTC

	Rotation Rotation
	Former   *Former // nil: the credential is proven, or the first one

	// Extra holds the keys that this version does not know (and `private_key` and the like that belong to
	// later drivers). They are kept on every write and never shown, since they may be secret.
	Extra map[string]json.RawMessage

	// Slips are the keys whose values cannot be used. They are kept as they were written until somebody mends them.
	Slips []Slip

	// Ends is when the backend will take this version of the record for deleted; zero: never. It is no part of what is
	// stored.
	Ends time.Time
}

// Rotation is the service's bookkeeping in the record.
type Rotation struct {
	Format int `json:"format,omitempty"` // of the bookkeeping: 1; absent means 1
	// random, set when the record is created: guards against delete-and-recreate
	Incarnation string     `json:"incarnation,omitempty"`
	Generation  Generation `json:"generation,omitempty"`
	WriteID     string     `json:"write_id,omitempty"` // random per write: recognises our own write after a lost answer
	Writer      string     `json:"writer,omitempty"`   // the process that wrote last
	Claim       *Claim     `json:"claim,omitempty"`
	Last        *Outcome   `json:"last,omitempty"` // the latest refresh
	// outlives later outcomes: only a success or another credential ends it
	Dead *Dead `json:"dead,omitempty"`
	// changes when an operator resumes the account: what made it wait ends
	Resumed string `json:"resumed,omitempty"`

	// Spent are fingerprints of the credentials that were exchanged for others, the latest last: how other processes learn
	// of it.
	Spent []string `json:"spent,omitempty"`

	Rejected *Rejection `json:"rejected,omitempty"` // the latest credential that was given to the account and did not work
}

// Claim says: this process is about to spend this refresh token. It is written before the token endpoint is called.
type Claim struct {
	AttemptID   string    `json:"attempt_id"`
	Holder      string    `json:"holder"`
	Fingerprint string    `json:"fingerprint,omitempty"` // of the refresh token about to be spent
	StartedAt   time.Time `json:"started_at"`            // the holder's wall clock: for display, never compared
	Ambiguous   bool      `json:"ambiguous,omitempty"`   // the grant was sent and no readable answer came: it may be spent

	// LeaseSeconds is the holder's claim_lease, so that a process with a shorter one does not call a living claim dead.
	LeaseSeconds int `json:"lease_seconds,omitempty"`
}

// Clone returns a deep copy.
func (r Record) Clone() Record {
	c := r
	c.Pools = append([]string(nil), r.Pools...)
	c.Labels = maps.Clone(r.Labels)
	c.Extra, c.Limits.Extra = cloneExtra(r.Extra), cloneExtra(r.Limits.Extra)
	c.Rotation.Spent, c.Slips = slices.Clone(r.Rotation.Spent), slices.Clone(r.Slips)
	if r.Rotation.Claim != nil {
		claim := *r.Rotation.Claim
		c.Rotation.Claim = &claim
	}
	if r.Rotation.Last != nil {
		last := *r.Rotation.Last
		c.Rotation.Last = &last
	}
	if r.Rotation.Rejected != nil {
		rejected := *r.Rotation.Rejected
		c.Rotation.Rejected = &rejected
	}
	c.Former = r.Former.clone()
	if r.Rotation.Dead != nil {
		dead := *r.Rotation.Dead
		c.Rotation.Dead = &dead
	}
	return c
}

func cloneExtra(extra map[string]json.RawMessage) map[string]json.RawMessage {
	c := maps.Clone(extra)
	for k, v := range c {
		c[k] = append(json.RawMessage(nil), v...)
	}
	return c
}

// Serves returns the pools the record serves: those it names, else the one of its provider's name.
func (r Record) Serves() []string {
	if len(r.Pools) == 0 {
		return []string{r.Provider}
	}
	return r.Pools
}

// Credential returns the secret that refreshes are made from, whatever the kind calls it.
func (r Record) Credential() Secret {
	for _, s := range []Secret{r.RefreshToken, r.ClientSecret, r.APIKey} {
		if !s.IsZero() {
			return s
		}
	}
	return Secret{}
}

// GrantsDifferently reports whether a refresh with next could end otherwise than one with r: an operator changed what a
// grant request is made of.
func (r Record) GrantsDifferently(next Record) bool {
	return r.Provider != next.Provider || r.Kind != next.Kind || r.ClientID != next.ClientID ||
		!r.ClientSecret.Equal(next.ClientSecret)
}

// ErrUnreadable is matched by every error about a record that cannot be decoded or used.
var ErrUnreadable = errors.New("unreadable record")

// Error names the key of a record that is wrong and the rule it breaks. It never holds the value of a secret.
type Error struct {
	Key  string // "" when the record as a whole is wrong
	Rule string
}

func (e *Error) Error() string {
	if e.Key == "" {
		return "unreadable record: " + e.Rule
	}
	return "unreadable record: key " + e.Key + ": " + e.Rule
}

// Is makes errors.Is(err, ErrUnreadable) true.
func (e *Error) Is(target error) bool { return target == ErrUnreadable }

// NewID returns a random id of 16 characters: for an incarnation, a claim, a write.
func NewID() string { return rand.Text()[:16] }

// NewIncarnation returns the random mark of a record whose credential an operator has just written.
func NewIncarnation() string { return NewID() }

// Clip returns s, cut to its first 256 bytes: what is stored of an answer is bounded.
func Clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most]
	}
	return s
}

// Version is a backend's version of a record, used for compare-and-set. 0 means: the record does not exist.
type Version uint64

// OnHold reports whether the account must neither serve nor refresh: an operator paused it, or its live copy is in
// another store. The label wins over a state that somebody patches: a refresh token must not have two owners.
func (r Record) OnHold() bool { return r.State == Paused || r.Labels[LabelCopiedTo] != "" }

// Labels of a record that `tokenward accounts copy` moved to another store: where its live copy is, and the state it
// had.
const (
	LabelCopiedTo    = "copied-to"
	LabelCopiedState = "copied-state"
)

// WhyDeleted is why an account is paused whose record is marked deleted in its store.
const WhyDeleted = "its latest version is deleted or destroyed in the store: undelete it there if it was deleted, " +
	"write it anew, or remove the account"
