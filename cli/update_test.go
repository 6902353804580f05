package cli

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

var errLost = errors.New("the answer got lost")

// once makes a hook of the store in memory that acts at its first call alone.
func once(act func() error) func() error {
	done := false
	return func() error {
		if done {
			return nil
		}
		done = true
		return act()
	}
}

// The change is a new tenant, on whatever else stands in the record.
func TestAnUpdateThroughEverythingThatCanStandInItsWay(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(s *shell, edit func(func(*tokenstore.Record)), cancel func())
		removes bool   // the change is to delete the record
		fails   error  // nil: the update succeeds
		tenant  string // in the end; "": there is no record
		calls   int    // of change
	}{
		"nothing": {tenant: "mine", calls: 1},
		"somebody was quicker, once": {
			func(s *shell, edit func(func(*tokenstore.Record)), _ func()) {
				first := once(func() error { edit(func(r *tokenstore.Record) { r.Limits.RPM = 9 }); return nil })
				s.Before = func(op string, _ tokenstore.AccountID) error { return ifOp(op, "swap", first) }
			}, false, nil, "mine", 2,
		},
		"somebody keeps being quicker": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, _ tokenstore.AccountID) error {
					return ifOp(op, "swap", func() error { return tokenstore.ErrConflict })
				}
			}, false, errChanging, "acme", tries,
		},
		"a lost answer of a write that arrived": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.After = func(tokenstore.AccountID) error { return errLost }
			}, false, nil, "mine", 1,
		},
		"a write that arrived and was sent again on the way": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.After = func(tokenstore.AccountID) error { return tokenstore.ErrConflict }
			}, false, nil, "mine", 1,
		},
		"Ctrl-C while the answer was on its way": {
			func(s *shell, _ func(func(*tokenstore.Record)), cancel func()) {
				s.After = func(tokenstore.AccountID) error { cancel(); return context.Canceled }
			}, false, nil, "mine", 1,
		},
		"a lost answer, and an edit by hand on top that spoils the record": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.After = func(id tokenstore.AccountID) error {
					s.Patch(id, map[string]json.RawMessage{"limits": json.RawMessage(`"many"`)})
					return errLost
				}
			}, false, nil, "mine", 1,
		},
		"a write that did not arrive": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, _ tokenstore.AccountID) error {
					return ifOp(op, "swap", func() error { return errLost })
				}
			}, false, errLost, "acme", 1,
		},
		"a lost answer, and another command's write on top": {
			func(s *shell, edit func(func(*tokenstore.Record)), _ func()) {
				s.After = func(tokenstore.AccountID) error {
					s.After = nil
					edit(func(r *tokenstore.Record) { r.Rotation.WriteID, r.Tenant = "theirs", "theirs" })
					return errLost
				}
			}, false, errLost, "theirs", 1,
		},
		"a lost answer, and a store that is away then": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.After = func(tokenstore.AccountID) error {
					s.Before = func(string, tokenstore.AccountID) error { return errors.New("away") }
					return errLost
				}
			}, false, errLost, "mine", 1,
		},
		"a record that the store does not give": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, _ tokenstore.AccountID) error {
					return ifOp(op, "load", func() error { return tokenstore.ErrWithheld })
				}
			}, false, tokenstore.ErrWithheld, "acme", 0,
		},
		"a record that is deleted for now": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, _ tokenstore.AccountID) error {
					return ifOp(op, "load", func() error { return tokenstore.ErrDeleted })
				}
			}, false, tokenstore.ErrDeleted, "acme", 1,
		},
		"a record that cannot be read": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) { s.Corrupt("a") },
			false, tokenstore.ErrUnreadable, "?", 1,
		},
		"no record": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				_ = s.Memory.Delete(context.Background(), "a", 1)
			},
			false, tokenstore.ErrNotFound, "", 1,
		},
		"deleting": {removes: true, calls: 1},
		"deleting, and somebody was quicker": {
			func(s *shell, edit func(func(*tokenstore.Record)), _ func()) {
				first := once(func() error { edit(func(r *tokenstore.Record) { r.Limits.RPM = 9 }); return nil })
				s.Before = func(op string, _ tokenstore.AccountID) error { return ifOp(op, "delete", first) }
			}, true, nil, "", 2,
		},
		"deleting, and the answer got lost": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, id tokenstore.AccountID) error {
					return ifOp(op, "delete", func() error { return deletedAndLost(s, id) })
				}
			}, true, nil, "", 1,
		},
		"deleting, and it did not arrive": {
			func(s *shell, _ func(func(*tokenstore.Record)), _ func()) {
				s.Before = func(op string, _ tokenstore.AccountID) error {
					return ifOp(op, "delete", func() error { return errLost })
				}
			}, true, errLost, "acme", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			s.put(t, "a", living())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.arrange != nil {
				c.arrange(s, func(f func(*tokenstore.Record)) {
					r := s.record(t, "a")
					f(&r)
					s.put(t, "a", r)
				}, cancel)
			}
			calls := 0
			_, err := update(ctx, s, "a", func(was half, err error) (tokenstore.Record, error) {
				calls++
				if c.removes {
					err = errRemove
				}
				was.record.Tenant = "mine"
				return was.record, err
			})
			var exit *ExitError
			switch {
			case errors.Is(c.fails, errChanging):
				if !errors.As(err, &exit) || exit.Code != ExitRefused {
					t.Errorf("error: %v", err)
				}
			case !errors.Is(err, c.fails):
				t.Errorf("error: got %v, want %v", err, c.fails)
			}
			expect(t, "calls of change", calls, c.calls)
			s.Before, s.After = nil, nil
			got, _, err := s.Memory.Load(t.Context(), "a")
			switch c.tenant {
			case "":
				expect(t, "the record is gone", errors.Is(err, tokenstore.ErrNotFound), true)
			case "?":
			default:
				expect(t, "tenant", got.Tenant, c.tenant)
			}
			if name == "somebody was quicker, once" {
				expect(t, "the other's edit", got.Limits.RPM, 9)
			}
		})
	}
}

// errChanging stands for the refusal to try again.
var errChanging = errors.New("somebody keeps changing it")

func ifOp(op, wanted string, act func() error) error {
	if op != wanted {
		return nil
	}
	return act()
}

// deletedAndLost deletes the record behind the caller's back; the answer gets lost.
func deletedAndLost(s *shell, id tokenstore.AccountID) error {
	before := s.Before
	s.Before = nil
	defer func() { s.Before = before }()
	_, v, _ := s.Memory.Load(context.Background(), id)
	return errors.Join(errLost, s.Memory.Delete(context.Background(), id, v))
}

func TestEveryCommandTakesALostAnswerOfAWriteThatArrivedForSuccess(t *testing.T) {
	for _, args := range [][]string{
		{"add", "a", "--refresh-token-file", "-"},
		{"add", "b", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-"},
		{"set", "a", "--rpm", "5"},
		{"pause", "a"},
		{"resume", "a"},
		{"remove", "a"},
	} {
		t.Run(args[0]+" "+args[1], func(t *testing.T) {
			s := newShell(t)
			s.put(t, "a", living())
			lost := 0
			s.After = func(tokenstore.AccountID) error { lost++; return errLost }
			s.Before = func(op string, id tokenstore.AccountID) error {
				return ifOp(op, "delete", func() error { lost++; return deletedAndLost(s, id) })
			}
			r := s.run(t, planted+"new", append([]string{"accounts"}, args...)...)
			expect(t, "exit code: "+r.err, r.code, 0)
			expect(t, "answers lost", lost, 1)
		})
	}
}

func TestAnEditLeavesBookkeepingAloneThatCannotBeRead(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	s.Patch("a", raw(`{"rotation":{"generation":7,"spent":3}}`))
	s.good(t, "accounts", "set", "a", "--rpm", "5")
	expect(t, "rotation", string(s.Document("a")["rotation"]), `{"generation":7,"spent":3}`)
	expect(t, "limit", string(s.Document("a")["limits"]), `{"rpm":5}`)
}
