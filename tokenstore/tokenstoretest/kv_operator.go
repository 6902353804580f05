package tokenstoretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// The edits of this file are those of docs/vault.md. They fail while the engine is sealed; no denial and no fault of a
// client concerns them.

// Put is `vault kv put`: a new version that holds doc and nothing else. With cas it is `-cas=N`, which fails with
// tokenstore.ErrConflict unless N is the current version.
func (k *KV) Put(id tokenstore.AccountID, doc map[string]any, cas ...tokenstore.Version) (tokenstore.Version, error) {
	return k.edit(id, cas, func(json.RawMessage) (any, error) { return doc, nil })
}

// Patch is `vault kv patch`: a new version of the current one with these keys. nil removes a key; inside an object it
// does so too (RFC 7396). It fails if the current version is deleted, or there is none.
func (k *KV) Patch(
	id tokenstore.AccountID, keys map[string]any, cas ...tokenstore.Version,
) (tokenstore.Version, error) {
	patch, err := json.Marshal(keys)
	if err != nil {
		return 0, err
	}
	return k.edit(id, cas, func(current json.RawMessage) (any, error) {
		if current == nil {
			return nil, errKVAbsent
		}
		var doc, change any
		if err := errors.Join(json.Unmarshal(current, &doc), json.Unmarshal(patch, &change)); err != nil {
			return nil, err
		}
		return merged(doc, change), nil
	})
}

// merged is RFC 7396's MergePatch.
func merged(doc, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	was, _ := doc.(map[string]any)
	now := maps.Clone(was)
	if now == nil {
		now = map[string]any{}
	}
	for key, value := range change {
		if value == nil {
			delete(now, key)
			continue
		}
		now[key] = merged(now[key], value)
	}
	return now
}

// Rollback is `vault kv rollback`: a new version with the data of an old one that is kept and not deleted.
func (k *KV) Rollback(id tokenstore.AccountID, to tokenstore.Version) (tokenstore.Version, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sealed {
		return 0, errKVSealed
	}
	for _, v := range k.versions(id) {
		switch {
		case v.Number != to:
		case v.Destroyed || !v.Ends.IsZero(): // an end that is still to come as well: so the command has it
			return 0, fmt.Errorf("rolling back to version %d, which is deleted or has an end: %w", to, errKVAbsent)
		default:
			return k.add(id, v.Data, nil)
		}
	}
	return 0, fmt.Errorf("rolling back to version %d: %w", to, errKVAbsent)
}

// SoftDelete is `vault kv delete`: the current version counts as deleted until it is undeleted.
func (k *KV) SoftDelete(id tokenstore.AccountID) error {
	return k.alter(id, func(s *kvSecret, t time.Time) {
		if v := s.current(t); v.Number != 0 && !v.Gone {
			s.versions[len(s.versions)-1].Ends = t
		}
	})
}

// Undelete is `vault kv undelete`.
func (k *KV) Undelete(id tokenstore.AccountID, versions ...tokenstore.Version) error {
	return k.alter(id, func(s *kvSecret, t time.Time) {
		for i, v := range s.versions {
			if slices.Contains(versions, v.Number) && !v.Destroyed {
				s.versions[i].Ends = s.end(t)
			}
		}
	})
}

// Destroy is `vault kv destroy`: the data of these versions is gone.
func (k *KV) Destroy(id tokenstore.AccountID, versions ...tokenstore.Version) error {
	return k.alter(id, func(s *kvSecret, _ time.Time) {
		for i, v := range s.versions {
			if slices.Contains(versions, v.Number) {
				s.versions[i].Destroyed, s.versions[i].Data = true, nil
			}
		}
	})
}

// DestroyMetadata is `vault kv metadata delete`: the secret and its history are gone. Made again it starts at version
// 1.
func (k *KV) DestroyMetadata(id tokenstore.AccountID) error {
	return k.act(func() { k.set(id, nil) })
}

// DeleteVersionsAfter is `vault kv metadata put -delete-version-after`: each version made from now on has an end. 0:
// none.
func (k *KV) DeleteVersionsAfter(id tokenstore.AccountID, after time.Duration) error {
	return k.act(func() {
		s := k.secrets[id].clone()
		s.deleteAfter = after
		k.set(id, s)
	})
}

// KVSnapshot is the whole engine as it was: `vault operator raft snapshot save`.
type KVSnapshot struct {
	secrets map[tokenstore.AccountID]*kvSecret
	names   []string
}

// Snapshot takes a snapshot.
func (k *KV) Snapshot() KVSnapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return KVSnapshot{maps.Clone(k.secrets), slices.Clone(k.names)}
}

// Restore puts a snapshot in place of everything: versions go back, secrets that are younger are gone.
func (k *KV) Restore(s KVSnapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets, k.names = maps.Clone(s.secrets), slices.Clone(s.names)
}

// Seal makes every request and every edit fail, until Unseal.
func (k *KV) Seal() { k.seal(true) }

// Unseal ends what Seal began.
func (k *KV) Unseal() { k.seal(false) }

func (k *KV) seal(sealed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed = sealed
}

// Deny makes the policy of all clients deny these accounts' paths; they are listed all the same.
func (k *KV) Deny(ids ...tokenstore.AccountID) { k.deny(true, ids) }

// Allow ends what Deny began.
func (k *KV) Allow(ids ...tokenstore.AccountID) { k.deny(false, ids) }

func (k *KV) deny(denied bool, ids []tokenstore.AccountID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if delete(k.denied, id); denied {
			k.denied[id] = true
		}
	}
}

// edit adds a version with what change makes of the data of the current one, nil: deleted, or none.
func (k *KV) edit(
	id tokenstore.AccountID, cas []tokenstore.Version, change func(current json.RawMessage) (any, error),
) (tokenstore.Version, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sealed {
		return 0, errKVSealed
	}
	var expect *tokenstore.Version
	if len(cas) > 0 {
		expect = &cas[0]
	}
	v := k.secrets[id].current(k.now())
	if v.Gone {
		v.Data = nil
	}
	doc, err := change(v.Data)
	if err != nil {
		return 0, err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return 0, err
	}
	data, err := asStored(raw)
	if err != nil {
		return 0, err
	}
	return k.add(id, data, expect)
}

// alter changes a secret that is there.
func (k *KV) alter(id tokenstore.AccountID, change func(*kvSecret, time.Time)) error {
	return k.act(func() {
		if s := k.secrets[id]; s != nil {
			s = s.clone()
			change(s, k.now())
			k.set(id, s)
		}
	})
}

// act does something to an engine that is not sealed.
func (k *KV) act(do func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sealed {
		return errKVSealed
	}
	do()
	return nil
}
