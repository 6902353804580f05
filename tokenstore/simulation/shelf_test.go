package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// shelf is the store: the model of Vault's KV v2, whose documents are decoded once each, not at every read.
type shelf struct {
	*tokenstoretest.KV
	direct tokenstore.Backend // as the services are connected
	read   map[tokenstore.AccountID]reading
}

type reading struct {
	number        tokenstore.Version
	created, ends time.Time
	record        tokenstore.Record
	version       tokenstore.Version
	err           error
}

func newShelf(seed uint64) *shelf {
	kv := tokenstoretest.NewKV(tokenstoretest.KVConfig{Seed: seed})
	return &shelf{kv, kv.Client(tokenstoretest.ClientConfig{}), map[tokenstore.AccountID]reading{}}
}

// Load is the backend's, and remembers what it read of a version.
func (s *shelf) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	v, ok := s.Current(id)
	if !ok || v.Gone {
		return s.direct.Load(ctx, id)
	}
	r := s.read[id]
	if r.number != v.Number || !r.created.Equal(v.Created) || !r.ends.Equal(v.Ends) {
		r = reading{number: v.Number, created: v.Created, ends: v.Ends}
		r.record, r.version, r.err = s.direct.Load(ctx, id)
		if r.err != nil && !errors.Is(r.err, tokenstore.ErrUnreadable) {
			return r.record, r.version, r.err // denied
		}
		s.read[id] = r
	}
	return r.record.Clone(), r.version, r.err
}

// shown is the refresh token that the current version shows.
func (s *shelf) shown(id tokenstore.AccountID) string {
	r, _, _ := s.Load(context.Background(), id)
	return r.RefreshToken.Reveal()
}

// document is an account's record, key by key; nil: there is none, or it is deleted.
func (s *shelf) document(id tokenstore.AccountID) map[string]any {
	if v, ok := s.Current(id); !ok || v.Gone {
		return nil
	}
	return s.kept(id)
}

// kept is document, of a deleted record as well.
func (s *shelf) kept(id tokenstore.AccountID) map[string]any {
	v, _ := s.Current(id)
	var doc map[string]any
	if json.Unmarshal(v.Data, &doc) != nil {
		return nil
	}
	return doc
}

// token is the refresh token that a document shows.
func token(doc map[string]any) string {
	value, _ := doc["refresh_token"].(string)
	return value
}

func documentOf(r tokenstore.Record) map[string]any {
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		panic(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		panic(err)
	}
	return doc
}
