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

	// Operator grants what deploy/vault/operator.hcl does, creation and deletion too. Without it the policy is
	// service.hcl: reading, updating what is there, and listing.
	Operator bool
}

// Client connects a service, or an operator's tokenward, to the engine: the code of tokenstore/vault decides what
// answers mean, on requests that are answered from memory. Its requests for one listing or one look are made one after
// the other, so that their order repeats.
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
}

func (e *kvError) Error() string { return e.tried + ": " + e.cause.Error() }
func (e *kvError) Unwrap() error { return e.cause }

// Own tells kv.Own that the trouble may be one account's.
func (e *kvError) Own() bool { return errors.As(e.cause, new(kvDenied)) }

// kvDenied is a refusal by the policy.
type kvDenied struct{ capability string }

func (d kvDenied) Error() string {
	return fmt.Sprintf("the policy of our token lacks %q", d.capability)
}

var (
	errKVBroken = errors.New("the connection broke before the answer")
	errKVSlow   = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
)

// request is one request.
type request struct {
	kind  OpKind
	id    tokenstore.AccountID
	tried string
	needs string        // of the policy
	limit time.Duration // how long it is waited for
}

// answer is what came of one.
type answer[T any] struct {
	value T
	err   error
}

// carry makes a request. effect does what it asks for, under the engine's lock.
func carry[T any](ctx context.Context, c *kvCarrier, r request, effect func() (T, error)) (T, error) {
	a := answer[T]{err: ctx.Err()}
	if a.err == nil {
		var fault Fault
		if seq := c.seq.Add(1); c.cfg.Faults != nil {
			fault = c.cfg.Faults(Op{seq, r.kind, r.id})
		}
		a = travel(ctx, r, fault, func() (a answer[T]) {
			c.engine.mu.Lock()
			defer c.engine.mu.Unlock()
			switch {
			case c.engine.sealed:
				a.err = errKVSealed
			case c.engine.denied[r.id]:
				a.err = kvDenied{r.needs}
			default:
				a.value, a.err = effect()
			}
			return a
		})
	}
	if a.err != nil {
		var none T
		return none, &kvError{r.tried, a.err}
	}
	return a.value, nil
}

// travel takes a request to where it happens and its answer back, or what the fault leaves of that.
func travel[T any](ctx context.Context, r request, fault Fault, happens func() answer[T]) answer[T] {
	if fault == (Fault{}) {
		return happens()
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.limit, errKVSlow)
	defer cancel()
	var a answer[T]
	switch fault.Kind {
	case Hangs:
		<-limited.Done()
	case RequestLost:
		pause(limited, fault.Before)
		a.err = errKVBroken
	case Denied:
		pause(limited, fault.Before)
		a.err = kvDenied{r.needs}
	default:
		a = happensAfter(limited, fault.Before, happens)
		if fault.Kind == AnswerLost {
			a.err = errKVBroken
		}
	}
	pause(limited, fault.After)
	switch {
	case ctx.Err() != nil:
		a.err = ctx.Err()
	case limited.Err() != nil:
		a.err = context.Cause(limited)
	}
	return a
}

// happensAfter waits for what happens after d. It happens all the same if the context ends before.
func happensAfter[T any](ctx context.Context, d time.Duration, happens func() answer[T]) (a answer[T]) {
	if d <= 0 {
		return happens()
	}
	arrived := make(chan answer[T], 1)
	time.AfterFunc(d, func() { arrived <- happens() })
	select {
	case <-ctx.Done():
	case a = <-arrived:
	}
	return a
}

// pause waits for d, or for the context's end.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
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
		created := v.Created.Format(time.RFC3339Nano)
		return kv.Sight{Mark: kv.Mark{Version: v.Number, Created: created, Ends: v.Ends, Gone: v.Gone}}, nil
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
func (c *kvCarrier) Write(
	ctx context.Context, tried string, id tokenstore.AccountID, data json.RawMessage, cas tokenstore.Version,
) (tokenstore.Version, error) {
	r := request{OpSwap, id, tried, "update", kv.WriteTimeout}
	if cas == 0 {
		r.needs = "create"
	}
	stored, err := asStored(data)
	if err != nil {
		return 0, &kvError{tried, err}
	}
	return carry(ctx, c, r, func() (tokenstore.Version, error) {
		if c.engine.secrets[id] == nil && !c.cfg.Operator {
			return 0, kvDenied{r.needs}
		}
		return c.engine.add(id, stored, &cas)
	})
}

// MayRemove implements kv.Carrier. It meets no faults.
func (c *kvCarrier) MayRemove(_ context.Context, tried string, _ tokenstore.AccountID) error {
	if !c.cfg.Operator {
		return &kvError{tried, kvDenied{"delete"}}
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
