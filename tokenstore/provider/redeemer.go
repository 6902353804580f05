package provider

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// redeemer is the half of a driver that obtains tokens: what a record must have, and how its credential is redeemed.
type redeemer struct {
	name     string // of the driver
	kinds    []Kind
	endpoint *endpoint
	ask      askGrant
	refusals []rule[tokenstore.RefreshClass]
	replay   tokenstore.ReplayPolicy
	grace    time.Duration
}

// askGrant is how a provider wants to be asked for a grant.
type askGrant struct {
	json     bool   // else a form
	style    string // how the client shows itself: params, header, none
	headers  map[string]string
	lifetime time.Duration // of a token whose answer does not tell; 0: until it is refused
}

func (d *redeemer) kind(r tokenstore.Record) (Kind, bool) {
	at := slices.IndexFunc(d.kinds, func(k Kind) bool { return k.Name == r.Kind })
	if at < 0 {
		return Kind{}, false
	}
	return d.kinds[at], true
}

// Check implements tokenstore.Driver.
func (d *redeemer) Check(r tokenstore.Record) error {
	key := "access_token"
	if r.Kind == tokenstore.KindAPIKey {
		key = "api_key"
	}
	if err := sendable(key, d.Token(r)); err != nil {
		return err
	}
	k, ok := d.kind(r)
	if !ok {
		rule := "must be " + oneOf(d.kinds) + " with the " + d.name + " driver"
		return &tokenstore.RecordError{Key: "type", Rule: rule}
	}
	if missing := k.missing(r); missing != "" && (!k.OrToken || r.AccessToken.IsZero()) {
		return &tokenstore.RecordError{Key: missing, Rule: "must be given for this type"}
	}
	return nil
}

// missing is the first of the keys that the record lacks; "": none.
func (k Kind) missing(r tokenstore.Record) string {
	for _, key := range k.Needs {
		given := r.Extra[key] != nil
		switch key {
		case "client_id":
			given = r.ClientID != ""
		case "client_secret":
			given = !r.ClientSecret.IsZero()
		case "refresh_token":
			given = !r.RefreshToken.IsZero()
		case "api_key":
			given = !r.APIKey.IsZero()
		}
		if !given {
			return key
		}
	}
	return ""
}

// oneOf names kinds: "a, b or c".
func oneOf(kinds []Kind) string {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, string(k.Name))
	}
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// Refreshable implements tokenstore.Driver: it has all that its kind needs, and a token endpoint.
func (d *redeemer) Refreshable(r tokenstore.Record) bool {
	k, ok := d.kind(r)
	return ok && k.Grant != "" && k.missing(r) == "" && d.target(k) != ""
}

// target is the token endpoint for a kind: the configuration's, or else the provider's own.
func (d *redeemer) target(k Kind) string {
	if d.endpoint.url != "" {
		return d.endpoint.url
	}
	return k.TokenURL
}

// Token implements tokenstore.Driver.
func (d *redeemer) Token(r tokenstore.Record) tokenstore.Secret { return tokenOf(r) }

func tokenOf(r tokenstore.Record) tokenstore.Secret {
	if r.Kind == tokenstore.KindAPIKey {
		return r.APIKey
	}
	return r.AccessToken
}

// Refresh implements tokenstore.Driver.
func (d *redeemer) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	k, _ := d.kind(r)
	return d.endpoint.redeem(ctx, request{
		url: d.target(k), grant: k.Grant, record: r, askGrant: d.ask, refusals: d.refusals,
	})
}

// Replay implements tokenstore.Driver.
func (d *redeemer) Replay() (tokenstore.ReplayPolicy, time.Duration) { return d.replay, d.grace }

// Lifespan implements tokenstore.Estimator: an access token that is a JWT tells its end.
func (d *redeemer) Lifespan(r tokenstore.Record) time.Duration {
	from := r.ObtainedAt
	if from.IsZero() {
		from = time.Now()
	}
	return jwtLife(reveal(d.Token(r)), from)
}
