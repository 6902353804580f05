package simulation

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// scene is a small history: account a of a strict provider, whose first refresh token s1.1 has presented at a minute,
// with a claim a second before, and got another for it that is saved a second later. The access token lives for ten
// minutes.
type scene struct {
	*ledger
	holder, peer *life
	spent, next  *refreshToken
	first        *presentation
}

func newScene() *scene {
	s := &scene{ledger: newLedger(plan{policies: []tokenstore.ReplayPolicy{
		tokenstore.ReplayStrict,
		tokenstore.ReplayStrict,
	}, shifts: []time.Duration{0, 0}, lease: 15 * time.Second})}
	s.holder, s.peer = newLife("s1.1"), newLife("s2.1")
	f := &family{}
	s.spent, s.next = &refreshToken{value: "rt-a-1-1", family: f}, &refreshToken{value: "rt-a-1-2", family: f}
	s.first = &presentation{
		at: time.Minute, claimed: 59 * time.Second, by: s.holder, token: s.spent, granted: true,
		next: s.next, answered: time.Minute, ended: time.Minute, ends: 2 * time.Minute, life: 10 * time.Minute,
	}
	s.next.from = s.first
	s.next.kept, s.next.sent, s.next.saved = time.Minute+5*time.Millisecond, time.Minute+6*time.Millisecond, 61*time.Second
	s.present(s.first)
	return s
}

func newLife(name string) *life {
	return &life{service: &service{}, name: name, has: map[string]time.Duration{}, claims: map[int]time.Duration{}}
}

func (s *scene) present(p *presentation) {
	p.token.uses = append(p.token.uses, p)
	s.presented = append(s.presented, p)
}

// again has the peer present the spent token at an instant.
func (s *scene) again(at time.Duration) *presentation {
	p := &presentation{
		at: at, claimed: at - time.Second, by: s.peer, token: s.spent, ends: 11 * time.Minute,
		life: 10 * time.Minute,
	}
	s.present(p)
	return p
}

// lost takes the grant away: nobody has it but its holder.
func (s *scene) lost() { s.next.saved, s.next.kept, s.next.sent = 0, 0, 0 }

func (l *life) dies(at time.Duration) { l.dead, l.crashed, l.at = true, true, at }

func TestEveryJudgeCanFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		judge string
		says  string // "": nothing
		scene func(*scene)
	}{
		{"a refresh and its save", "redemptions", "", func(*scene) {}},
		{"a saved token's predecessor again", "redemptions", "successor was in the store", func(s *scene) {
			s.again(11 * time.Minute)
		}},
		{"the same, met", "redemptions", "has met the successor", func(s *scene) {
			s.peer.has[s.next.value] = time.Minute
			s.again(11 * time.Minute)
		}},
		{"a lost answer, at the end", "redemptions", "", func(s *scene) {
			s.lost()
			s.first.answered, s.first.class = 0, tokenstore.RefreshUnknown
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"a lost answer, at once", "redemptions", "is used up first", func(s *scene) {
			s.lost()
			s.first.answered, s.first.class = 0, tokenstore.RefreshUnknown
			s.again(2 * time.Minute)
		}},
		{"a lost answer, before the lease has ended", "redemptions", "of the lease", func(s *scene) {
			s.lost()
			s.first.answered, s.first.ended = 0, 0
			s.again(62 * time.Second)
		}},
		{"a lost answer that proved to be none", "redemptions", "", func(s *scene) {
			s.first.answered, s.first.class, s.first.next = 0, tokenstore.RefreshUnknown, nil
			good := s.again(10*time.Minute + 40*time.Second)
			good.granted, good.answered, good.ended = true, good.at, good.at
			s.again(11 * time.Minute).ends = 20 * time.Minute
		}},
		{"a crash before the fsync", "redemptions", "", func(s *scene) {
			s.lost()
			s.holder.dies(time.Minute + time.Millisecond)
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"a crash long after the answer", "redemptions", "the journal has not got it", func(s *scene) {
			s.lost()
			s.holder.dies(2 * time.Minute)
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"a save on its way before the journal's fsync", "redemptions", "before the journal had it", func(s *scene) {
			s.lost()
			s.next.sent = time.Minute + time.Millisecond
			s.holder.dies(time.Minute + 2*time.Millisecond)
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"an orderly stop that cut a refresh off", "redemptions", "orderly stop", func(s *scene) {
			s.lost()
			s.first.answered, s.first.ended = 0, 0
			s.holder.dead, s.holder.at = true, 61*time.Second
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"its own process again", "redemptions", "its own process", func(s *scene) {
			s.lost()
			s.peer = s.holder
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"a record that somebody wrote back", "redemptions", "", func(s *scene) {
			s.backs = append(s.backs, back{at: 2 * time.Minute})
			s.again(10*time.Minute + 40*time.Second)
		}},
		{"another's refresh token", "owners", "for account b", func(s *scene) { s.first.account = 1 }},
		{"another's refresh token in a record", "owners", "wrote a token of b into a", func(s *scene) {
			s.writes = append(s.writes, write{by: "s1.1", account: 0, owner: 1})
		}},
		{"another's access token", "owners", "sent", func(s *scene) {
			s.foreign = append(s.foreign,
				"s1.1 sent the access token of b")
		}},
		{"a generation that falls", "generations", "generation 1 of a after 2", func(s *scene) {
			s.picks = append(s.picks, pick{by: s.holder, generation: 2}, pick{by: s.holder, generation: 1})
		}},
		{"another process's generation", "generations", "", func(s *scene) {
			s.picks = append(s.picks, pick{by: s.holder, generation: 2}, pick{by: s.peer, generation: 1})
		}},
		{"a granted token that nobody saved", "kept", "never saved", func(s *scene) { s.lost() }},
		{"a granted token that a late crash took", "kept", "is lost", func(s *scene) {
			s.lost()
			s.holder.dies(2 * time.Minute)
		}},
		{"a granted token in place of which an operator put another", "kept", "", func(s *scene) {
			s.lost()
			s.edits[0] = append(s.edits[0], 62*time.Second)
		}},
		{"a good token that was written over", "kept", "wrote over", func(s *scene) {
			s.dropped = append(s.dropped,
				"s1.1 wrote over rt-a-1-2")
		}},
		{"a wait in time", "waits", "", func(s *scene) {
			s.waits = append(s.waits, wait{
				took:  time.Second,
				limit: time.Second,
			})
		}},
		{"a wait that does not end", "waits", "took 2s", func(s *scene) {
			s.waits = append(s.waits,
				wait{took: 2 * time.Second, limit: time.Second})
		}},
		{"a good account that serves", "standing", "", func(s *scene) {
			s.final = append(s.final, standing{
				stored: true, token: s.next, living: true, family: true,
				state: tokenstore.StateActive, routable: true,
			})
		}},
		{"a good account that does not serve", "standing", "is good", func(s *scene) {
			s.final = append(s.final, standing{
				stored: true, token: s.next, living: true, family: true,
				state: tokenstore.StateExpired, reason: "why",
			})
		}},
		{"a dead account that does not say so", "standing", "is dead", func(s *scene) {
			s.final = append(s.final, standing{stored: true, token: s.next, state: tokenstore.StateActive, routable: true})
		}},
		{"a dead account that does not say why", "standing", "does not say why", func(s *scene) {
			s.final = append(s.final, standing{stored: true, token: s.next, state: tokenstore.StateNeedsReauth})
		}},
		{"a spent token that nobody has noticed", "standing", "nobody has noticed", func(s *scene) {
			s.final = append(s.final, standing{
				stored: true, token: s.spent, family: true, state: tokenstore.StateActive,
				routable: true,
			})
		}},
		{"an account that a service does not know", "standing", "its record is there", func(s *scene) {
			s.final = append(s.final, standing{stored: true, absent: true})
		}},
		{"a bad credential that stayed", "standing", "took the place of a good one", func(s *scene) {
			s.spoiled[0].keeps = true
			s.final = append(s.final, standing{stored: true, state: tokenstore.StateNeedsReauth, reason: "why"})
		}},
		{"a client that waits when all is calm", "service", "waited", func(s *scene) {
			s.settled = time.Hour
			s.final = append(s.final, standing{
				stored: true, token: s.next, living: true, state: tokenstore.StateActive,
				routable: true,
			})
			s.picks = append(s.picks, pick{by: s.holder, at: 2 * time.Hour, took: time.Second})
		}},
		{"a client that is refused when all is calm", "service", "refused on route a", func(s *scene) {
			s.settled = time.Hour
			s.final = append(s.final, standing{
				stored: true, token: s.next, living: true, state: tokenstore.StateActive,
				routable: true,
			})
			s.refusals = append(s.refusals, refusal{by: s.holder, at: 2 * time.Hour, route: "a"})
		}},
		{"a rotation that is not saved in the end", "settled", "not yet in the store", func(s *scene) {
			s.unsaved = append(s.unsaved, "s1.1: 1 rotated credentials are in memory and not yet in the store")
		}},
		{"a journal that is not empty in the end", "settled", "has 2 entries", func(s *scene) { s.journals = []int{0, 2} }},
		{"a panic", "panics", "caught", func(s *scene) { s.panics = append(s.panics, "s1.1: a panic was caught") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene()
			c.scene(s)
			all := strings.Join(judged(s.ledger), "\n")
			var says string
			for line := range strings.SplitSeq(all, "\n") {
				if strings.HasPrefix(line, c.judge+": ") {
					says += line
				}
			}
			if c.says == "" && says != "" || !strings.Contains(says, c.says) {
				t.Errorf("%s says %q, want %q", c.judge, says, c.says)
			}
		})
	}
}

func TestEveryLossIsCountedByItsWindow(t *testing.T) {
	for want, change := range map[window]func(*scene){
		windowCrash: func(s *scene) {
			s.lost()
			s.holder.dies(time.Minute + time.Millisecond)
		},
		windowAnswer: func(s *scene) {
			s.lost()
			s.first.answered, s.first.class = 0, tokenstore.RefreshUnknown
		},
		windowDisk: func(s *scene) {
			s.next.saved, s.next.diskLost = 0, 2*time.Minute
			s.holder.dies(2 * time.Minute)
		},
		windowAway:      func(s *scene) { s.next.saved = 0 },
		windowRestored:  func(s *scene) { s.backs = append(s.backs, back{at: 2 * time.Minute, restored: true}) },
		windowWriteBack: func(s *scene) { s.backs = append(s.backs, back{at: 2 * time.Minute}) },
		0:               func(*scene) {},
	} {
		s := newScene()
		change(s)
		s.ends = append(s.ends, familyEnd{by: s.again(10*time.Minute + 40*time.Second), first: s.first})
		if got := losses(s.ledger); got[want] != 1 {
			t.Errorf("counted %v, want one of %q", got, want)
		}
	}
}
