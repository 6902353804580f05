package vault

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
)

// pollPause is between two polls at least, however often Nudge is called, and between tries while Vault is away.
const pollPause = time.Second

// parts is how many slices a poll is cut into, which are spread over the time until the next, so that reading many accounts
// does not hold up what else the process does. Small slices cost more for each read: 100 of them a sixth, measured.
const parts = 25

// Watch implements tokenstore.Backend by polling: it reports the difference from what the latest List saw, then from poll to
// poll. It goes on while Vault is away, and reports after it what changed meanwhile.
func (b *Backend) Watch(ctx context.Context, changed func(tokenstore.AccountID)) error {
	p := &poller{Backend: b, nudge: make(chan struct{}, 1), changed: changed}
	b.mu.Lock()
	p.seen = maps.Clone(b.listed)
	b.nudges[p.nudge] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.nudges, p.nudge)
	}()
	if p.seen == nil {
		p.seen = map[tokenstore.AccountID]sight{}
	}
	return p.run(ctx)
}

// poller is one Watch.
type poller struct {
	*Backend
	nudge    chan struct{} // holds one wish to look at once
	changed  func(tokenstore.AccountID)
	seen     map[tokenstore.AccountID]sight
	withheld map[tokenstore.AccountID]error // of the latest poll
}

// run polls. A poll in a hurry, after a nudge or after Vault was away, is not spread, and the next follows it at once: so the
// last account of a spread poll has not waited for longer than the others.
func (p *poller) run(ctx context.Context) error {
	for failing, hurry := false, false; ; {
		begun := time.Now()
		pause := time.Duration(float64(p.cfg.Poll) * (0.8 + 0.4*rand.Float64()))
		spread := pause * 9 / 10
		if failing || hurry {
			spread = 0
		}
		nudged, err := p.poll(ctx, begun, spread)
		ended := time.Now()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if (err != nil) != failing {
			failing = err != nil
			p.tellPolling(err)
		}
		least, next := min(pollPause, pause), begun.Add(pause)
		switch {
		case failing:
			next = ended.Add(least)
		case spread == 0:
			next = ended
		}
		hurry = nudged || wait(ctx, time.Until(next), p.nudge)
		if hurry {
			wait(ctx, time.Until(ended.Add(least)), nil)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// poll looks at every account once and reports each as soon as it is seen to differ. It ends early when nudged: an account
// late in this poll is early enough in the next.
func (p *poller) poll(ctx context.Context, begun time.Time, spread time.Duration) (nudged bool, err error) {
	ids, err := p.ids(ctx)
	if err != nil {
		return false, err
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
	if err = p.take(ctx, unknown, withheld); err != nil {
		return false, err
	}
	size := (len(known) + parts - 1) / parts
	for done := 0; done < len(known); done += size {
		due := begun.Add(time.Duration(float64(spread) * float64(done) / float64(len(known))))
		if spread > 0 && wait(ctx, time.Until(due), p.nudge) {
			return true, nil
		}
		if err = p.take(ctx, known[done:min(done+size, len(known))], withheld); err != nil {
			return false, err
		}
	}
	p.tellWithheld(withheld)
	return false, nil
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
		case visible && now.version == 0:
			delete(p.seen, id)
			if known {
				p.changed(id)
			}
		default:
			p.seen[id] = now
			if !known || was.mark != now.mark {
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
	for id := range p.seen {
		if !still[id] {
			delete(p.seen, id)
			p.changed(id)
		}
	}
}

func (p *poller) tellPolling(err error) {
	if err != nil {
		p.log.Warn("changes in Vault cannot be seen; trying on", zap.Error(err))
		return
	}
	p.log.Info("changes in Vault are seen again")
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

// wait waits for d and reports whether a nudge came before. It returns at once when the context ends.
func wait(ctx context.Context, d time.Duration, nudge <-chan struct{}) (nudged bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-nudge:
		return true
	}
	return false
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
