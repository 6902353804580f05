package tokenstoretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// KV is one of Vault's KV v2 secrets engines in memory: versions, compare-and-set, soft deletion, denials and seals as
// the real one has them, checked against it step by step in tokenstore/vault. [KV.Client] connects a service; the
// methods in kv_operator.go are what people do to it with `vault kv`; those in kv_truth.go are for judges and meet no
// fault. It runs in the time of a testing/synctest bubble, or in real time. Safe for concurrent use.
type KV struct {
	cfg KVConfig

	mu      sync.Mutex // guards what follows
	secrets map[tokenstore.AccountID]*kvSecret
	names   []string // of secrets, sorted
	sealed  bool
	denied  map[tokenstore.AccountID]bool
	stamp   time.Time // the latest that was given out
	clients uint64    // that were made
}

// KVConfig is what a KV is made from. The zero value is what deploy/vault/setup.sh makes.
type KVConfig struct {
	MaxVersions int    // that are kept of a secret; 0: 30
	Seed        uint64 // of what its clients draw: the pauses between their looks for changes
}

// kvSecret is one secret. It is not changed once it is in the engine, so that a snapshot costs a pointer.
type kvSecret struct {
	versions    []KVVersion // that are kept, oldest first; none: metadata alone
	deleteAfter time.Duration
}

// KVVersion is one version of a secret.
type KVVersion struct {
	Number    tokenstore.Version
	Data      json.RawMessage // what is stored, also while it is deleted; none once destroyed. Not to be changed
	Created   time.Time       // UTC; no two are the same
	Ends      time.Time       // when it is deleted, past or future; zero: never
	Destroyed bool
	Gone      bool // deleted or destroyed, when it was asked for
}

// Record decodes what is stored, as loading it would: see [tokenstore.DecodeRecord].
func (v KVVersion) Record() (tokenstore.Record, error) { return tokenstore.DecodeRecord(v.Data) }

// NewKV returns an empty engine, unsealed.
func NewKV(cfg KVConfig) *KV {
	if cfg.MaxVersions == 0 {
		cfg.MaxVersions = 30
	}
	return &KV{
		cfg: cfg, secrets: map[tokenstore.AccountID]*kvSecret{}, denied: map[tokenstore.AccountID]bool{},
	}
}

var (
	errKVSealed = errors.New("sealed, or no active node: unseal it")
	errKVAbsent = errors.New("no value found")
)

// now is Vault's clock: it never gives the same instant twice, as time that passes between two requests does. k.mu is
// held.
func (k *KV) now() time.Time {
	t := time.Now().UTC().Round(0)
	if !t.After(k.stamp) {
		t = k.stamp.Add(1)
	}
	k.stamp = t
	return t
}

// current is the latest version as it is at t; the zero one if there is none.
func (s *kvSecret) current(t time.Time) KVVersion {
	if s == nil || len(s.versions) == 0 {
		return KVVersion{}
	}
	return s.versions[len(s.versions)-1].at(t)
}

func (v KVVersion) at(t time.Time) KVVersion {
	v.Gone = v.Destroyed || !v.Ends.IsZero() && v.Ends.Before(t)
	return v
}

// end is when a version ends that was made, or undeleted, at t.
func (s *kvSecret) end(t time.Time) time.Time {
	if s.deleteAfter == 0 {
		return time.Time{}
	}
	return t.Add(s.deleteAfter)
}

// clone is a copy that may be changed until it is put into the engine.
func (s *kvSecret) clone() *kvSecret {
	if s == nil {
		return &kvSecret{}
	}
	c := *s
	c.versions = append(make([]KVVersion, 0, len(s.versions)+1), s.versions...)
	return &c
}

// set puts s in place of what was there; nil removes it. k.mu is held.
func (k *KV) set(id tokenstore.AccountID, s *kvSecret) {
	i, there := slices.BinarySearch(k.names, string(id))
	switch {
	case s == nil:
		delete(k.secrets, id)
		if there {
			k.names = slices.Delete(k.names, i, i+1)
		}
		return
	case !there:
		k.names = slices.Insert(k.names, i, string(id))
	}
	k.secrets[id] = s
}

// add puts a new version on top of cas, nil: of whatever there is. k.mu is held.
func (k *KV) add(id tokenstore.AccountID, data json.RawMessage, cas *tokenstore.Version) (tokenstore.Version, error) {
	t := k.now()
	last := k.secrets[id].current(t).Number
	if cas != nil && *cas != last {
		return 0, tokenstore.ErrConflict
	}
	s := k.secrets[id].clone()
	s.versions = append(s.versions, KVVersion{Number: last + 1, Data: data, Created: t, Ends: s.end(t)})
	s.versions = s.versions[max(0, len(s.versions)-k.cfg.MaxVersions):]
	k.set(id, s)
	return last + 1, nil
}

// asStored is a document as Vault gives it back: keys sorted at every depth, numbers of double precision.
func asStored(document []byte) (json.RawMessage, error) {
	var doc map[string]any
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("the data is no JSON object: %w", err)
	}
	return json.Marshal(doc)
}
