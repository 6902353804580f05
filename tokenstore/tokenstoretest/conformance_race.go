package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func oneWinner(t *testing.T, b tokenstore.Backend) {
	race(t, b, mustSwap(t, b, "a", sample("start"), 0))
}

func oneCreator(t *testing.T, b tokenstore.Backend) { race(t, b, 0) }

// race lets 64 writers swap account a from one version at once.
func race(t *testing.T, b tokenstore.Backend, from tokenstore.Version) {
	const writers = 64
	var (
		start   = make(chan struct{})
		group   sync.WaitGroup
		mu      sync.Mutex // guards winners
		winners = map[string]tokenstore.Version{}
	)
	for i := range writers {
		group.Go(func() {
			token := fmt.Sprintf("writer-%d", i)
			<-start
			v, err := b.CompareAndSwap(t.Context(), "a", sample(token), from)
			if err == nil {
				mu.Lock()
				winners[token] = v
				mu.Unlock()
				return
			}
			wantError(t, err, tokenstore.ErrConflict)
		})
	}
	close(start)
	group.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d writers won: %v", len(winners), winners)
	}
	for token, v := range winners {
		wantStored(t, b, "a", token, v)
	}
}

func losesNoIncrement(t *testing.T, b tokenstore.Backend) {
	const writers, each = 8, 10
	mustSwap(t, b, "a", sample("rt"), 0)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				if err := increment(t.Context(), b, "a"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	r, _ := mustLoad(t, b, "a")
	if r.Rotation.Generation != writers*each {
		t.Errorf("%d increments were acknowledged, %d are stored", writers*each, r.Rotation.Generation)
	}
}

func increment(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID) error {
	for {
		r, v, err := b.Load(ctx, id)
		if err != nil {
			return err
		}
		r.Rotation.Generation++
		if _, err = b.CompareAndSwap(ctx, id, r, v); !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}
