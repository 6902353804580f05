package vault

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// A machine whose clock is behind Vault's takes a deletion for one that is still to come.
func TestADeletionAndItsEndAreChangesWhateverOurClockSays(t *testing.T) {
	seen := func(deletion string) kv.Sight {
		var m metadata
		doc := `{"current_version":3,"versions":{"3":{"created_time":"2026-01-01T00:00:00Z","deletion_time":%q,"destroyed":false}}}`
		if err := json.Unmarshal(fmt.Appendf(nil, doc, deletion), &m); err != nil {
			t.Fatal(err)
		}
		return m.sight()
	}
	for what, at := range map[string]time.Time{"past": time.Now().Add(-time.Hour), "still to come": time.Now().Add(time.Hour)} {
		deletion := at.UTC().Format(time.RFC3339Nano)
		living, deleted := seen(""), seen(deletion)
		if living.Mark == deleted.Mark {
			t.Errorf("a deletion in a time that is %s looks like none", what)
		}
		if again := seen(deletion); again.Mark != deleted.Mark {
			t.Errorf("the same deletion looks like another: %+v, %+v", deleted, again)
		}
	}
}
