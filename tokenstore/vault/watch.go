package vault

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// pollPause is between two polls at least, however often Nudge is called, and between tries while Vault is away.
const pollPause = time.Second

// Watch implements tokenstore.Backend by polling: it reports the difference from what the latest List saw, then from poll to
// poll. It goes on while Vault is away, and reports after it what changed meanwhile.
func (b *Backend) Watch(ctx context.Context, changed func(tokenstore.AccountID), looked func(error)) error {
	nudge := make(chan struct{}, 1)
	b.mu.Lock()
	seen := b.listed // never changed once set
	b.nudges[nudge] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.nudges, nudge)
	}()
	for {
		now, err := b.marks(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			report(seen, now, changed)
			seen = now
		}
		looked(err)
		if !b.waitForPoll(ctx, nudge, err != nil) {
			return ctx.Err()
		}
	}
}

// report calls changed for every account whose mark differs.
func report(before, now map[tokenstore.AccountID]mark, changed func(tokenstore.AccountID)) {
	for id, m := range now {
		if before[id] != m {
			changed(id)
		}
	}
	for id := range before {
		if _, still := now[id]; !still {
			changed(id)
		}
	}
}

// waitForPoll waits for the next poll's time or a nudge; false: the context ended.
func (b *Backend) waitForPoll(ctx context.Context, nudge <-chan struct{}, failing bool) bool {
	wait := time.Duration(float64(b.cfg.Poll) * (0.8 + 0.4*rand.Float64()))
	least := min(pollPause, wait)
	if failing {
		wait = least
	}
	begun := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-nudge:
	}
	timer.Reset(least - time.Since(begun))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Nudge makes every running Watch look for changes now, or a second after its last look. It never blocks.
func (b *Backend) Nudge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for nudge := range b.nudges {
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
}
