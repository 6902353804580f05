package simulation

import (
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// operation is an operator's edit of an account. The lock is held. begin may return what ends the edit after a while.
type operation struct {
	credential bool // it touches what the account is, or its credential
	name       string
	weight     int
	begin      func(w *world, account int, id tokenstore.AccountID) (end func())
}

// pace is for how long an account's credential is left alone after an edit. HASTY=1 ends that: then two such edits meet
// within one look for changes, and what a process knows of the one is overtaken by the other before it is told.
const pace = 2 * time.Minute

// edits are those of docs/vault.md.
var edits []string

var operations = []operation{
	{false, "label", 4, func(w *world, _ int, id tokenstore.AccountID) func() {
		w.patch(id, map[string]any{"labels": map[string]any{"edit": fmt.Sprint(w.edits)}})
		return nil
	}},
	{true, "credential", 4, func(w *world, account int, id tokenstore.AccountID) func() {
		w.patch(id, map[string]any{"refresh_token": w.as.signIn(account).value})
		return nil
	}},
	{true, "bad credential", 2, func(w *world, account int, id tokenstore.AccountID) func() {
		w.ledger.spoiled[account] = spoiling{at: w.now(), was: w.as.refresh[token(w.shelf.document(id))]}
		w.patch(id, map[string]any{"refresh_token": fmt.Sprintf("bad-%d", w.edits)})
		return nil
	}},
	{true, "whole record", 2, func(w *world, account int, id tokenstore.AccountID) func() {
		w.put(id, documentOf(w.as.record(account, w.as.signIn(account))))
		return nil
	}},
	{true, "what was read before", 2, func(w *world, _ int, id tokenstore.AccountID) func() {
		doc := w.shelf.document(id)
		return func() { w.put(id, doc) }
	}},
	{false, "pause", 2, func(w *world, _ int, id tokenstore.AccountID) func() {
		w.patch(id, map[string]any{"state": "paused"})
		return func() { w.patch(id, map[string]any{"state": "active"}) }
	}},
	{false, "soft delete", 3, func(w *world, _ int, id tokenstore.AccountID) func() {
		_ = w.shelf.SoftDelete(id)
		return func() {
			if v, ok := w.shelf.Current(id); ok && v.Gone {
				_ = w.shelf.Undelete(id, v.Number)
			}
		}
	}},
	{true, "recreate", 2, func(w *world, account int, id tokenstore.AccountID) func() {
		_ = w.shelf.DestroyMetadata(id)
		w.noteBack(id, false)
		return func() { w.put(id, documentOf(w.as.record(account, w.as.signIn(account)))) }
	}},
	{true, "gone and back", 2, func(w *world, _ int, id tokenstore.AccountID) func() {
		doc := w.shelf.kept(id)
		_ = w.shelf.DestroyMetadata(id)
		w.noteBack(id, false)
		return func() {
			if _, there := w.shelf.Current(id); !there {
				w.put(id, doc)
			}
		}
	}},
	{true, "rollback", 2, func(w *world, _ int, id tokenstore.AccountID) func() {
		versions := w.shelf.Versions(id)
		back := 1 + w.edits%3
		if len(versions) > back {
			_, _ = w.shelf.Rollback(id, versions[len(versions)-1-back].Number)
			w.noteBack(id, false)
		}
		return nil
	}},
	{true, "snapshot", 2, func(w *world, _ int, _ tokenstore.AccountID) func() {
		snapshot := w.shelf.Snapshot()
		return func() {
			w.say("the snapshot is restored")
			w.shelf.Restore(snapshot)
			for i := range w.plan.policies {
				w.noteBack(tokenstore.AccountID(accountID(i)), true)
			}
		}
	}},
	{true, "slip", 4, func(w *world, account int, id tokenstore.AccountID) func() {
		slips := []struct {
			key          string
			wrong, right any
		}{
			{"labels", "team-red", map[string]any{"team": "red"}},
			{"limits", "many", ""},
			{"state", "pausd", "active"},
			{"pools", []any{4711}, accountID(account)},
			{"tenant", map[string]any{"name": "acme"}, ""},
			{"token_type", 4711, "Bearer"},
			{"scope", true, "inference"},
			{"type", 4711, "oauth_refresh"},
			{"provider", []any{"x"}, "p-" + accountID(account)},
			{"client_id", []any{"x"}, accountID(account)},
			{"expires_at", "soon", nil},
			{"rotation", "unreadable", nil},
		}
		s := slips[w.edits%len(slips)]
		w.say("the slip is in %s", s.key)
		w.patch(id, map[string]any{s.key: s.wrong})
		if s.key == "rotation" { // and a claim with it
			w.noteBack(id, false)
		}
		return func() {
			if s.right != nil {
				w.patch(id, map[string]any{s.key: s.right})
			}
		}
	}},
	{false, "versions end", 1, func(w *world, _ int, id tokenstore.AccountID) func() {
		_ = w.shelf.DeleteVersionsAfter(id, 3*time.Minute)
		return func() { _ = w.shelf.DeleteVersionsAfter(id, 0) }
	}},
	{false, "denied path", 1, func(w *world, _ int, id tokenstore.AccountID) func() {
		w.shelf.Deny(id)
		return func() { w.shelf.Allow(id) }
	}},
	{false, "forced refresh", 3, func(w *world, account int, id tokenstore.AccountID) func() {
		w.refreshByHand(account, id, true)
		return nil
	}},
	{false, "refresh", 2, func(w *world, account int, id tokenstore.AccountID) func() {
		w.refreshByHand(account, id, false)
		return nil
	}},
}

func init() {
	for _, o := range operations {
		for range o.weight {
			edits = append(edits, o.name)
		}
	}
}

// edit makes an operator's edit. The lock is held.
func (w *world) edit(f *fault, account int) {
	if account < 0 {
		return
	}
	w.edits++
	id := tokenstore.AccountID(accountID(account))
	for _, o := range operations {
		if o.name != f.what {
			continue
		}
		key := accountID(account) + o.name
		concerned := []int{account}
		if o.name == "snapshot" { // which is of all
			concerned = concerned[:0]
			for i := range w.plan.policies {
				concerned = append(concerned, i)
			}
		}
		if w.held[key] != nil || o.credential && !w.undertake(concerned, f.length) {
			w.struck, w.missed = w.struck-1, w.missed+1
			return
		}
		w.say("an operator makes the edit %q of %s", o.name, id)
		if end := o.begin(w, account, id); end != nil {
			w.later(f.length, key, func() {
				w.say("an operator ends the edit %q of %s", o.name, id)
				end()
			})
		}
		return
	}
	panic("simulation: there is no edit " + f.what)
}

func (w *world) patch(id tokenstore.AccountID, keys map[string]any) {
	_, _ = w.shelf.Patch(id, keys) // of a record that is deleted or gone, it fails
	w.noteEdit(id)
}

func (w *world) put(id tokenstore.AccountID, doc map[string]any) {
	if doc == nil {
		return
	}
	_, _ = w.shelf.Put(id, maps.Clone(doc))
	w.noteBack(id, false)
}

func (w *world) noteEdit(id tokenstore.AccountID) {
	w.ledger.edits[indexOf(id)] = append(w.ledger.edits[indexOf(id)], w.now())
}

// undertake reports whether an operator may edit what these accounts are now, and has the next such edit wait.
func (w *world) undertake(accounts []int, length time.Duration) bool {
	hasty := os.Getenv("HASTY") != ""
	for _, i := range accounts {
		if w.now() < w.busy[i] && !hasty {
			return false
		}
	}
	for _, i := range accounts {
		w.busy[i] = w.now() + length + pace
	}
	return true
}

// tidy is an operator who puts right what edits have left: a record that somebody wrote back may be paused, or have a
// slip in it.
func (w *world) tidy(account int) {
	id := tokenstore.AccountID(accountID(account))
	switch v, there := w.shelf.Current(id); {
	case !there: // a snapshot was taken while it was gone
		w.put(id, documentOf(w.as.record(account, w.as.signIn(account))))
		return
	case v.Gone:
		_ = w.shelf.Undelete(id, v.Number)
	}
	t := w.as.refresh[token(w.shelf.document(id))]
	if t != nil && t.family.account != account || token(w.shelf.document(id)) == "" {
		// a record with such a slip was written back
		w.patch(id, map[string]any{"refresh_token": w.as.signIn(account).value})
	}
	_, _ = w.shelf.Patch(id, map[string]any{
		"state": "active", "pools": string(id), "provider": "p-" + string(id), "type": "oauth_refresh",
		"client_id": string(id),
		"labels":    nil, "limits": nil, "tenant": nil, "scope": nil,
	})
}

// noteBack notes that an operator has put a whole record in place of another, perhaps an older one.
func (w *world) noteBack(id tokenstore.AccountID, restored bool) {
	w.noteEdit(id)
	w.ledger.backs = append(w.ledger.backs, back{account: indexOf(id), at: w.now(), restored: restored})
	if t := w.as.refresh[token(w.shelf.document(id))]; t != nil && t.spent() != nil {
		w.say("the store shows %s again", t.value)
	}
}

// refreshByHand is `tokenward accounts refresh`, at a service that lives.
func (w *world) refreshByHand(account int, id tokenstore.AccountID, force bool) {
	for i := range w.services {
		l := w.services[(i+w.edits)%len(w.services)].now
		if l == nil || !l.ready {
			continue
		}
		if force {
			l.forced[string(id)]++
		}
		w.chore(func() {
			begun := w.now()
			res, err := l.store.RefreshAccount(l.ctx, id, force)
			w.mu.Lock()
			defer w.mu.Unlock()
			if force {
				l.forced[string(id)]--
			}
			if !l.dead {
				w.ledger.waits = append(w.ledger.waits, wait{
					by: l.name, what: "refresh by hand", at: begun,
					took: w.now() - begun, limit: byHand,
				})
				w.say("%s: a refresh of %s by hand ends: %s %s %v", l.name, id, res.Outcome, res.Error, err)
			}
		})
		return
	}
	_ = account
}

// byHand bounds a refresh by hand: it may wait for the store, for as long as that is away.
const byHand = 30 * time.Minute

// operator signs in anew where a sign-in has ended.
func (w *world) operator() {
	for w.sleep(50 * time.Second) {
		w.mu.Lock()
		if w.calm {
			w.mu.Unlock()
			return
		}
		for i := range w.plan.policies {
			id := tokenstore.AccountID(accountID(i))
			t := w.as.refresh[token(w.shelf.document(id))]
			if t != nil && !t.family.living() && w.now()-t.family.ended > 2*time.Minute && w.undertake([]int{i}, 0) {
				w.say("an operator signs in anew for %s", id)
				w.patch(id, map[string]any{"refresh_token": w.as.signIn(i).value})
			}
		}
		w.mu.Unlock()
	}
}
