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
)

// mark is what tells two states of a secret apart without reading it. The creation time shows a secret that was removed and
// created anew up to the same number.
type mark struct {
	version tokenstore.Version // 0: there is none, or it cannot be seen
	created string
	ends    time.Time // when the version is deleted, past or future; zero: never. Part of the mark, since our clock may be wrong
	gone    bool      // deleted or destroyed
}

// sight is a mark as it was seen.
type sight struct {
	mark
	sum uint64 // of the answer, which is not taken apart again while it stays the same; 0: unknown
}

var seed = maphash.MakeSeed()

// see reads the metadata of one account; the zero mark if there is none.
func (b *Backend) see(ctx context.Context, id tokenstore.AccountID, before sight) (sight, error) {
	path := b.metadataPath(id)
	if g := b.session.held(); g != nil {
		if s, ok := b.dialer.glance(ctx, g.token.value, path, before); ok {
			return s, nil
		}
	}
	var m metadata
	c := call{"looking at account " + string(id) + " in Vault", path, need{"read", path}}
	found, err := b.get(ctx, c, nil, &m)
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

func (m metadata) sight() sight {
	v := m.Versions[m.Current]
	ends, _ := time.Parse(time.RFC3339Nano, v.Deleted) // zero for ""
	s := sight{mark: mark{m.Current, v.Created, ends, v.Destroyed}}
	return s.at(time.Now())
}

// at is the sight at a later time: a version may have an end.
func (s sight) at(now time.Time) sight {
	s.gone = s.gone || !s.ends.IsZero() && !s.ends.After(now)
	return s
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// glance reads metadata with as little work as possible, since a poll does it for every account. Only a good answer counts:
// everything else is asked again through Vault's client, which knows retries, redirects and errors.
func (d *dialer) glance(ctx context.Context, token, path string, before sight) (sight, bool) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	u := *d.base
	u.Path += path
	header := http.Header{"X-Vault-Request": {"true"}, "X-Vault-Token": {token}}
	if d.cfg.Namespace != "" {
		header["X-Vault-Namespace"] = []string{d.cfg.Namespace}
	}
	resp, err := d.shared.Transport.RoundTrip((&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: header}).WithContext(ctx))
	if err != nil {
		return sight{}, false
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	if _, err = body.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return sight{}, false
	}
	data := body.Bytes()
	from := bytes.Index(data, []byte(`"data":`)) // before it stands the request's id
	sum := maphash.Bytes(seed, data[max(from, 0):])
	if sum == before.sum && sum != 0 {
		return before.at(time.Now()), true
	}
	var answer struct{ Data metadata }
	if json.Unmarshal(data, &answer) != nil || answer.Data.Current == 0 {
		return sight{}, false
	}
	s := answer.Data.sight()
	s.sum = sum
	return s, true
}
