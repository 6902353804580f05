package tokenstoretest

import (
	"errors"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAFaultBeforeASwapStoresNothing(t *testing.T) {
	down := errors.New("down")
	m := NewMemory()
	m.Before = func(op string, id tokenstore.AccountID) error {
		if op == "swap" && id == "a" {
			return down
		}
		return nil
	}
	_, err := m.CompareAndSwap(t.Context(), "a", sample("rt"), 0)
	wantError(t, err, down)
	if got := heads(t, m); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
	mustSwap(t, m, "b", sample("rt"), 0)
}

func TestAFaultAfterASwapLosesTheAnswerAndKeepsTheWrite(t *testing.T) {
	lost := errors.New("answer lost")
	m := NewMemory()
	m.After = func(tokenstore.AccountID) error { return lost }
	_, err := m.CompareAndSwap(t.Context(), "a", sample("rt"), 0)
	wantError(t, err, lost)
	if r, _ := mustLoad(t, m, "a"); r.RefreshToken.Reveal() != "rt" {
		t.Error("the write is gone with its answer")
	}
}
