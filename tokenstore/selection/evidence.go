package selection

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

const (
	healthyFor      = time.Minute // after an acceptance
	suspectFor      = time.Minute
	benchFor        = 10 * time.Minute // disabled, without credit, or refused with nothing to refresh with
	margin          = 5 * time.Second  // by which a suspicion outlives the refresh that it waits for
	shapesToConvict = 2
)

// evidence is what answers say against an account since it last accepted a token. The zero value is none.
type evidence struct {
	since  time.Time // of the earliest refusal
	latest time.Time
	class  verdict.Class
	shapes []uint64 // of the refused requests: distinct, at most shapesToConvict
	proven bool     // another account accepted such a request
}

func (e *evidence) add(class verdict.Class, shape uint64, now time.Time) {
	if e.since.IsZero() || e.class != class {
		*e = evidence{since: now, class: class}
	}
	e.latest = now
	if len(e.shapes) < shapesToConvict && !slices.Contains(e.shapes, shape) {
		e.shapes = append(e.shapes, shape)
	}
}

// drop takes back what guilty requests were refused with, and reports whether nothing is left.
func (e *evidence) drop(shape uint64) bool {
	e.shapes = slices.DeleteFunc(e.shapes, func(seen uint64) bool { return seen == shape })
	return len(e.shapes) == 0 && !e.proven
}

// Suspicion keeps a token for the picks that have no better choice. Immutable.
type Suspicion struct {
	Class verdict.Class
	Until int64 // Unix nanoseconds: then it is forgotten; Never: a new token ends it
	Ask   bool  // a refresh is wanted: whoever can wait for it does
	Bench bool  // corroborated: other upstreams come first

	tired bool  // somebody waited for that refresh in vain: nobody waits any more
	dead  bool  // the last resort: the credential is dead, and two shapes were refused or the token was never accepted
	rest  int64 // the token serves nobody before, Unix nanoseconds: it was never accepted; 0: no rest
}

// ranks of suspicion: the higher serve after the lower.
const (
	rankSuspect = iota // after the living tokens of its pool
	rankBenched        // after all upstreams
	rankDead           // after waiting: only when no limit is about to end
	ranks
)

func (d *Suspicion) rank() int {
	switch {
	case d.dead:
		return rankDead
	case d.Bench:
		return rankBenched
	}
	return rankSuspect
}

var shapeSeed = maphash.MakeSeed()

// Shape tells requests of different kinds apart by what names them, in this process.
func Shape(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	for _, w := range words {
		_, _ = h.WriteString(w)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
