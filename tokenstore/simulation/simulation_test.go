package simulation

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func decoded(doc map[string]json.RawMessage) (tokenstore.Record, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return tokenstore.Record{}, err
	}
	return tokenstore.DecodeRecord(data)
}

// outcomeOf is what a run came to.
type result struct {
	plan   plan
	struck int
	digest uint64
	wrong  []string
	losses map[int]int
	lines  []string
	took   time.Duration // virtual
}

func play(t *testing.T, p plan, loud bool) (res result) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, loud)
		w.run()
		res = result{plan: p, struck: w.struck, digest: w.stamp(), lines: w.lines, took: w.now()}
		res.wrong, res.losses = judge(w.ledger)
	})
	return res
}

func TestOne(t *testing.T) {
	seed, _ := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	begun := time.Now()
	res := play(t, draw(seed, 40), os.Getenv("LOUD") != "")
	t.Log(strings.Join(res.lines, "\n"))
	t.Logf("seed %d: %d faults in %s of virtual time, %s of ours, digest %x, losses %v", seed, res.struck, res.took, time.Since(begun), res.digest, res.losses)
	for _, w := range res.wrong {
		t.Error(w)
	}
}
