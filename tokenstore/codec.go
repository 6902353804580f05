package tokenstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// wireRecord is the known part of a stored record. Everything an operator may write by hand is read leniently.
type wireRecord struct {
	Provider     string            `json:"provider"`
	Pools        stringList        `json:"pools,omitempty"`
	Tenant       string            `json:"tenant,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Limits       wireLimits        `json:"limits,omitempty"`
	State        OperatorState     `json:"state,omitempty"`
	Kind         Kind              `json:"type"`
	ClientID     string            `json:"client_id,omitempty"`
	ClientSecret string            `json:"client_secret,omitempty"`
	RefreshToken string            `json:"refresh_token,omitempty"`
	APIKey       string            `json:"api_key,omitempty"`
	Scope        string            `json:"scope,omitempty"`
	AccessToken  string            `json:"access_token,omitempty"`
	TokenType    string            `json:"token_type,omitempty"`
	ExpiresAt    instant           `json:"expires_at,omitzero"`
	ObtainedAt   instant           `json:"obtained_at,omitzero"`
	Rotation     Rotation          `json:"rotation,omitzero"`
	Former       *wireFormer       `json:"former,omitempty"`
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
	return &wireFormer{f.Kind, f.ClientID, f.ClientSecret.Reveal(), f.RefreshToken.Reveal(), f.Scope, instant{f.Since}, f.Claim}
}

func (w *wireFormer) read() *Former {
	if w == nil {
		return nil
	}
	return &Former{w.Kind, w.ClientID, trimmed(w.ClientSecret), trimmed(w.RefreshToken), w.Scope, w.Since.Time, w.Claim}
}

// rotationFormat is the newest bookkeeping that this version reads, and the one it writes.
const rotationFormat = 1

// field is a key of the record and where its value goes.
type field struct {
	key    string
	target any
	rule   string
}

func (w *wireRecord) fields() []field {
	const text = "must be a string"
	return []field{
		{"provider", &w.Provider, text},
		{"pools", &w.Pools, "must be a list of strings or a comma-separated string"},
		{"tenant", &w.Tenant, text},
		{"labels", &w.Labels, "must be an object of strings"},
		{"limits", &w.Limits, `must be an object, e.g. {"rpm":60,"concurrency":4}`},
		{"state", &w.State, text},
		{"type", &w.Kind, text},
		{"client_id", &w.ClientID, text},
		{"client_secret", &w.ClientSecret, text},
		{"refresh_token", &w.RefreshToken, text},
		{"api_key", &w.APIKey, text},
		{"scope", &w.Scope, text},
		{"access_token", &w.AccessToken, text},
		{"token_type", &w.TokenType, text},
		{"expires_at", &w.ExpiresAt, "must be an RFC 3339 time as a string"},
		{"obtained_at", &w.ObtainedAt, "must be an RFC 3339 time as a string"},
		{"rotation", &w.Rotation, "must be the object that the service wrote"},
		{"former", &w.Former, "must be the object that the service wrote: remove it if the credential is good"},
	}
}

// EncodeRecord renders a record as it is stored: one flat JSON object with the secrets in it and its keys sorted, so that
// equal records give equal bytes. Only backends and sealed exports may call it.
func EncodeRecord(r Record) ([]byte, error) {
	w := wireRecord{
		Provider: r.Provider, Pools: r.Pools, Tenant: r.Tenant, Labels: r.Labels, Limits: limitsToWire(r.Limits), State: r.State, Kind: r.Kind, ClientID: r.ClientID,
		ClientSecret: r.ClientSecret.Reveal(), RefreshToken: r.RefreshToken.Reveal(), APIKey: r.APIKey.Reveal(), Scope: r.Scope,
		AccessToken: r.AccessToken.Reveal(), TokenType: r.TokenType, ExpiresAt: instant{r.ExpiresAt}, ObtainedAt: instant{r.ObtainedAt}, Rotation: r.Rotation,
		Former: formerToWire(r.Former),
	}
	known, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(known, &all); err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	for k, v := range r.Extra {
		if _, taken := all[k]; !taken {
			all[k] = v
		}
	}
	return json.Marshal(all)
}

// DecodeRecord reads a stored record. Errors are *RecordError: they name the key and the rule, never the value.
func DecodeRecord(data []byte) (Record, error) {
	all := map[string]json.RawMessage{}
	if json.Unmarshal(data, &all) != nil {
		return Record{}, &RecordError{Rule: "must be one JSON object"}
	}
	var w wireRecord
	for _, f := range w.fields() {
		raw, ok := all[f.key]
		delete(all, f.key)
		if !ok || string(raw) == "null" || string(raw) == `""` { // emptied by hand is absent, whatever the key's type
			continue
		}
		if json.Unmarshal(raw, f.target) != nil && !unmarshalQuoted(raw, f.target) {
			return Record{}, &RecordError{Key: f.key, Rule: f.rule}
		}
	}
	switch {
	case w.Provider == "":
		return Record{}, &RecordError{Key: "provider", Rule: "must name a provider of the configuration"}
	case w.Kind == "":
		return Record{}, &RecordError{Key: "type", Rule: "must be given, e.g. oauth_refresh"}
	case w.State != "" && w.State != Active && w.State != Paused:
		return Record{}, &RecordError{Key: "state", Rule: "must be active or paused"}
	case w.Rotation.Format > rotationFormat:
		return Record{}, &RecordError{Key: "rotation.format", Rule: "was written by a newer tokenward: use that version"}
	case w.Rotation.Claim != nil && (w.Rotation.Claim.AttemptID == "" || w.Rotation.Claim.Holder == ""):
		return Record{}, &RecordError{Key: "rotation.claim", Rule: "must name its attempt_id and holder: remove rotation.claim if no process refreshes this account"}
	}
	limits, err := w.Limits.read()
	if err != nil {
		return Record{}, err
	}
	r := Record{
		Provider: w.Provider, Pools: w.Pools, Tenant: w.Tenant, Labels: w.Labels, Limits: limits, State: w.State, Kind: w.Kind, ClientID: w.ClientID,
		ClientSecret: trimmed(w.ClientSecret), RefreshToken: trimmed(w.RefreshToken), APIKey: trimmed(w.APIKey), Scope: w.Scope,
		AccessToken: trimmed(w.AccessToken), TokenType: w.TokenType, ExpiresAt: w.ExpiresAt.Time, ObtainedAt: w.ObtainedAt.Time, Rotation: w.Rotation,
		Former: w.Former.read(),
	}
	if len(all) > 0 {
		r.Extra = all
	}
	return r, nil
}

// trimmed drops the line end that `vault kv patch refresh_token=@file` takes along.
func trimmed(secret string) Secret { return NewSecret(trimSecret(secret)) }

// unmarshalQuoted reads a value that sits as JSON text in a string: `vault kv put` can write nothing but strings.
func unmarshalQuoted(raw []byte, target any) bool {
	var text string
	return json.Unmarshal(raw, &text) == nil && json.Unmarshal([]byte(text), target) == nil
}

// stringList is a JSON list of strings, or one comma-separated string, as `vault kv patch` writes it.
type stringList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *stringList) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) != nil {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil {
			list = strings.Split(s, ",")
		}
	}
	*l = nil
	for _, e := range list {
		if e = strings.TrimSpace(e); e != "" {
			*l = append(*l, e)
		}
	}
	return nil
}

// wireLimits is the record's limits by key.
type wireLimits map[string]json.RawMessage

func limitsToWire(l Limits) wireLimits {
	w := wireLimits{}
	for k, v := range l.Extra {
		w[k] = v
	}
	for k, n := range map[string]int{"rpm": l.RPM, "concurrency": l.Concurrency} {
		if delete(w, k); n != 0 {
			w[k] = strconv.AppendInt(nil, int64(n), 10)
		}
	}
	return w
}

func (w wireLimits) read() (Limits, error) {
	var l Limits
	for key, n := range map[string]*int{"rpm": &l.RPM, "concurrency": &l.Concurrency} {
		raw, ok := w[key]
		delete(w, key)
		if ok && string(raw) != `""` && json.Unmarshal(raw, n) != nil {
			return Limits{}, limitError(key)
		}
	}
	if len(w) > 0 {
		l.Extra = w
	}
	return l, l.Validate()
}

// instant is a time as an RFC 3339 string, "" for none.
type instant struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (i instant) MarshalJSON() ([]byte, error) { return json.Marshal(i.UTC().Format(time.RFC3339Nano)) }

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil || s == "" {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	if i.Time = t.UTC(); i.Year() < 0 || i.Year() > 9999 { // an offset can lead out of what RFC 3339 can say again
		return errors.New("out of range")
	}
	return err
}
