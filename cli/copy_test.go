package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// pair is two stores between which accounts are copied. After every write at most one of them may serve an account.
type pair struct {
	source, target *shell
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{newShell(t), newShell(t)}
	p.source.session.StoreKind, p.source.session.StoreAt = "sqlite", "sqlite /a"
	p.target.session.StoreKind, p.target.session.StoreAt = "vault", "vault b"
	watch := func(id tokenstore.AccountID) error { p.oneOwner(t, id); return nil }
	p.source.After, p.target.After = watch, watch
	return p
}

func (p *pair) oneOwner(t *testing.T, id tokenstore.AccountID) {
	t.Helper()
	here, there := p.source.Before, p.target.Before // not for looking on
	p.source.Before, p.target.Before = nil, nil
	defer func() { p.source.Before, p.target.Before = here, there }()
	a, _, aerr := p.source.Memory.Load(context.Background(), id)
	b, _, berr := p.target.Memory.Load(context.Background(), id)
	if aerr == nil && berr == nil && a.Credential().Equal(b.Credential()) && !a.OnHold() && !b.OnHold() {
		t.Errorf("account %s has two owners", id)
	}
}

func (p *pair) run(t *testing.T, args ...string) result {
	t.Helper()
	root := &cobra.Command{Use: "tokenward", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(func(_ context.Context, file string, _ bool) (*Session, error) {
		switch file {
		case "tokenward.yaml":
			return p.source.session, nil
		case "other.yaml":
			return p.target.session, nil
		}
		return nil, errors.New("no file " + file)
	})...)
	var out, errOut bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(append([]string{"accounts"}, args...))
	err := root.ExecuteContext(t.Context())
	r := result{out: out.String(), err: errOut.String(), code: Code(err)}
	if err != nil {
		r.err += err.Error()
	}
	if strings.Contains(r.out+r.err, planted) {
		t.Errorf("%v printed a secret: %s%s", args, r.out, r.err)
	}
	return r
}

func (p *pair) copy(t *testing.T, args ...string) result {
	t.Helper()
	return p.run(t, append([]string{"copy", "--to", "vault", "-c", "other.yaml"}, args...)...)
}

func TestACopyMakesTheTargetTheOwnerAndPausesTheSource(t *testing.T) {
	p := newPair(t)
	p.source.put(t, "a", living())
	idle := living()
	idle.State, idle.RefreshToken = tokenstore.Paused, tokenstore.NewSecret(planted+"idle")
	p.source.put(t, "b", idle)
	r := p.copy(t)
	expect(t, "exit code", r.code, 0)
	has(t, r.out, "a  copied  active", "b  copied  paused", "from sqlite /a to vault b")
	here, there := p.source.record(t, "a"), p.target.record(t, "a")
	expect(t, "state at the source", here.State, tokenstore.Paused)
	expect(t, "state at the target", there.State, tokenstore.Active)
	expect(t, "label at the source", here.Labels[copiedTo], "vault b")
	expect(t, "labels at the target", len(there.Labels), 1)
	expect(t, "the credential", sameSecrets("a", here, there), true)
	expect(t, "generation", there.Rotation.Generation, 7)
	expect(t, "the incarnation is the old one", there.Rotation.Incarnation == here.Rotation.Incarnation, false)
	expect(t, "state of the paused one", p.target.record(t, "b").State, tokenstore.Paused)

	r = p.run(t, "resume", "a", "-c", "tokenward.yaml")
	expect(t, "exit code of a resume at the source", r.code, ExitRefused)
	has(t, r.err, "vault b", "two owners", "--force")

	r = p.copy(t, "a")
	expect(t, "exit code of a second copy", r.code, 0)
	has(t, r.out, "a  present")

	rotated := p.target.record(t, "a")
	rotated.RefreshToken = tokenstore.NewSecret(planted + "rotated")
	p.target.put(t, "a", rotated)
	r = p.run(t, "copy", "a", "--to", "sqlite", "-c", "tokenward.yaml", "--from-config", "other.yaml")
	expect(t, "exit code of the way back", r.code, 0)
	back := p.source.record(t, "a")
	expect(t, "state after the way back", back.State, tokenstore.Active)
	expect(t, "the rotated token came back", back.RefreshToken.Reveal(), planted+"rotated")
	expect(t, "the label is gone", back.Labels[copiedTo], "")
	p.oneOwner(t, "a")
}

func TestAStatePatchedActiveDoesNotMakeASecondOwner(t *testing.T) {
	p := newPair(t)
	p.source.put(t, "a", living())
	expect(t, "exit code", p.copy(t).code, 0)
	patched := p.source.record(t, "a")
	patched.State = tokenstore.Active
	p.source.put(t, "a", patched)
	p.oneOwner(t, "a")
	has(t, p.run(t, "list", "-c", "tokenward.yaml").out, "paused", "its live copy is in vault b")
	has(t, p.copy(t).out, "a  present")

	p.source.put(t, "a", patched)
	expect(t, "exit code of the way back", p.run(t, "copy", "a", "--to", "sqlite", "-c", "tokenward.yaml", "--from-config", "other.yaml").code, 0)
	expect(t, "state after the way back", p.source.record(t, "a").State, tokenstore.Active)
	expect(t, "on hold after the way back", p.source.record(t, "a").OnHold(), false)
	p.oneOwner(t, "a")
}

func TestACopyThatFailsLeavesTheSourceAsItWas(t *testing.T) {
	gone := errors.New("the store is away")
	for name, fail := range map[string]func(p *pair){
		"pausing":  func(p *pair) { p.source.Before = failAt("swap", 1, gone) },
		"writing":  func(p *pair) { p.target.Before = failAt("swap", 1, gone) },
		"reading":  func(p *pair) { p.target.Before = failAt("load", 2, gone) },
		"checking": func(p *pair) { p.source.Before = failAt("load", 2, gone) },
		"activate": func(p *pair) { p.target.Before = failAt("swap", 2, gone) },
		"conflict": func(p *pair) { p.target.Before = failAt("swap", 1, tokenstore.ErrConflict) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.source.put(t, "a", living())
			fail(p)
			r := p.copy(t)
			expect(t, "exit code", r.code, ExitFailed)
			has(t, r.err, "copying account a")
			has(t, r.out, "failed")
			here := p.source.record(t, "a")
			expect(t, "state at the source", here.State, "")
			expect(t, "label", here.Labels[copiedTo], "")
			expect(t, "accounts at the target", p.target.count(t), 0)
			p.source.Before, p.target.Before = nil, nil
			expect(t, "exit code of the next copy", p.copy(t).code, 0)
			expect(t, "state at the target", p.target.record(t, "a").State, tokenstore.Active)
		})
	}
}

// failAt fails the nth call of an operation.
func failAt(op string, n int, err error) func(string, tokenstore.AccountID) error {
	calls := 0
	return func(got string, _ tokenstore.AccountID) error {
		if got == op {
			calls++
			if calls == n {
				return err
			}
		}
		return nil
	}
}

func TestALostAnswerDoesNotFailACopy(t *testing.T) {
	p := newPair(t)
	p.source.put(t, "a", living())
	lost := func(id tokenstore.AccountID) error { p.oneOwner(t, id); return errors.New("the answer is lost") }
	p.source.After, p.target.After = lost, lost
	expect(t, "exit code", p.copy(t).code, 0)
	expect(t, "state at the target", p.target.record(t, "a").State, tokenstore.Active)
}

func TestACopyThatDiedHalfWayIsFinishedByTheNext(t *testing.T) {
	p := newPair(t)
	p.source.put(t, "a", living())
	away := errors.New("the store is away")
	p.target.Before = failAt("swap", 2, away)
	dead := false // from then on nothing can be undone
	p.source.Before = func(op string, _ tokenstore.AccountID) error {
		if dead && op == "swap" {
			return away
		}
		dead = dead || op == "swap"
		return nil
	}
	r := p.copy(t)
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "accounts resume --force a")
	expect(t, "state at the source", p.source.record(t, "a").State, tokenstore.Paused)
	p.source.Before, p.target.Before = nil, nil
	expect(t, "exit code of the next copy", p.copy(t).code, 0)
	expect(t, "state at the target", p.target.record(t, "a").State, tokenstore.Active)
	p.oneOwner(t, "a")
}

func TestACopyWaitsForARefreshThatIsUnderWay(t *testing.T) {
	p := newPair(t)
	held := living()
	held.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "gw-1", StartedAt: time.Now()}
	p.source.put(t, "a", held)
	r := p.copy(t, "--wait", "1ms")
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "gw-1 is refreshing it", "accounts refresh a")
	expect(t, "state at the source", p.source.record(t, "a").State, "")

	loads := 0
	p.source.Before = func(op string, _ tokenstore.AccountID) error {
		if loads++; op == "load" && loads == 2 { // the refresh ends
			p.source.Before = nil
			done := living()
			done.RefreshToken = tokenstore.NewSecret(planted + "next")
			p.source.put(t, "a", done)
		}
		return nil
	}
	expect(t, "exit code after the refresh", p.copy(t, "a").code, 0)
	expect(t, "what was copied", p.target.record(t, "a").RefreshToken.Reveal(), planted+"next")

	held.Rotation.Claim.Ambiguous = true
	p.source.put(t, "b", held)
	has(t, p.copy(t, "b").err, "may be spent", "refresh --force b")
}
