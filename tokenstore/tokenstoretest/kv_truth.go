package tokenstoretest

import "github.com/tokenward/tokenward/tokenstore"

// IDs returns the accounts that are there, sorted, those without a living version included.
func (k *KV) IDs() []tokenstore.AccountID {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids := make([]tokenstore.AccountID, len(k.names))
	for i, name := range k.names {
		ids[i] = tokenstore.AccountID(name)
	}
	return ids
}

// Current returns an account's current version, whatever is sealed or denied; ok is false if there is none.
func (k *KV) Current(id tokenstore.AccountID) (v KVVersion, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v = k.secrets[id].current(k.now())
	return v, v.Number != 0
}

// Versions returns the versions that are kept of an account, oldest first.
func (k *KV) Versions(id tokenstore.AccountID) []KVVersion {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.versions(id)
}

func (k *KV) versions(id tokenstore.AccountID) []KVVersion {
	s := k.secrets[id].clone()
	t := k.now()
	for i, v := range s.versions {
		s.versions[i] = v.at(t)
	}
	return s.versions
}
