package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

var seed = maphash.MakeSeed()

// Look implements kv.Carrier.
func (k *carrier) Look(ctx context.Context, id tokenstore.AccountID, before kv.Sight) (kv.Sight, error) {
	path := k.metadataPath(id)
	if g := k.session.held(); g != nil {
		if s, ok := k.dialer.glance(ctx, g.token.value, path, before); ok {
			return s, nil
		}
	}
	var m metadata
	c := call{"looking at account " + string(id) + " in Vault", path, need{"read", path}}
	found, err := k.get(ctx, c, nil, &m)
	if err == nil && found && m.Versions == nil {
		err = c.notVaults()
	}
	return m.sight(), err
}

// metadata is what KV tells of a secret.
type metadata struct {
	Current  tokenstore.Version `json:"current_version"`
	Versions map[tokenstore.Version]struct {
		Created   string `json:"created_time"`
		Deleted   string `json:"deletion_time"` // "", or when the version ends or ended
		Destroyed bool   `json:"destroyed"`
	} `json:"versions"`
}

func (m metadata) sight() kv.Sight {
	v := m.Versions[m.Current]
	ends, _ := time.Parse(time.RFC3339Nano, v.Deleted) // zero for ""
	return at(time.Now(), kv.Sight{Mark: kv.Mark{Version: m.Current, Created: v.Created, Ends: ends, Gone: v.Destroyed}})
}

// at is a sight at a later time: a version may have an end.
func at(now time.Time, s kv.Sight) kv.Sight {
	s.Gone = s.Gone || !s.Ends.IsZero() && !s.Ends.After(now)
	return s
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// glance reads metadata with as little work as possible, since a poll does it for every account. Only a good answer
// counts: everything else is asked again through Vault's client, which knows retries, redirects and errors.
func (d *dialer) glance(ctx context.Context, token, path string, before kv.Sight) (kv.Sight, bool) {
	ctx, cancel := context.WithTimeout(ctx, kv.ReadTimeout)
	defer cancel()
	u := *d.base
	u.Path += path
	header := http.Header{"X-Vault-Request": {"true"}, "X-Vault-Token": {token}}
	if d.cfg.Namespace != "" {
		header["X-Vault-Namespace"] = []string{d.cfg.Namespace}
	}
	resp, err := d.shared.Transport.RoundTrip(
		(&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: header}).WithContext(ctx),
	)
	if err != nil {
		return kv.Sight{}, false
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	if _, err = body.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return kv.Sight{}, false
	}
	data := body.Bytes()
	from := bytes.Index(data, []byte(`"data":`)) // before it stands the request's id
	sum := maphash.Bytes(seed, data[max(from, 0):])
	if sum == before.Sum && sum != 0 {
		return at(time.Now(), before), true
	}
	var answer struct{ Data metadata }
	if json.Unmarshal(data, &answer) != nil || answer.Data.Current == 0 {
		return kv.Sight{}, false
	}
	s := answer.Data.sight()
	s.Sum = sum
	return s, true
}
