package simulation

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// client sends requests to one service for as long as the world goes on, and now and then leaves before its answer. The
// first client of a service lets it choose among all accounts; the others ask for one each, so that two that wait for
// one refresh do not race for an account: races have no seed.
func (s *service) client(number int) {
	w := s.w
	route := "all"
	if number > 0 {
		route = accountID((number + s.number) % len(w.plan.policies))
	}
	for n := 0; ; n++ {
		x := w.random(salt(5, s.number, number))
		think := time.Duration(x*x*x*float64(40*time.Second)) + time.Duration(1+number)*time.Millisecond
		w.mu.Lock()
		if w.calm {
			think += 10 * time.Second
		}
		w.mu.Unlock()
		if !w.sleep(think) {
			return
		}
		w.mu.Lock()
		l := s.now
		ready := l != nil && l.ready
		w.mu.Unlock()
		if ready {
			s.request(l, route, number)
		}
	}
}

// request is one request of a client, with all its attempts.
func (s *service) request(l *life, route string, number int) {
	w := s.w
	ctx, cancel := l.ctx, context.CancelFunc(func() {})
	leaves := w.random(salt(6, s.number, number)) < 0.1
	if leaves {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(1+w.random(salt(7, s.number, number))*float64(2*time.Second)))
	}
	defer cancel()
	var trail *tokenstore.Trail
	for {
		begun := w.now()
		p, err := l.store.Pick(ctx, tokenstore.PickRequest{Route: route, Client: "c", Path: "/", Trail: trail})
		w.mu.Lock()
		if l.dead {
			w.mu.Unlock()
			p.Release()
			return
		}
		took := w.now() - begun
		w.ledger.waits = append(w.ledger.waits, wait{
			by: l.name, what: "pick", at: begun, took: took,
			limit: refreshWait + time.Second,
		})
		if err != nil {
			if ref, ok := errors.AsType[*tokenstore.Refusal](err); ok {
				w.ledger.refusals = append(w.ledger.refusals, refusal{
					by: l, at: w.now(), route: route, first: trail == nil,
					reason: ref.Reason,
				})
				w.note(s.number, number, 0xf0)
				w.say("%s: a client is refused on %s: %s", l.name, route, ref.Reason)
			}
			w.mu.Unlock()
			return
		}
		account := indexOf(p.Account)
		w.ledger.picks = append(w.ledger.picks, pick{
			by: l, at: w.now(), account: account, generation: p.Generation,
			took: took,
		})
		w.mu.Unlock()
		var resp tokenstore.Response
		err = l.do(ctx, opAttempt, account, func() error {
			resp = w.as.attempt(l, account, strings.TrimPrefix(p.Headers[0].Value, "Bearer "))
			return nil
		})
		if err != nil || ctx.Err() != nil {
			p.Release()
			return
		}
		begun = w.now()
		d, err := l.store.Report(ctx, p, resp, trail, nil)
		p.Release()
		w.mu.Lock()
		if !l.dead {
			w.ledger.waits = append(w.ledger.waits, wait{
				by: l.name, what: "report", at: begun, took: w.now() - begun,
				limit: refreshWait + time.Second,
			})
			w.note(s.number, account, 0xe000|uint64(resp.Status)<<16|uint64(d.Action))
			if resp.Status >= 400 {
				w.say("%s: %s is answered %d: %s", l.name, accountID(account), resp.Status, d.Action)
			}
		}
		w.mu.Unlock()
		if err != nil || d.Action != tokenstore.Retry {
			return
		}
		trail = d.Trail
	}
}
