package extproc

import (
	"container/list"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// trails keeps the trail of every request in recovery between two of its attempts, bounded in number and age: a client
// may leave between them. The zero value is not usable.
type trails struct {
	most int
	age  time.Duration

	mu    sync.Mutex // guards byID and order
	byID  map[string]*list.Element
	order *list.List // of *kept, oldest first
}

type kept struct {
	id    string
	trail *tokenstore.Trail
	blind bool // the request has waited for a body in vain
	at    time.Time
}

func newTrails(most int, age time.Duration) *trails {
	return &trails{most: most, age: age, byID: map[string]*list.Element{}, order: list.New()}
}

// put keeps a trail for the request's next attempt, and lets go of what is too old or too many.
func (t *trails) put(id string, trail *tokenstore.Trail, blind bool) {
	if id == "" {
		return // no outer listener of ours in front: Envoy's attempt count is the only bound
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.byID[id]; e != nil {
		t.drop(e)
	}
	t.byID[id] = t.order.PushBack(&kept{id: id, trail: trail, blind: blind, at: now})
	for e := t.order.Front(); e != nil && (t.order.Len() > t.most || now.Sub(of(e).at) > t.age); e = t.order.Front() {
		t.drop(e)
	}
}

// take returns what is kept of the request and forgets it; nil when there is no trail.
func (t *trails) take(id string) (trail *tokenstore.Trail, blind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byID[id]
	if e == nil {
		return nil, false
	}
	t.drop(e)
	if time.Since(of(e).at) > t.age {
		return nil, false
	}
	return of(e).trail, of(e).blind
}

func (t *trails) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.order.Len()
}

func (t *trails) drop(e *list.Element) {
	delete(t.byID, of(e).id)
	t.order.Remove(e)
}

func of(e *list.Element) *kept { return e.Value.(*kept) } // only put fills the list
