package tokenstore

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Refusals are evidence, and a refusal may be the request's own fault: a missing scope, an unknown model, a path that wants
// another kind of key. So no single request takes an account away from the others:
//
//   - A refused token is refreshed once, for the request that met it; other requests may wait for that refresh.
//   - Until it is accepted or replaced, the refused token is used after better ones, and for a minute only (it is suspect).
//   - Refusals of requests of two shapes (client and path), with no acceptance between, bench the account: other upstreams
//     come first then. Even so it serves when nobody else can.
//   - A token that was accepted within the last minute is healthy, however many requests it is refused with, unless another
//     account accepts such a request.
//   - A request is guilty when a second account refuses it, too, a fresh token among them, and one of the accounts is healthy.
//   - Only the token endpoint's word makes an account need a human.

const (
	healthyFor      = time.Minute // after an acceptance
	suspectFor      = time.Minute
	benchFor        = time.Minute      // the token is refused and no refresh helps
	blockedFor      = 10 * time.Minute // disabled or without credit
	responsePause   = time.Minute      // between two refreshes of an account that answers cause
	disbelief       = 5 * time.Second  // until the refusal of a healthy token is believed if nothing speaks against it
	shapesToConvict = 2
	patience        = 2 * time.Second // with a refresh, while there is a token that may be fine
)

// evidence is what answers say against an account since it last accepted a token. The zero value is none.
type evidence struct {
	since  time.Time // of the earliest refusal
	class  verdict.Class
	shapes []uint64  // of the refused requests: distinct, at most shapesToConvict
	proven bool      // another account accepted such a request
	latest time.Time // refusal
}

func (e *evidence) add(class verdict.Class, shape uint64, now time.Time) {
	if e.since.IsZero() || e.class != class {
		*e = evidence{since: now, class: class}
	}
	e.latest = now
	for _, seen := range e.shapes {
		if seen == shape {
			return
		}
	}
	if len(e.shapes) < shapesToConvict {
		e.shapes = append(e.shapes, shape)
	}
}

// drop takes back what guilty requests were refused with, and reports whether nothing is left.
func (e *evidence) drop(shape uint64) bool {
	e.shapes = slices.DeleteFunc(e.shapes, func(seen uint64) bool { return seen == shape })
	return len(e.shapes) == 0 && !e.proven
}

// suspicion keeps a token for the picks that have no better choice. Immutable.
type suspicion struct {
	class verdict.Class
	until int64 // Unix nanoseconds: then it is forgotten
	ask   bool  // a refresh is wanted: whoever can wait for it does
	bench bool  // corroborated: other upstreams come first
	tired bool  // somebody waited for that refresh in vain: nobody waits any more
	dead  bool  // several requests were refused with a dead credential's token: the last resort, for they may all be guilty
	rest  int64 // serves nobody before, Unix nanoseconds: such a token was never accepted
}

// ranks of suspicion: the higher serve after the lower.
const (
	rankSuspect = iota // after the living tokens of its pool
	rankBenched        // after all upstreams
	rankDead           // after waiting: only when no limit is about to end
	ranks
)

func (d *suspicion) rank() int {
	switch {
	case d.dead:
		return rankDead
	case d.bench:
		return rankBenched
	}
	return rankSuspect
}

var shapeSeed = maphash.MakeSeed()

// shape tells requests of different kinds apart: who asks, and for what.
func (p Pick) shape() uint64 { return hash(p.client, p.path) }

func hash(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	for _, w := range words {
		_, _ = h.WriteString(w)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
