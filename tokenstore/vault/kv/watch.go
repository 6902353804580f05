package kv

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
)

// pollPause is between tries while Vault is away.
const pollPause = time.Second

// parts is how many slices a poll is cut into, which are spread over the time until the next, so that reading many
// accounts does not hold up what else the process does. Small slices cost more for each read: 100 of them a sixth,
// measured.
const parts = 25

// Watch implements tokenstore.Backend by polling: it reports the difference from what the latest List saw, then from
// poll to poll. It goes on while Vault is away, and reports after it what changed meanwhile.
func (b *Backend) Watch(ctx context.Context, changed func(tokenstore.AccountID), looked func(error)) error {
	b.mu.Lock()
	p := &poller{Backend: b, changed: changed, seen: maps.Clone(b.listed)}
	b.mu.Unlock()
	if p.seen == nil {
		p.seen = sights{}
	}
	return p.run(ctx, looked)
}

// poller is one Watch.
type poller struct {
	*Backend
	changed  func(tokenstore.AccountID)
	seen     sights
	withheld map[tokenstore.AccountID]error // of the latest poll
}

// run polls. The poll after one that failed is not spread, and the next follows it at once: so the last account of a
// spread poll has not waited for longer than the others.
func (p *poller) run(ctx context.Context, looked func(error)) error {
	for failing := false; ; {
		begun := time.Now()
		pause := time.Duration(float64(p.cfg.Poll) * (0.8 + 0.4*p.cfg.Rand()))
		spread := pause * 9 / 10
		if failing {
			spread = 0
		}
		err := p.poll(ctx, begun, spread)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		looked(err)
		failing = err != nil
		next := begun.Add(pause)
		switch {
		case failing:
			next = time.Now().Add(min(pollPause, pause))
		case spread == 0:
			next = begun
		}
		wait(ctx, next)
	}
}

// poll looks at every account once and reports each as soon as it is seen to differ.
func (p *poller) poll(ctx context.Context, begun time.Time, spread time.Duration) error {
	ids, err := p.ids(ctx)
	if err != nil {
		return err
	}
	var unknown, known []tokenstore.AccountID
	for _, id := range ids {
		if _, is := p.seen[id]; is {
			known = append(known, id)
		} else {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(known) // the same order each time: equal times between two looks
	p.drop(ids)
	withheld := map[tokenstore.AccountID]error{}
	if err := p.take(ctx, unknown, withheld); err != nil {
		return err
	}
	size := (len(known) + parts - 1) / parts
	for done := 0; done < len(known); done += size {
		due := begun.Add(time.Duration(float64(spread) * float64(done) / float64(len(known))))
		wait(ctx, due)
		if err := p.take(ctx, known[done:min(done+size, len(known))], withheld); err != nil {
			return err
		}
	}
	p.tellWithheld(withheld)
	return nil
}

// take looks at some accounts and reports those that differ. One that is withheld keeps what was seen of it.
func (p *poller) take(ctx context.Context, ids []tokenstore.AccountID, withheld map[tokenstore.AccountID]error) error {
	found, hidden, err := p.look(ctx, ids, p.seen)
	if err != nil {
		return err
	}
	maps.Copy(withheld, hidden)
	for _, id := range ids {
		was, known := p.seen[id]
		now, visible := found[id]
		switch {
		case !visible && known: // keeps what was seen of it
		case visible && now.Version == 0:
			delete(p.seen, id)
			if known {
				p.changed(id)
			}
		default:
			p.seen[id] = now
			if !known || was.Mark != now.Mark {
				p.changed(id)
			}
		}
	}
	return nil
}

// drop reports what is no longer listed.
func (p *poller) drop(listed []tokenstore.AccountID) {
	still := make(map[tokenstore.AccountID]bool, len(listed))
	for _, id := range listed {
		still[id] = true
	}
	var gone []tokenstore.AccountID
	for id := range p.seen {
		if !still[id] {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	for _, id := range gone {
		delete(p.seen, id)
		p.changed(id)
	}
}

// tellWithheld logs which accounts cannot be looked at, when there are others than at the poll before.
func (p *poller) tellWithheld(now map[tokenstore.AccountID]error) {
	ids := slices.Sorted(maps.Keys(now))
	same := slices.Equal(ids, slices.Sorted(maps.Keys(p.withheld)))
	p.withheld = now
	switch {
	case same:
	case len(ids) == 0:
		p.log.Info("changes of all accounts in Vault are seen again")
	default:
		p.log.Warn("changes of these accounts in Vault cannot be seen; what is known of them is kept",
			zap.Int("count", len(ids)), zap.Any("accounts", ids[:min(len(ids), 10)]), zap.Error(now[ids[0]]))
	}
}

// wait waits until then, or for the context's end.
func wait(ctx context.Context, then time.Time) {
	timer := time.NewTimer(time.Until(then))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
