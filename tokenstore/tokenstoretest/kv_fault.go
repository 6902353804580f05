package tokenstoretest

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// OpKind is what a client asks of the engine in one request.
type OpKind int

// Requests. A List is one OpList and an OpLook for each account; so is each look for changes of a Watch, where OpLook
// comes spread over the time until the next. A Load is one OpLoad, a CompareAndSwap one OpSwap, a Delete an OpLook, an
// OpSwap (of the tombstone) and an OpRemove. What is denied is followed by OpLook: a read asks of up to four neighbours
// whether the engine works, a write whether the record is still there.
const (
	OpList OpKind = iota + 1
	OpLook
	OpLoad
	OpSwap
	OpRemove
)

// String implements fmt.Stringer.
func (k OpKind) String() string {
	return [...]string{"", "list", "look", "load", "swap", "remove"}[k]
}

// Op is one request of one client.
type Op struct {
	Seq  uint64 // of this client's requests, from 1
	Kind OpKind
	ID   tokenstore.AccountID // "" for OpList
}

// Injector says what befalls a request. It is called before the request takes effect, in the goroutine of the caller
// and outside of all locks: it may edit the engine, and must be safe for concurrent use.
type Injector func(Op) Fault

// FaultKind is how a request fails.
type FaultKind int

// Ways to fail. A read meets its fault after what the real client would have repeated: see tokenstore/vault.
const (
	RequestLost FaultKind = iota + 1 // it never arrives, and the caller hears at once that the connection broke
	AnswerLost                       // it takes effect, and the caller hears that the connection broke
	Denied                           // the policy refuses it; nothing happens
	Hangs                            // it never arrives, and the caller waits for the request's limit or the context's end
)

// Fault is what befalls a request. The zero value: nothing.
type Fault struct {
	Kind FaultKind // 0: none

	// Before is how long the request is on its way. It takes effect then, whether or not its caller still waits: a
	// caller waits for its limit (3 s for reads, 6 s for looks, 5 s for writes) or the end of its context.
	Before time.Duration

	// After is how long the answer is on its way. It arrives after answers to later requests that are quicker.
	After time.Duration
}
