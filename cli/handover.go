package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

const copiedTo, copiedState = tokenstore.LabelCopiedTo, tokenstore.LabelCopiedState

// handover moves one account from a store to another. At no time are both records active: the source is paused before
// the target's record exists, and the target is made active only while the source is still as the handover left it.
type handover struct {
	id             tokenstore.AccountID
	source, target *Session
	wait           time.Duration
	created        bool // the target's record is ours to remove
}

func (h *handover) run(ctx context.Context) (copied, error) {
	before, err := h.settled(ctx)
	if err != nil {
		return copied{}, err
	}
	state := before.record.State
	if before.record.Labels[copiedTo] == h.target.StoreAt { // what is left of a copy: finish it
		state = tokenstore.OperatorState(before.record.Labels[copiedState])
	}
	if state != tokenstore.Paused {
		state = tokenstore.Active
	}
	there, found, err := h.vacancy(ctx, before.record)
	if err != nil {
		return copied{}, err
	}
	paused, err := h.pauseSource(ctx, before, state)
	if err != nil {
		return copied{}, err
	}
	if found {
		if there.record, there.version, err = h.target.Backend.Load(ctx, h.id); err == nil &&
			there.record.Rotation.WriteID == paused.record.Rotation.WriteID {
			err = errors.New("source and target are one store under two names: nothing to copy")
		}
		if err != nil {
			return copied{}, h.undo(ctx, before, paused, 0, err)
		}
	}
	// an earlier copy went through; the source is paused now, if it was not
	if found && there.record.State != tokenstore.Paused {
		return copied{ID: h.id, Result: "present", State: tokenstore.Active}, nil
	}
	placed := there
	if !found {
		if placed, err = h.place(ctx, paused.record, there.version); err != nil {
			return copied{}, h.undo(ctx, before, paused, placed.version, err)
		}
		h.created = true
	}
	if err := h.verify(ctx, paused, &placed); err != nil {
		return copied{}, h.undo(ctx, before, paused, placed.version, err)
	}
	if state == tokenstore.Active {
		next := placed.record.Clone()
		next.State = tokenstore.Active
		if _, err := write(ctx, h.target.Backend, h.id, next, placed.version); err != nil {
			return copied{}, h.undo(ctx, before, paused, placed.version, fmt.Errorf("making it active at the target: %w", err))
		}
	}
	return copied{ID: h.id, Result: "copied", State: state}, nil
}

// settled reads the source's record when no refresh of it is under way.
func (h *handover) settled(ctx context.Context) (half, error) {
	deadline := time.Now().Add(h.wait)
	for {
		r, v, err := h.source.Backend.Load(ctx, h.id)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound):
			return half{}, notFound(h.id)
		case errors.Is(err, tokenstore.ErrDeleted):
			return half{}, errors.New(
				"its latest version is deleted or destroyed in the source: undelete it there, or write it anew, first",
			)
		case err != nil:
			return half{}, fmt.Errorf("reading it from the source: %w", err)
		}
		if to := r.Labels[copiedTo]; to != "" && to != h.target.StoreAt {
			return half{}, fmt.Errorf("its live copy is in %s: copy it from there", to)
		}
		c := r.Rotation.Claim
		switch {
		case c == nil && r.Faultless() != nil:
			return half{}, fmt.Errorf("%w: mend that first", r.Faultless())
		case c == nil:
			return half{r, v}, nil
		case c.Ambiguous:
			return half{}, fmt.Errorf(
				"its latest refresh got no readable answer, so that its refresh token may be spent: settle that first with "+
					"tokenward accounts refresh --force %s",
				h.id,
			)
		case !time.Now().Before(deadline):
			return half{}, fmt.Errorf(
				"%s is refreshing it since %s: try again; if that process is gone, let tokenward accounts refresh %s take over "+
					"first",
				c.Holder, c.StartedAt.Format(time.RFC3339), h.id,
			)
		}
		select {
		case <-ctx.Done():
			return half{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// vacancy says whether the target can take the record. found: it has this credential already. Otherwise the version is
// what to write on top of: 0, or the record that an earlier copy in the other direction left behind.
func (h *handover) vacancy(ctx context.Context, r tokenstore.Record) (half, bool, error) {
	if err := check(h.target, r); err != nil {
		return half{}, false, fmt.Errorf("the target's configuration cannot use it: %w", err)
	}
	there, v, err := h.target.Backend.Load(ctx, h.id)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return half{}, false, nil
	case errors.Is(err, tokenstore.ErrDeleted):
		return half{}, false, errors.New(
			"the target has it, its latest version deleted or destroyed: undelete it there, or remove it first",
		)
	case err != nil:
		return half{}, false, fmt.Errorf("reading it from the target: %w", err)
	case there.Labels[copiedTo] == h.source.StoreAt:
		return half{version: v}, false, nil
	case there.Labels[copiedTo] != "":
		return half{}, false, fmt.Errorf(
			"the target has it, and says that its live copy is in %s: copy it from there, or remove it at the target first",
			there.Labels[copiedTo],
		)
	case !there.Credential().Equal(r.Credential()):
		return half{}, false, fmt.Errorf("the target has an account %s with another credential: remove one of the two first",
			h.id)
	}
	return half{there, v}, true, nil
}

// pauseSource is the point from which the source does not refresh any more: a claim would need the version that this
// replaces.
func (h *handover) pauseSource(ctx context.Context, before half, state tokenstore.OperatorState) (half, error) {
	next := before.record.Clone()
	next.State, next.Labels = tokenstore.Paused, maps.Clone(next.Labels)
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	next.Labels[copiedTo], next.Labels[copiedState] = h.target.StoreAt, string(state)
	paused, err := write(ctx, h.source.Backend, h.id, next, before.version)
	if errors.Is(err, tokenstore.ErrConflict) {
		return half{}, errors.New("somebody changed it at the source meanwhile: nothing was copied: try again")
	}
	if err != nil {
		return half{}, fmt.Errorf(
			"pausing it at the source: %w: nothing was copied; see tokenward accounts show %s whether it is paused now", err,
			h.id,
		)
	}
	return paused, nil
}

// place writes the paused copy. The incarnation is new, so that nobody takes the two records for one.
func (h *handover) place(ctx context.Context, r tokenstore.Record, over tokenstore.Version) (half, error) {
	next := r.Clone()
	delete(next.Labels, copiedTo)
	delete(next.Labels, copiedState)
	next.Rotation.Incarnation = tokenstore.NewIncarnation()
	placed, err := write(ctx, h.target.Backend, h.id, next, over)
	if err != nil {
		return half{}, fmt.Errorf("writing it to the target: %w", err)
	}
	return placed, nil
}

// verify reads both records back: the target's must hold the source's credential, and the source must be as it was
// left.
func (h *handover) verify(ctx context.Context, paused half, placed *half) error {
	there, v, err := h.target.Backend.Load(ctx, h.id)
	if err != nil {
		return fmt.Errorf("reading it back from the target: %w", err)
	}
	same := there.Credential().Equal(paused.record.Credential())
	if h.created {
		same = sameSecrets(h.id, there, paused.record)
	}
	if v != placed.version || !same {
		return errors.New("what the target holds is not what was written: somebody else writes there: try again")
	}
	placed.record = there
	here, v, err := h.source.Backend.Load(ctx, h.id)
	if err != nil {
		return fmt.Errorf("reading the paused record from the source: %w", err)
	}
	if v != paused.version || here.State != tokenstore.Paused {
		return errors.New("somebody changed it at the source meanwhile: try again")
	}
	return nil
}

// sameSecrets compares what the two records authenticate with. Keys that this version does not know may be secret too;
// their values are compared in one form, since stores may order and space them differently.
func sameSecrets(id tokenstore.AccountID, a, b tokenstore.Record) bool {
	for _, pair := range [][2]tokenstore.Secret{
		{a.RefreshToken, b.RefreshToken},
		{a.ClientSecret, b.ClientSecret},
		{a.APIKey, b.APIKey},
		{a.AccessToken, b.AccessToken},
	} {
		if tokenstore.Fingerprint(id, pair[0]) != tokenstore.Fingerprint(id, pair[1]) {
			return false
		}
	}
	if f, g := a.Former, b.Former; (f == nil) != (g == nil) ||
		f != nil && (!f.RefreshToken.Equal(g.RefreshToken) || !f.ClientSecret.Equal(g.ClientSecret)) {
		return false
	}
	return a.ClientID == b.ClientID &&
		maps.EqualFunc(a.Extra, b.Extra, func(x, y json.RawMessage) bool { return bytes.Equal(canonical(x), canonical(y)) })
}

func canonical(raw json.RawMessage) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}
