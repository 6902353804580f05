package tokenstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
)

// NotReady returns why the service should not get traffic; none: it may. It gets none before an account has been able
// to serve: what a roll-out with a wrong key or provider would bring is no use to anybody. After that it keeps its
// traffic, so that clients get an answer that says why, unless its store and all tokens are gone.
func (s *Store) NotReady() []string {
	switch ok, far := s.keeper.Loaded(); {
	case ok:
	case far == "":
		return []string{rotation.ErrNotLoaded.Error()}
	default:
		return []string{rotation.ErrNotLoaded.Error() + ": " + far}
	}
	switch c := s.capacity(); {
	case !c.Living && !s.keeper.Reachable() && s.keeper.Count() > 0:
		return []string{"the store does not answer, and no account has a living token any more"}
	case !s.served.Load():
		return []string{s.whyNobody()}
	}
	return nil
}

// Degraded returns what is wrong although the service gets traffic; none: all is well.
func (s *Store) Degraded() []string {
	var why []string
	if trouble := s.keeper.Trouble(); trouble != "" {
		why = append(why, trouble)
	}
	if n := s.keeper.Unsaved(); n > 0 {
		why = append(why, fmt.Sprintf("%d rotated credentials are in memory and not yet in the store", n))
	}
	if !s.keeper.Journalling() {
		why = append(why, "the journal cannot be written: a crash before a rotation is saved would lose its account")
	}
	if !s.capacity().Able {
		why = append(why, s.whyNobody())
	}
	return why
}

func (s *Store) capacity() selection.Capacity {
	c := s.board.Capacity(time.Now())
	if c.Serves {
		s.served.Store(true)
	}
	return c
}

// whyNobody says why no account can serve, by their states.
func (s *Store) whyNobody() string {
	states := map[AccountState]int{}
	all := s.Statuses()
	for _, st := range all {
		states[st.State]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	if len(all) == 0 {
		return "there is no account: add one with tokenward accounts add"
	}
	return fmt.Sprintf("none of %d accounts can serve now (%s): see tokenward status", len(all), strings.Join(parts, ", "))
}
