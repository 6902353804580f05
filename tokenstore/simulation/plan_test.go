package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// kind is what a service's operation is about; kinds can be joined to masks.
type kind uint16

const (
	opList    kind = 1 << iota // a listing: at the start, at a sweep, at a look for changes
	opLoad                     // a record is read
	opClaim                    // a write that carries a claim of the writer's
	opSave                     // a write that carries a rotation which the store does not have
	opWrite                    // any other write: an outcome, a mark, a repair
	opGrant                    // a request to the token endpoint
	opAppend                   // an entry of the journal is written
	opRemove                   // one is removed
	opAttempt                  // a client's attempt at the provider
	opLook                     // a look whether a record has changed
)

const (
	opStore   = opLoad | opClaim | opSave | opWrite
	opWrites  = opClaim | opSave | opWrite
	opRefresh = opStore | opGrant | opAppend | opRemove
)

var kindNames = []string{
	"list", "load", "claim", "save", "write", "grant", "journal append", "journal remove",
	"attempt", "look",
}

func (k kind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// act is what a fault does.
type act uint8

const (
	crashBefore   act = iota + 1 // the operation never happens, and the service is gone
	crashAfter                   // it happens; its answer meets nobody
	crashNow                     // at a random instant: a while after the operation
	stopNow                      // an orderly stop, and a start
	fail                         // an error, and nothing happened
	loseAnswer                   // it happened, and an error is the answer
	slowBefore                   // it takes long to arrive
	slowAfter                    // its answer takes long
	hang                         // neither happens nor ends before its caller gives up
	deny                         // status 403 on this path
	sealed                       // the store answers nobody for a while
	cutOff                       // the store answers this service not for a while
	diskLost                     // the service crashes, and its journal is gone
	grantFails                   // the token endpoint answers with one of the contract's classes, nothing is processed
	grantOdd                     // the grant is processed, and its answer is odd: an unusable token, no rotation, no end
	tokenDies                    // the access token is refused from now on
	refuseOnce                   // this attempt is refused, limited or fails, whatever the token
	familyRevoked                // the provider ends the account's sign-in
	edit                         // an operator's edit
)

var actNames = map[act]string{
	crashBefore: "crash before", crashAfter: "crash after", crashNow: "crash soon after", stopNow: "stop and start",
	fail: "fail", loseAnswer: "lose the answer of",
	slowBefore: "delay", slowAfter: "delay the answer of", hang: "hang", deny: "deny",
	sealed: "the store is sealed at", cutOff: "the store is out of reach at",
	diskLost: "crash and lose the disk at", grantFails: "refuse", grantOdd: "answer oddly to",
	tokenDies: "the access token dies at", refuseOnce: "the provider fails",
	familyRevoked: "the provider ends the sign-in at",
	edit:          "an operator edits at",
}

// fault is one thing that goes wrong: at the first operation of these kinds, of this service on this account, that is
// its nth or later. Operations are counted over all lives of a service.
type fault struct {
	service, account int
	kinds            kind
	n                int
	act              act
	after            bool          // an edit: after the operation took effect, before its answer
	what             string        // an edit's name, or which odd answer
	length           time.Duration // of a delay, an outage, a time of being down; 0 for a crash: never started again
}

func (f fault) String() string {
	s := fmt.Sprintf("s%d %s: %s %s", f.service+1, accountID(f.account), actNames[f.act], f.kinds)
	if f.act == edit {
		s = fmt.Sprintf("s%d %s: operator's %q %s %s", f.service+1, accountID(f.account), f.what,
			map[bool]string{false: "before", true: "after"}[f.after], f.kinds)
	} else if f.what != "" {
		s += " (" + f.what + ")"
	}
	if f.length > 0 {
		s += fmt.Sprintf(", for %s", f.length)
	}
	return s + fmt.Sprintf(", from operation %d on", f.n)
}

// plan is everything that a seed decides up front. A shrunk plan is one with fewer faults.
type plan struct {
	seed     uint64
	services int
	policies []tokenstore.ReplayPolicy // of each account
	shifts   []time.Duration           // of each service's wall clock
	life     time.Duration             // of access tokens
	lease    time.Duration
	clients  int // for each service
	faults   []fault
}

// String is the plan in lines.
func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d services, clocks %v, accounts %v, tokens live %s, leases %s, %d clients a service",
		p.seed, p.services, p.shifts, p.policies, p.life, p.lease, p.clients)
	for _, f := range p.faults {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

func accountID(i int) string {
	if i < 0 {
		return "-"
	}
	return string(rune('a' + i))
}

// draw makes a plan from a seed.
func draw(seed uint64, faults int) plan {
	r := rand.New(rand.NewPCG(seed, 0x746f6b656e))
	p := plan{
		seed: seed, services: 1 + r.IntN(4), life: time.Duration(2+r.IntN(4)) * time.Minute,
		lease: 15 * time.Second, clients: 1 + r.IntN(3),
	}
	for range 1 + r.IntN(3) {
		policy := tokenstore.ReplayStrict
		switch r.IntN(8) {
		case 0:
			policy = tokenstore.ReplayGrace
		case 1:
			policy = tokenstore.ReplayNoRotation
		}
		p.policies = append(p.policies, policy)
	}
	for range p.services {
		shift := time.Duration(0)
		if r.IntN(3) == 0 {
			shift = time.Duration(r.Int64N(int64(20*time.Minute))) - 10*time.Minute
		}
		p.shifts = append(p.shifts, shift)
	}
	if r.IntN(3) > 0 { // else a rare clock hides what depends on it
		clear(p.shifts)
	}
	next := map[[2]int]int{}
	for range faults {
		f := drawFault(r)
		f.service, f.account = r.IntN(p.services), r.IntN(len(p.policies))
		if f.kinds == opList {
			f.account = -1
		}
		at := [2]int{f.service, f.account}
		next[at] += 1 + r.IntN(6)
		f.n = next[at]
		p.faults = append(p.faults, f)
	}
	return p
}

type weighted struct {
	weight int
	draw   func(r *rand.Rand) fault
}

func between(r *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}

func anyOf(r *rand.Rand, kinds ...kind) kind { return kinds[r.IntN(len(kinds))] }

// down is how long a crashed service stays away; 0: for ever.
func down(r *rand.Rand) time.Duration {
	switch r.IntN(12) {
	case 0:
		return between(r, time.Minute, 12*time.Minute)
	case 1, 2, 3:
		return between(r, 10*time.Second, time.Minute)
	}
	return between(r, 100*time.Millisecond, 5*time.Second)
}

var menu = []weighted{
	{6, func(r *rand.Rand) fault {
		return fault{
			act: crashBefore, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opGrant, opAppend, opRemove),
			length: down(r),
		}
	}},
	{6, func(r *rand.Rand) fault {
		return fault{act: crashAfter, kinds: anyOf(r, opClaim, opSave, opWrite, opGrant, opAppend, opRemove), length: down(r)}
	}},
	{2, func(r *rand.Rand) fault { return fault{act: crashNow, kinds: opRefresh, length: down(r)} }},
	{2, func(r *rand.Rand) fault { return fault{act: stopNow, kinds: opRefresh, length: down(r)} }},
	{1, func(r *rand.Rand) fault { return fault{act: diskLost, kinds: opRefresh, length: down(r)} }},
	{5, func(r *rand.Rand) fault {
		return fault{act: fail, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opAppend, opRemove)}
	}},
	{6, func(r *rand.Rand) fault {
		return fault{act: loseAnswer, kinds: anyOf(r, opClaim, opSave, opWrite, opGrant, opAppend)}
	}},
	{4, func(r *rand.Rand) fault {
		return fault{
			act: loseAnswer, kinds: anyOf(r, opClaim, opClaim, opSave, opWrite), what: edits[r.IntN(len(edits))],
			length: between(r, time.Second, 90*time.Second),
		}
	}},
	{5, func(r *rand.Rand) fault {
		return fault{act: slowBefore, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opGrant, opAppend), length: slow(r)}
	}},
	{5, func(r *rand.Rand) fault {
		return fault{act: slowAfter, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opGrant, opAppend), length: slow(r)}
	}},
	{2, func(r *rand.Rand) fault {
		return fault{act: hang, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opGrant)}
	}},
	{2, func(*rand.Rand) fault { return fault{act: deny, kinds: opStore} }},
	{2, func(r *rand.Rand) fault { return fault{act: fail, kinds: anyOf(r, opList, opLook)} }},
	{1, func(*rand.Rand) fault { return fault{act: deny, kinds: opLook} }},
	{1, func(r *rand.Rand) fault { return fault{act: slowAfter, kinds: opLook, length: slow(r)} }},
	{2, func(r *rand.Rand) fault { return fault{act: sealed, kinds: opRefresh, length: outage(r)} }},
	{3, func(r *rand.Rand) fault { return fault{act: cutOff, kinds: opRefresh, length: outage(r)} }},
	{8, func(r *rand.Rand) fault {
		return fault{act: grantFails, kinds: opGrant, what: refusals[r.IntN(len(refusals))]}
	}},
	{3, func(r *rand.Rand) fault {
		return fault{act: grantOdd, kinds: opGrant, what: oddities[r.IntN(len(oddities))]}
	}},
	{4, func(*rand.Rand) fault { return fault{act: tokenDies, kinds: opAttempt} }},
	{4, func(r *rand.Rand) fault {
		return fault{act: refuseOnce, kinds: opAttempt, what: failures[r.IntN(len(failures))]}
	}},
	{1, func(*rand.Rand) fault { return fault{act: familyRevoked, kinds: opRefresh} }},
	{20, func(r *rand.Rand) fault {
		return fault{
			act: edit, kinds: anyOf(r, opLoad, opClaim, opSave, opWrite, opGrant, opAppend, opRefresh),
			after: r.IntN(2) == 0, what: edits[r.IntN(len(edits))], length: between(r, 10*time.Millisecond, 90*time.Second),
		}
	}},
}

func slow(r *rand.Rand) time.Duration {
	if r.IntN(2) == 0 {
		return between(r, 5*time.Millisecond, 900*time.Millisecond)
	}
	return between(r, time.Second, 12*time.Second)
}

func outage(r *rand.Rand) time.Duration {
	if r.IntN(3) == 0 {
		return between(r, time.Minute, 11*time.Minute)
	}
	return between(r, 100*time.Millisecond, 40*time.Second)
}

var (
	refusals = []string{"not_sent", "transient", "transient", "misconfigured", "unknown", "unknown", "unknown"}
	oddities = []string{"unusable token", "not rotated", "no end", "short life", "dies early"}
	failures = []string{"401", "429", "429 with a time", "500", "529", "unreachable", "403"}
)

func drawFault(r *rand.Rand) fault {
	sum := 0
	for _, m := range menu {
		sum += m.weight
	}
	x := r.IntN(sum)
	for _, m := range menu {
		if x -= m.weight; x < 0 {
			return m.draw(r)
		}
	}
	panic("unreachable")
}
