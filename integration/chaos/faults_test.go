package chaos

import (
	"context"
	"math/rand/v2"
	"time"
)

// kind is one sort of fault. weight is how often it is drawn. strike reports whether it came about: a fault at a point
// of the protocol needs a refresh that gets there.
type kind struct {
	name   string
	weight int
	strike func(ctx context.Context, w *world, f fault) (bool, error)
}

// fault is one draw of the seeded sequence.
type fault struct {
	number  int
	kind    kind
	replica int
	account string
	pause   time.Duration // 0.2 to 1.2 s: how long something is down or away
}

// draw makes the next fault of the sequence. It asks the generator the same questions whatever happens to the
// processes.
func draw(rng *rand.Rand, number int, names []string) fault {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	f := fault{
		number:  number,
		replica: rng.IntN(replicas),
		account: names[rng.IntN(len(names))],
		pause:   200*time.Millisecond + time.Duration(rng.IntN(1000))*time.Millisecond,
	}
	at := rng.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			f.kind = k
			break
		}
	}
	return f
}

var kinds = []kind{
	{"kill before the claim is written", 2, killAt("claim", false)},
	{"kill when the claim is written", 3, killAt("claim", true)},
	{"kill between claim and redeem", 3, killAt("grant", false)},
	{"kill when the grant is processed", 2, killAt("grant", true)},
	{"kill before the commit is written", 4, killAt("commit", false)},
	{"kill when the commit is written", 3, killAt("commit", true)},
	{"kill at random", 3, killAtRandom},

	{"vault: claim cut before", 3, at("claim", false, "cut", 0)},
	{"vault: claim's answer lost", 4, at("claim", true, "cut", 0)},
	{"vault: claim answered 503", 3, at("claim", false, "refuse", 0)},
	{"vault: claim 5 s late", 2, at("claim", true, "delay", 5*time.Second)},
	{"vault: commit cut before", 4, at("commit", false, "cut", 0)},
	{"vault: commit's answer lost", 4, at("commit", true, "cut", 0)},
	{"vault: commit answered 503", 4, at("commit", false, "refuse", 0)},
	{"vault: commit 5 s late", 2, at("commit", true, "delay", 5*time.Second)},
	{"vault: 503 to one replica", 4, away},
	{"vault: sealed", 2, vaultFault(func(w *world, pause time.Duration) error {
		if err := w.vault.Seal(); err != nil {
			return err
		}
		time.Sleep(pause)
		return w.vault.Unseal()
	})},
	{"vault: killed", 2, vaultFault(func(w *world, pause time.Duration) error {
		if err := w.vault.Kill(); err != nil {
			return err
		}
		time.Sleep(pause / 2)
		if err := w.vault.Start(); err != nil {
			return err
		}
		return w.vault.Unseal()
	})},
	{"vault: stands still", 3, vaultFault(func(w *world, pause time.Duration) error {
		if err := w.vault.Pause(); err != nil {
			return err
		}
		time.Sleep(2 * pause)
		return w.vault.Resume()
	})},

	{"provider: cut before the grant", 4, atGrant(false, "cut", 0)},
	{"provider: cut after the grant", 2, atGrant(true, "cut", 0)},
	{"provider: 503", 3, atGrant(false, "refuse", 0)},
	{"provider: slow", 3, atGrant(false, "delay", 700*time.Millisecond)},
	{"provider: no answer in time, nothing processed", 2, atGrant(false, "delay", 3*time.Second)},

	{"clock: 10 minutes ahead", 3, clockShift(10 * time.Minute)},
	{"clock: 10 minutes behind", 3, clockShift(-10 * time.Minute)},

	{"operator: label", 6, edit("label")},
	{"operator: new credential", 5, edit("credential")},
	{"operator: whole record", 3, edit("put")},
	{"operator: pause, resume", 3, edit("pause")},
	{"operator: soft delete, undelete", 3, edit("delete")},
	{"operator: metadata deleted, created anew", 2, edit("recreate")},
	{"operator: slip, mended", 6, slip},
	{"operator: slip during a refresh, mended", 6, slipInRefresh},
}

// patience is how long a point of the protocol may take to be reached.
const patience = 3 * time.Second

// reach forces a refresh and waits until it meets the rule.
func reach(w *world, f fault, g *gate, x *rule) bool {
	go w.replicas[f.replica].force(f.account) // ends with the answer, the process, or its own deadline
	select {
	case <-x.hit:
		return true
	case <-time.After(patience):
		return g.disarm(x)
	}
}

func (f fault) gate(w *world, step string) *gate {
	if step == "grant" {
		return w.replicas[f.replica].grants
	}
	return w.replicas[f.replica].vault
}

// killAt kills a replica while one of its calls is held: before it is forwarded, or with its answer there.
func killAt(step string, after bool) func(context.Context, *world, fault) (bool, error) {
	return func(_ context.Context, w *world, f fault) (bool, error) {
		r, g := w.replicas[f.replica], f.gate(w, step)
		r.mu.Lock()
		defer r.mu.Unlock()
		x := g.arm(step, f.account, after, "hold", 0)
		defer close(x.release)
		if !reach(w, f, g, x) {
			return false, nil
		}
		return true, r.crash(f.pause)
	}
}

func killAtRandom(_ context.Context, w *world, f fault) (bool, error) {
	r := w.replicas[f.replica]
	r.mu.Lock()
	defer r.mu.Unlock()
	return true, r.crash(f.pause)
}

// at does something to one call of a replica.
func at(step string, after bool, act string, length time.Duration) func(context.Context, *world, fault) (bool, error) {
	return func(_ context.Context, w *world, f fault) (bool, error) {
		r, g := w.replicas[f.replica], f.gate(w, step)
		r.mu.Lock()
		defer r.mu.Unlock()
		return reach(w, f, g, g.arm(step, f.account, after, act, length)), nil
	}
}

func atGrant(after bool, act string, length time.Duration) func(context.Context, *world, fault) (bool, error) {
	return at("grant", after, act, length)
}

// away has one replica's Vault answer 503 for a while; the others see it well.
func away(_ context.Context, w *world, f fault) (bool, error) {
	g := w.replicas[f.replica].vault
	g.setDown(true)
	defer g.setDown(false)
	time.Sleep(2 * f.pause)
	return true, nil
}

func vaultFault(do func(*world, time.Duration) error) func(context.Context, *world, fault) (bool, error) {
	return func(_ context.Context, w *world, f fault) (bool, error) {
		w.vaultMu.Lock()
		defer w.vaultMu.Unlock()
		if err := do(w, f.pause); err != nil {
			return false, err
		}
		time.Sleep(3 * time.Second) // else it would be away more often than not, and nothing else could be tried
		return true, nil
	}
}

func edit(what string) func(context.Context, *world, fault) (bool, error) {
	return func(ctx context.Context, w *world, f fault) (bool, error) {
		if what == "credential" || what == "put" { // the operator mends what is broken, and sometimes what is not
			f.account = w.broken(f)
		}
		return true, w.edit(ctx, what, f.account, f.pause)
	}
}

// broken is an account whose family is dead, else the drawn one.
func (w *world) broken(f fault) string {
	for i := range w.names {
		name := w.names[(i+f.number)%len(w.names)]
		if w.provider.Account(name).Dead {
			return name
		}
	}
	return f.account
}
