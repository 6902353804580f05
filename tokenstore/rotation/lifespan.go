package rotation

import (
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// A token whose record does not say when it ends is used until the provider refuses it. When that will be is guessed,
// so that it is renewed before; a wrong guess costs a refresh too many or an answer that is held for one.

const (
	unknownLife  = 24 * time.Hour  // where nothing is known; renewed daily
	shortestSeen = 5 * time.Minute // a token that was refused younger was revoked rather than old
	seenFor      = 24 * time.Hour  // how long it counts that a token got so old
)

// lifespans is what this process has seen of the lives of providers' access tokens. Safe for concurrent use.
type lifespans struct {
	mu sync.Mutex // guards of
	of map[string]lifespan
}

type lifespan struct {
	stated  time.Duration // in the latest answer that said it
	reached time.Duration // the greatest age at which a token was refused, and a refresh helped
	at      time.Time     // of that
}

// state notes the lifetime that a provider's answer told.
func (l *lifespans) state(provider string, life time.Duration) {
	l.note(provider, func(s *lifespan) { s.stated = life })
}

// reach notes the age at which a provider's token ended.
func (l *lifespans) reach(provider string, age time.Duration, now time.Time) {
	l.note(provider, func(s *lifespan) {
		if age >= shortestSeen && (age > s.reached || now.Sub(s.at) > seenFor) {
			s.reached, s.at = age, now
		}
	})
}

func (l *lifespans) note(provider string, change func(*lifespan)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]lifespan{}
	}
	s := l.of[provider]
	change(&s)
	l.of[provider] = s
}

// expect guesses how long a provider's token lives.
func (l *lifespans) expect(provider string, now time.Time) time.Duration {
	life := unknownLife
	if l == nil {
		return life
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of[provider]
	if s.stated > 0 {
		life = min(life, s.stated)
	}
	if s.reached > 0 && now.Sub(s.at) <= seenFor {
		life = min(life, s.reached)
	}
	return life
}

// hintOf is what a record's token says of its own life; 0: nothing.
func hintOf(d Redeemer, r record.Record) time.Duration {
	if e, ok := d.(Estimator); ok && r.ExpiresAt.IsZero() {
		return e.Lifespan(r)
	}
	return 0
}

// end is when the token, of which there is one, is expected to end, and how long it lives then in all: for planning
// alone.
func (l *lifecycle) end(now time.Time) (end time.Time, life time.Duration) {
	t := l.token
	if !t.Expires.IsZero() {
		end, life = t.Expires, t.lifetime()
		if t.Obtained.After(t.begins) { // another machine's clock is ahead: its end is not ours
			end = earlier(end, t.begins.Add(life))
		}
		return end, life
	}
	if life = t.hint; life == 0 {
		life = l.lives.expect(l.record.Provider, now)
	}
	return t.begins.Add(life), life
}

// renewal is when the token is renewed if all goes well.
func (l *lifecycle) renewal(now time.Time) time.Time {
	end, life := l.end(now)
	return renewAt(end.Add(-life), end, l.cfg.Renewal.Lead, l.token.jitter)
}

// learn takes what a refresh tells of tokens' lives: the new one's, and the old one's if it was refused of age.
func (l *lifecycle) learn(g Grant, now time.Time) {
	if g.ExpiresIn > 0 {
		l.lives.state(l.record.Provider, g.ExpiresIn)
	}
	if t := l.token; l.refused() && t.Expires.IsZero() {
		l.lives.reach(l.record.Provider, now.Sub(t.begins), now)
	}
}
