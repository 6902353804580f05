package simulation

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// edits are what operators do to an account; see docs/vault.md.
var edits = []string{"label", "credential"}

// heldNames are edits that are begun and ended.
var heldNames = []string{"pause"}

func quoted(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// edit makes an operator's edit. The lock is held.
func (w *world) edit(f *fault, account int) {
	w.edits++
	id := tokenstore.AccountID(accountID(account))
	w.say("an operator makes the edit %q of %s", f.what, id)
	switch f.what {
	case "label":
		w.shelf.Patch(id, map[string]json.RawMessage{"labels": quoted(map[string]string{"edit": string(rune('a' + w.edits%26))})})
	case "credential":
		t := w.as.signIn(account)
		w.shelf.Patch(id, map[string]json.RawMessage{"refresh_token": quoted(t.value)})
	}
}

// operator signs in anew where a sign-in has ended, and forces a refresh now and then.
func (w *world) operator() {
	for w.sleep(50 * time.Second) {
		w.mu.Lock()
		if w.calm {
			w.mu.Unlock()
			return
		}
		for i := range w.plan.policies {
			doc := w.shelf.Document(tokenstore.AccountID(accountID(i)))
			var value string
			_ = json.Unmarshal(doc["refresh_token"], &value)
			t := w.as.refresh[value]
			if t != nil && !t.family.living() && w.now()-t.family.ended > 2*time.Minute {
				w.say("an operator signs in anew for %s", accountID(i))
				w.shelf.Patch(tokenstore.AccountID(accountID(i)), map[string]json.RawMessage{"refresh_token": quoted(w.as.signIn(i).value)})
			}
		}
		w.mu.Unlock()
	}
}

var _ = context.Background
