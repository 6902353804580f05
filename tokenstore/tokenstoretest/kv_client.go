package tokenstoretest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// ClientConfig says how a client is connected. The zero value is a service's connection that meets no faults.
type ClientConfig struct {
	Faults Injector      // nil: none
	Poll   time.Duration // how often Watch looks for changes, ±20 %; 0: 15 s

	// Operator grants what deploy/vault/operator.hcl does, creation and deletion too. Without it the policy is service.hcl:
	// a write is denied where there is no secret, even with compare-and-set on a version that was there.
	Operator bool
}

// Client connects a service, or an operator's tokenward, to the engine: the code of tokenstore/vault decides what answers
// mean, on requests that are answered from memory. Its requests for one listing or one look are made one after the other, so
// that their order repeats.
func (k *KV) Client(cfg ClientConfig) tokenstore.Backend {
	if cfg.Poll == 0 {
		cfg.Poll = 15 * time.Second
	}
	k.mu.Lock()
	k.clients++
	drawn := rand.New(rand.NewPCG(k.cfg.Seed, k.clients)) //nolint:gosec // pauses, no secrets
	k.mu.Unlock()
	var mu sync.Mutex // guards drawn
	draw := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return drawn.Float64()
	}
	return kvClient{kv.New(&kvCarrier{engine: k, cfg: cfg}, kv.Config{Poll: cfg.Poll, Parallel: 1, Rand: draw})}
}

type kvClient struct{ *kv.Backend }

// Close implements tokenstore.Backend.
func (kvClient) Close() error { return nil }

// kvCarrier implements kv.Carrier.
type kvCarrier struct {
	engine *KV
	cfg    ClientConfig
	seq    atomic.Uint64
}

// kvError is a request that failed, as package vault words it.
type kvError struct {
	tried string
	cause error
	own   bool
}

func (e *kvError) Error() string { return e.tried + ": " + e.cause.Error() }
func (e *kvError) Unwrap() error { return e.cause }

// Own tells kv.Own that the trouble may be one account's.
func (e *kvError) Own() bool { return e.own }

// kvDenied is a refusal by the policy.
type kvDenied struct{ capability string }

func (d kvDenied) Error() string {
	return fmt.Sprintf("the policy of our token lacks %q", d.capability)
}

var (
	errKVBroken = errors.New("the connection broke before Vault's answer")
	errKVSlow   = fmt.Errorf("Vault did not answer in time: %w", context.DeadlineExceeded)
)

// request is one request.
type request struct {
	kind  OpKind
	id    tokenstore.AccountID
	tried string
	needs string        // of the policy
	limit time.Duration // how long it is waited for
}

// carry makes a request, with what befalls it. Under the engine's lock effect does what was asked and returns the answer.
func carry[T any](ctx context.Context, c *kvCarrier, r request, effect func() (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, r.failed(ctx.Err())
	}
	var fault Fault
	if seq := c.seq.Add(1); c.cfg.Faults != nil {
		fault = c.cfg.Faults(Op{seq, r.kind, r.id})
	}
	limited, cancel := ctx, func() {}
	if fault != (Fault{}) {
		limited, cancel = context.WithTimeout(ctx, r.limit)
	}
	defer cancel()
	ended := func() error {
		if ctx.Err() != nil {
			return r.failed(ctx.Err())
		}
		return r.failed(errKVSlow)
	}
	switch fault.Kind {
	case Hangs:
		<-limited.Done()
		return none, ended()
	case RequestLost, Denied:
		if !paused(limited, fault.Before+fault.After) {
			return none, ended()
		}
		if fault.Kind == Denied {
			return none, r.failed(kvDenied{r.needs})
		}
		return none, r.failed(errKVBroken)
	}
	type answer struct {
		value T
		err   error
	}
	happens := func() answer {
		c.engine.mu.Lock()
		defer c.engine.mu.Unlock()
		switch {
		case c.engine.sealed:
			return answer{err: errKVSealed}
		case c.engine.denied[r.id]:
			return answer{err: kvDenied{r.needs}}
		}
		value, err := effect()
		return answer{value, err}
	}
	var a answer
	if fault.Before > 0 {
		arrived := make(chan answer, 1)
		time.AfterFunc(fault.Before, func() { arrived <- happens() })
		select {
		case <-limited.Done():
			return none, ended()
		case a = <-arrived:
		}
	} else {
		a = happens()
	}
	switch {
	case !paused(limited, fault.After):
		return none, ended()
	case fault.Kind == AnswerLost:
		return none, r.failed(errKVBroken)
	case a.err != nil:
		return none, r.failed(a.err)
	}
	return a.value, nil
}

func (r request) failed(cause error) error {
	_, denied := cause.(kvDenied)
	return &kvError{r.tried, cause, denied}
}

// paused waits for d, and reports false if the context ends before.
func paused(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Names implements kv.Carrier.
func (c *kvCarrier) Names(ctx context.Context) ([]string, error) {
	r := request{OpList, "", "listing the accounts in Vault", "list", kv.ReadTimeout}
	return carry(ctx, c, r, func() ([]string, error) { return slices.Clone(c.engine.names), nil })
}

// Look implements kv.Carrier. Its limit is twice a read's: the real one asks a second time in another way.
func (c *kvCarrier) Look(ctx context.Context, id tokenstore.AccountID, _ kv.Sight) (kv.Sight, error) {
	r := request{OpLook, id, "looking at account " + string(id) + " in Vault", "read", 2 * kv.ReadTimeout}
	return carry(ctx, c, r, func() (kv.Sight, error) {
		v := c.engine.secrets[id].current(c.engine.now())
		if v.Number == 0 {
			return kv.Sight{}, nil
		}
		return kv.Sight{Mark: kv.Mark{Version: v.Number, Created: v.Created.Format(time.RFC3339Nano), Ends: v.Ends, Gone: v.Gone}}, nil
	})
}

// Read implements kv.Carrier.
func (c *kvCarrier) Read(ctx context.Context, id tokenstore.AccountID) (kv.Current, error) {
	r := request{OpLoad, id, "reading account " + string(id) + " from Vault", "read", kv.ReadTimeout}
	return carry(ctx, c, r, func() (kv.Current, error) {
		v := c.engine.secrets[id].current(c.engine.now())
		if v.Gone {
			v.Data = nil
		}
		return kv.Current{Version: v.Number, Data: v.Data, Ends: v.Ends}, nil
	})
}

// Write implements kv.Carrier.
func (c *kvCarrier) Write(ctx context.Context, tried string, id tokenstore.AccountID, data json.RawMessage, cas tokenstore.Version) (tokenstore.Version, error) {
	r := request{OpSwap, id, tried, "update", kv.WriteTimeout}
	if cas == 0 {
		r.needs = "create"
	}
	stored, err := asStored(data)
	if err != nil {
		return 0, r.failed(err)
	}
	return carry(ctx, c, r, func() (tokenstore.Version, error) {
		if c.engine.secrets[id] == nil && !c.cfg.Operator {
			return 0, kvDenied{r.needs}
		}
		return c.engine.add(id, stored, &cas)
	})
}

// MayRemove implements kv.Carrier. It meets no faults.
func (c *kvCarrier) MayRemove(_ context.Context, tried string, id tokenstore.AccountID) error {
	if !c.cfg.Operator {
		return request{tried: tried, id: id}.failed(kvDenied{"delete"})
	}
	return nil
}

// Remove implements kv.Carrier.
func (c *kvCarrier) Remove(ctx context.Context, tried string, id tokenstore.AccountID) error {
	r := request{OpRemove, id, tried, "delete", kv.WriteTimeout}
	_, err := carry(ctx, c, r, func() (struct{}, error) {
		c.engine.set(id, nil)
		return struct{}{}, nil
	})
	return err
}
