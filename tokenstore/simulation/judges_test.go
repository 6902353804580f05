package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// Judges are pure functions of the ledger. Each returns what it finds wrong, as sentences.

// window is one of the ways to lose an account that docs/vault.md lists ("What can still be lost, and why").
type window int

const (
	windowCrash     window = iota + 1 // 1: the process died between the answer and the journal's fsync
	windowAnswer                      // 2: the answer was lost on the way
	windowDisk                        // 3: process and disk are gone before the store had it
	windowAway                        // 4: the holder is cut off, or down with its journal, until the token nearly ends
	windowRestored                    // 5: the store went back in time, and whoever knew better was not there
	windowWriteBack                   // 6: a spent token was written back, and who had not seen its refresh came first
)

var windows = []window{windowCrash, windowAnswer, windowDisk, windowAway, windowRestored, windowWriteBack}

func (w window) String() string {
	return [...]string{
		"none", "1 crash before the fsync", "2 answer lost", "3 disk lost", "4 holder away",
		"5 store restored", "6 spent token written back",
	}[w]
}

// instant is how long a process has between an answer's arrival and its journal's fsync.
const instant = 20 * time.Millisecond

type judge struct {
	name string
	rule func(*ledger) []string
}

var judges = []judge{
	{"redemptions", redemptions},
	{"owners", owners},
	{"generations", generations},
	{"kept", keptTokens},
	{"waits", waits},
	{"standing", standings},
	{"service", served},
	{"settled", settledRotations},
	{"panics", func(l *ledger) []string { return l.panics }},
}

// judged is what all judges say.
func judged(l *ledger) (wrong []string) {
	for _, j := range judges {
		for _, w := range j.rule(l) {
			wrong = append(wrong, j.name+": "+w)
		}
	}
	return wrong
}

// losses counts the sign-ins that were lost, by the window that explains each; 0: none does.
func losses(l *ledger) map[window]int {
	n := map[window]int{}
	for _, e := range l.ends {
		w, _ := explain(l, e.first, e.by)
		n[w]++
	}
	return n
}

// redemptions: a refresh token is presented once, but for what its provider's replay policy allows after an answer was
// lost.
func redemptions(l *ledger) (wrong []string) {
	for _, again := range l.presented {
		policy := l.plan.policies[again.token.family.account]
		if again.dead || policy == tokenstore.ReplayNoRotation {
			continue
		}
		for _, e := range again.token.uses {
			if e == again {
				break
			}
			if why := early(l, e, again, policy); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s: %s at %s: %s", e, again, again.at, why))
			}
			if e.next == nil {
				continue
			}
			if _, why := explain(l, e, again); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s was granted another, and %s at %s: %s", e, again, again.at, why))
			}
		}
	}
	return wrong
}

// replacedTwice reports whether an operator has put whole records in place of an account's more than once in that time:
// what a process knew of the first is then no longer the account's.
func (l *ledger) replacedTwice(account int, from, to time.Duration) bool {
	n := 0
	for _, b := range l.backs {
		if b.account == account && b.at >= from && b.at <= to {
			n++
		}
	}
	return n > 1
}

// met reports whether a life has met a token before an instant.
func (l *life) met(t *refreshToken, before time.Duration) bool {
	at, has := l.has[t.value]
	return has && at < before
}

// deadBy reports whether a life had died at an instant.
func (l *life) deadBy(at time.Duration) bool { return l.dead && l.at <= at }

// early says what is wrong with the time of a second presentation; "": nothing.
func early(l *ledger, e, again *presentation, policy tokenstore.ReplayPolicy) string {
	over := e.ended != 0 && e.ended <= again.at
	lost := over && e.class == tokenstore.RefreshUnknown || !over && e.by.deadBy(again.at)
	unsaved := over && e.answered != 0 && e.next != nil && (e.next.saved == 0 || e.next.saved > again.claimed)
	if over && !lost && !unsaved {
		return "" // it ended, and all know how
	}
	for _, u := range again.token.uses {
		if u.at > e.at && u.at < again.at && u.answered != 0 && u.granted && u.next == nil {
			return "" // it has proved to be good since
		}
	}
	if l.overwritten(e, again) != 0 {
		return "" // the claim was wiped out: nobody could see it
	}
	marked := again.token.marked != 0 && again.token.marked <= again.claimed
	waited := again.at - max(e.claimed, 0)
	if e.by != again.by && !marked && waited < l.plan.lease {
		return fmt.Sprintf("the other's claim was left only %s of the lease", waited)
	}
	if !over && !lost && e.by == again.by {
		return "its own refresh was under way"
	}
	// With grace the first use may be tried again at once, and another process cannot know when that was: it counts from
	// the moment that it has seen the claim.
	if policy == tokenstore.ReplayGrace || again.forced || again.refused || again.ends == 0 || l.plan.shifted() {
		return ""
	}
	if from := again.ends - min(30*time.Second, again.life/4); again.at < from {
		return fmt.Sprintf("the access token lives until %s: it is used up first", again.ends)
	}
	return ""
}

func (p plan) shifted() bool {
	for _, s := range p.shifts {
		if s != 0 {
			return true
		}
	}
	return false
}

// explain says by which documented window a granted token came to be presented again, or why it must not have.
func explain(l *ledger, e, again *presentation) (window, string) {
	next := e.next
	saved := next.saved != 0 && next.saved <= again.claimed
	switch {
	case again.by.met(next, again.claimed) && !l.replacedTwice(e.account, again.by.has[next.value], again.claimed):
		return 0, "its process has met the successor"
	case l.overwritten(e, again) != 0:
		return l.overwritten(e, again), ""
	case saved:
		return 0, "its successor was in the store"
	case e.answered == 0 && e.ended == 0 && e.by.deadBy(again.at) && !e.by.crashed && e.by.stopped < stopPatience:
		return 0, "an orderly stop cut it off"
	case e.answered == 0:
		return windowAnswer, ""
	case e.by == again.by:
		return 0, "its own process has the successor"
	case next.kept != 0 && next.diskLost != 0 && next.diskLost <= again.at:
		return windowDisk, ""
	case next.kept != 0 && e.by.service == again.by.service:
		return 0, "its own journal has the successor"
	case next.kept != 0 && next.kept <= again.at, !e.by.deadBy(again.at):
		return windowAway, ""
	}
	return crashed(e)
}

// overwritten is the window that an operator has opened who put an older record, or another, in place of one with a
// claim or a rotation in it, between the one use and the other; 0: none has.
func (l *ledger) overwritten(e, again *presentation) window {
	for _, b := range l.backs {
		switch {
		case b.account != e.account || b.at < min(e.claimed, again.claimed) || b.at > again.at:
		case b.restored:
			return windowRestored
		default:
			return windowWriteBack
		}
	}
	return 0
}

// crashed explains the loss of a granted token whose process died before its journal had it.
func crashed(e *presentation) (window, string) {
	switch next := e.next; {
	case e.journalFailed:
		return windowCrash, ""
	case next.sent != 0 && next.sent <= e.by.at:
		return 0, "it was sent to the store before the journal had it"
	case e.by.at-e.answered > instant:
		return 0, fmt.Sprintf("its process lived for another %s, and the journal has not got it", e.by.at-e.answered)
	}
	return windowCrash, ""
}

// owners: no account uses another's token.
func owners(l *ledger) (wrong []string) {
	for _, p := range l.presented {
		if owner := p.token.family.account; owner != p.account {
			wrong = append(wrong, fmt.Sprintf("%s for account %s at %s", p, accountID(p.account), p.at))
		}
	}
	for _, w := range l.writes {
		if w.owner >= 0 && w.owner != w.account {
			wrong = append(wrong, fmt.Sprintf("%s wrote a token of %s into %s at %s", w.by, accountID(w.owner),
				accountID(w.account), w.at))
		}
	}
	return append(wrong, l.foreign...)
}

// generations: what a process picks never goes back.
func generations(l *ledger) (wrong []string) {
	type who struct {
		by      *life
		account int
	}
	highest := map[who]tokenstore.Generation{}
	for _, p := range l.picks {
		at := who{p.by, p.account}
		if p.generation < highest[at] {
			wrong = append(wrong, fmt.Sprintf("%s picked generation %d of %s after %d, at %s", p.by.name, p.generation,
				accountID(p.account), highest[at], p.at))
		}
		highest[at] = max(highest[at], p.generation)
	}
	return wrong
}

// keptTokens: what the authorization server granted and a process has got is saved, and what it accepts is not thrown
// away.
func keptTokens(l *ledger) (wrong []string) {
	for _, p := range l.presented {
		next := p.next
		if next == nil || p.answered == 0 || next.saved != 0 || !next.family.living() || next.spent() != nil {
			continue
		}
		switch {
		case l.edited(p.account, p.claimed): // the operator's word counts
		case siblingSaved(p): // granted twice, within the grace
		case next.kept != 0 && next.diskLost != 0, next.kept != 0 && p.by.service.gone:
		case p.by.crashed && next.kept == 0:
			if _, why := crashed(p); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s was granted to %s and is lost: %s", next.value, p.by.name, why))
			}
		default:
			wrong = append(wrong, fmt.Sprintf("%s was granted to %s at %s and never saved", next.value, p.by.name, p.at))
		}
	}
	return append(wrong, l.dropped...)
}

// siblingSaved reports whether a token that was granted twice, as the grace policy allows, lives on in the other grant.
func siblingSaved(p *presentation) bool {
	for _, u := range p.token.uses {
		if u != p && u.next != nil && u.next.saved != 0 {
			return true
		}
	}
	return false
}

// edited reports whether an operator has touched an account's credential since.
func (l *ledger) edited(account int, since time.Duration) bool {
	for _, at := range l.edits[account] {
		if at >= since {
			return true
		}
	}
	return false
}

// waits: every wait ends in its time.
func waits(l *ledger) (wrong []string) {
	for _, w := range l.waits {
		if w.took > w.limit {
			wrong = append(wrong, fmt.Sprintf("%s: a %s that began at %s took %s, the limit is %s", w.by, w.what, w.at,
				w.took, w.limit))
		}
	}
	return wrong
}

// standings: in the end every account serves, or is in a documented state that the history explains, and says so.
func standings(l *ledger) (wrong []string) {
	for _, st := range l.final {
		bad := func(why string) {
			wrong = append(wrong, fmt.Sprintf("%s says of %s: %q, %q; %s", st.by, accountID(st.account), st.state, st.reason,
				why))
		}
		serves := st.routable && (st.state == tokenstore.StateActive || st.state == tokenstore.StateExpiring)
		switch t := st.token; {
		case st.stored && st.absent:
			bad("its record is there")
		case !st.stored:
			if serves {
				bad("its record is not there")
			}
		case st.living:
			doubted := st.endless && st.routable && st.state == tokenstore.StateAmbiguous
			if !serves && !doubted {
				bad("its refresh token " + t.value + " is good")
			}
		case st.endless && (st.family || serves): // nobody has asked for it, or will before its end is guessed
		case st.family:
			bad("its refresh token " + t.value + " is spent, and nobody has noticed")
		case serves:
			bad("its credential is dead")
		case st.reason == "":
			bad("it does not say why")
		case t == nil && l.spoiled[st.account].keeps:
			bad("a bad credential took the place of a good one")
		}
	}
	return wrong
}

// served: once all is calm nobody waits for an account whose credential is good, and nobody is refused.
func served(l *ledger) (wrong []string) {
	if l.plan.shifted() { // a token's end is another's on every clock
		return nil
	}
	good := map[int]bool{}
	for _, st := range l.final {
		if st.stored && st.living {
			good[st.account] = true
		}
	}
	for _, p := range l.picks {
		if l.settled != 0 && p.at-p.took > l.settled && p.took > 0 && good[p.account] {
			wrong = append(wrong, fmt.Sprintf("%s: a client waited %s for %s at %s", p.by.name, p.took, accountID(p.account),
				p.at))
		}
	}
	for _, r := range l.refusals {
		if l.settled != 0 && r.at > l.settled && len(r.route) == 1 && good[int(r.route[0]-'a')] {
			wrong = append(wrong, fmt.Sprintf("%s: a client was refused on route %s at %s: %s", r.by.name, r.route, r.at,
				r.reason))
		}
	}
	return wrong
}

// settledRotations: in the end nothing is unsaved, and journals are empty.
func settledRotations(l *ledger) (wrong []string) {
	for _, u := range l.unsaved {
		if strings.Contains(u, "not yet in the store") {
			wrong = append(wrong, u)
		}
	}
	for i, left := range l.journals {
		if left > 0 {
			wrong = append(wrong, fmt.Sprintf("the journal of s%d has %d entries", i+1, left))
		}
	}
	return wrong
}
