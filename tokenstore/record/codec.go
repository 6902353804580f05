package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// wireRecord is the known part of a stored record. Everything an operator may write by hand is read leniently.
type wireRecord struct {
	Provider     string       `json:"provider"`
	Pools        stringList   `json:"pools,omitempty"`
	Tenant       string       `json:"tenant,omitempty"`
	Labels       wireLabels   `json:"labels,omitempty"`
	Limits       wireLimits   `json:"limits,omitempty"`
	State        wireState    `json:"state,omitempty"`
	Kind         Kind         `json:"type"`
	ClientID     clientID     `json:"client_id,omitempty"`
	ClientSecret string       `json:"client_secret,omitempty"`
	RefreshToken string       `json:"refresh_token,omitempty"`
	APIKey       string       `json:"api_key,omitempty"`
	Scope        string       `json:"scope,omitempty"`
	AccessToken  string       `json:"access_token,omitempty"`
	TokenType    string       `json:"token_type,omitempty"`
	ExpiresAt    instant      `json:"expires_at,omitzero"`
	ObtainedAt   instant      `json:"obtained_at,omitzero"`
	Rotation     wireRotation `json:"rotation,omitzero"`
	Former       *wireFormer  `json:"former,omitempty"`
}

// wireFormer is the credential that was replaced, as it is stored.
type wireFormer struct {
	Kind         Kind    `json:"type,omitempty"`
	ClientID     string  `json:"client_id,omitempty"`
	ClientSecret string  `json:"client_secret,omitempty"`
	RefreshToken string  `json:"refresh_token,omitempty"`
	Scope        string  `json:"scope,omitempty"`
	Since        instant `json:"since,omitzero"`
	Claim        *Claim  `json:"claim,omitempty"`
}

func formerToWire(f *Former) *wireFormer {
	if f == nil {
		return nil
	}
	return &wireFormer{
		f.Kind, f.ClientID, f.ClientSecret.Reveal(), f.RefreshToken.Reveal(), f.Scope, instant{f.Since}, f.Claim,
	}
}

func (w *wireFormer) read() *Former {
	if w == nil {
		return nil
	}
	return &Former{w.Kind, w.ClientID, trimmed(w.ClientSecret), trimmed(w.RefreshToken), w.Scope, w.Since.Time, w.Claim}
}

// RotationFormat is the newest bookkeeping that this version reads, and the one it writes.
const RotationFormat = 1

// field is a key of the record and where its value goes.
type field struct {
	key    string
	target any
	rule   string
}

func (w *wireRecord) fields() []field {
	const text, instant = "must be a string", "must be an RFC 3339 time as a string"
	return []field{
		{"provider", &w.Provider, text},
		{"pools", &w.Pools, "must be a list of strings or a comma-separated string"},
		{"tenant", &w.Tenant, text},
		{"labels", &w.Labels, "must be an object of strings, or k=v,k2=v2"},
		{"limits", &w.Limits, `must be an object, e.g. {"rpm":60,"concurrency":4}`},
		{"state", &w.State, "must be active or paused"},
		{"type", &w.Kind, text},
		{"client_id", &w.ClientID, "must be a string, or a whole number"},
		{"client_secret", &w.ClientSecret, text},
		{"refresh_token", &w.RefreshToken, text},
		{"api_key", &w.APIKey, text},
		{"scope", &w.Scope, text},
		{"access_token", &w.AccessToken, text},
		{"token_type", &w.TokenType, text},
		{"expires_at", &w.ExpiresAt, instant},
		{"obtained_at", &w.ObtainedAt, instant},
		{"rotation", &w.Rotation, bookkeeping},
		{"former", &w.Former, bookkeeping},
	}
}

// Encode renders a record as it is stored: one flat JSON object with the secrets in it and its keys sorted, so
// that equal records give equal bytes. A slip is written as it was found, unless its key was given another value
// since. Only backends and sealed exports may call it.
func Encode(r Record) ([]byte, error) {
	all, err := knownKeys(r)
	if err != nil {
		return nil, err
	}
	for _, slip := range r.Slips {
		top := slip.top()
		switch {
		case !bytes.Equal(all[top], slip.InForce): // somebody mended it
		case top == "former": // the service's own: written as it is, or not at all
		case slip.Raw == nil:
			delete(all, top)
		default:
			all[top] = slip.Raw
		}
	}
	for k, v := range r.Extra {
		if _, taken := all[k]; !taken {
			all[k] = v
		}
	}
	return json.Marshal(all)
}

// knownKeys are the record's own keys as they would be written if none of them were a slip.
func knownKeys(r Record) (map[string]json.RawMessage, error) {
	known, err := json.Marshal(wireRecord{
		Provider: r.Provider, Pools: r.Pools, Tenant: r.Tenant, Labels: r.Labels, Limits: limitsToWire(r.Limits),
		State: wireState(r.State), Kind: r.Kind, ClientID: clientID(r.ClientID), ClientSecret: r.ClientSecret.Reveal(),
		RefreshToken: r.RefreshToken.Reveal(), APIKey: r.APIKey.Reveal(), Scope: r.Scope,
		AccessToken: r.AccessToken.Reveal(), TokenType: r.TokenType, ExpiresAt: instant{r.ExpiresAt},
		ObtainedAt: instant{r.ObtainedAt}, Rotation: wireRotation(r.Rotation),
		Former: formerToWire(r.Former),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(known, &all); err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return all, nil
}

// Decode reads a stored record. A key whose value breaks its rule becomes a slip, and the rest is read. The
// error, a *Error, names the key and the rule, never the value: of a record that nobody can use. It comes with
// what could be read, so that a rotation can be put onto it; what is not a JSON object gives the zero Record.
func Decode(data []byte) (Record, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(data, &all) != nil || all == nil {
		return Record{}, &Error{Rule: "must be one JSON object"}
	}
	var w wireRecord
	var slips []Slip
	slip := func(raw json.RawMessage, key, rule string) {
		slips = append(slips, Slip{Key: key, Rule: rule, Raw: raw})
	}
	for _, f := range w.fields() {
		raw, ok := all[f.key]
		delete(all, f.key)
		empty := !ok || string(raw) == "null" || string(raw) == `""` // emptied by hand is absent
		switch {
		case empty && f.key == "provider":
			slip(raw, f.key, "must name a provider of the configuration")
		case empty && f.key == "type":
			slip(raw, f.key, "must be given, e.g. oauth_refresh")
		case !empty:
			if key, rule, wrong := f.read(raw); wrong {
				slip(raw, key, rule)
			}
		}
	}
	r := Record{
		Provider: w.Provider, Pools: w.Pools, Tenant: w.Tenant, Labels: w.Labels, Limits: w.Limits.read(),
		State: OperatorState(w.State), Kind: w.Kind, ClientID: string(w.ClientID), ClientSecret: trimmed(w.ClientSecret),
		RefreshToken: trimmed(w.RefreshToken), APIKey: trimmed(w.APIKey), Scope: w.Scope,
		AccessToken: trimmed(w.AccessToken), TokenType: w.TokenType, ExpiresAt: w.ExpiresAt.Time,
		ObtainedAt: w.ObtainedAt.Time, Rotation: Rotation(w.Rotation), Former: w.Former.read(), Slips: slips,
	}
	if len(all) > 0 {
		r.Extra = all
	}
	r.noteInForce()
	return r, r.Broken()
}

// read sets the field's target. A value that breaks the rule leaves it at its default, or at what could be read of it.
func (f field) read(raw json.RawMessage) (key, rule string, wrong bool) {
	err := json.Unmarshal(raw, f.target)
	var within *Error
	switch {
	case err == nil:
		return "", "", false
	case errors.As(err, &within):
		return within.Key, within.Rule, true
	}
	reflect.ValueOf(f.target).Elem().SetZero()
	return f.key, f.rule, true
}

// trimmed drops the line end that `vault kv patch refresh_token=@file` takes along.
func trimmed(secret string) Secret { return NewSecret(trimSecret(secret)) }
