package rotation

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// The refresh protocol: claim - redeem - keep - journal - commit. The token endpoint is called only with a claim that
// was confirmed on the very version that supplied the refresh token, so two processes never spend one token; whatever
// it answers is kept in memory and in the journal before it is saved, and saving never gives up while the process
// lives.

// claimed is a confirmed claim: the right, and the duty, to finish one refresh.
type claimed struct {
	stored      // with the claim in it
	driver      Redeemer
	fingerprint string // of the credential that will be spent
	doubtful    bool   // it may be spent already: an earlier claim of it ended without a readable answer
	trigger     record.Trigger
	began       time.Time // before the claim was written: others count its lease from when they see it, which is later
}

// fresh is the version to commit onto: the claim's; 0: look first, since the record may have been deleted, made again
// and edited up to that very number. A young record takes only a few edits for it, any other more than fit into a
// second.
func (c *claimed) fresh() record.Version {
	if c.version <= 4 || time.Since(c.began) > time.Second {
		return 0
	}
	return c.version
}

func (c *claimed) attempt() string { return c.record.Rotation.Claim.AttemptID }

// refresh runs the protocol once. It calls done as soon as the result is known and returns when it is saved.
func (k *Keeper) refresh(a *Account, f *Flight, done func(RefreshResult)) {
	c, early := k.claim(a, f)
	if c == nil {
		done(early)
		return
	}
	k.count.Claims.Inc()
	defer k.count.Claims.Dec()
	k.host.Event("refresh_started", a, zap.String("trigger", string(f.trigger)))
	grant, err := k.redeem(c)
	if err != nil {
		done(k.settle(a, c, err))
		return
	}
	if bad := c.unusable(grant); bad != nil {
		k.rescue(a, c, grant, bad, done)
		return
	}
	var e JournalEntry
	revived := a.look().dead()
	k.change(a, func(l *lifecycle, now time.Time) { e = l.granted(c, grant, now) })
	if revived {
		k.host.Event("account_recovered", a)
	}
	done(RefreshResult{Outcome: Refreshed, GenerationAfter: e.Record.Rotation.Generation, ExpiresAt: e.Record.ExpiresAt})
	k.commit(a, e, c.fresh(), k.journalise(a, e))
}

// redeem makes the one grant request, on its own deadline. It does not begin what might outlast the claim's lease,
// after which others may spend the same credential.
func (k *Keeper) redeem(c *claimed) (Grant, *RefreshError) {
	if time.Since(c.began) > k.cfg.Renewal.ClaimLease-k.cfg.Renewal.TokenEndpointTimeout {
		why := "the store took so long to confirm the claim that it could run out during the refresh"
		return Grant{}, &RefreshError{Class: record.RefreshNotSent, Message: why}
	}
	ctx, cancel := context.WithTimeout(k.life, k.cfg.Renewal.TokenEndpointTimeout)
	defer cancel()
	started := time.Now()
	grant, err := c.driver.Refresh(ctx, c.record)
	k.count.RefreshSeconds.WithLabelValues(c.record.Provider, result(err)).Observe(time.Since(started).Seconds())
	if err == nil {
		return grant, nil
	}
	var e *RefreshError
	if !errors.As(err, &e) {
		e = &RefreshError{Class: record.RefreshUnknown, Message: "the driver failed"}
	}
	return Grant{}, e
}

// entry is what the journal keeps of the refresh's fruit.
func (c *claimed) entry(id record.ID, next record.Record, now time.Time) JournalEntry {
	return JournalEntry{Attempt: c.attempt(), Account: id, Spent: c.fingerprint, At: now.UTC(), Record: next}
}

// fulfilled returns the record with the grant in it and the claim cleared.
func (c *claimed) fulfilled(g Grant, gen record.Generation, id record.ID, at time.Time) record.Record {
	now := at.UTC()
	next := c.record.Clone()
	next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = g.AccessToken, g.TokenType, now, time.Time{}
	next.Mend("access_token", "token_type", "obtained_at", "expires_at")
	if g.ExpiresIn > 0 {
		next.ExpiresAt = now.Add(g.ExpiresIn)
	}
	if !g.RefreshToken.IsZero() && !g.RefreshToken.Equal(next.RefreshToken) {
		next.RefreshToken = g.RefreshToken
		record.TellSpent(&next, c.fingerprint)
	}
	if g.Scope != "" && !next.Slipped("scope") {
		next.Scope = g.Scope
	}
	if c.record.Former != nil { // the new credential has proven good
		next.Former, next.Rotation.Rejected = nil, nil
	}
	next.Rotation.Generation, next.Rotation.Claim, next.Rotation.Dead = gen, nil, nil
	next.Rotation.Last = &record.Outcome{
		At: now, Trigger: c.trigger, Result: "succeeded", Fingerprint: record.Fingerprint(id, next.Credential()),
	}
	return next
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "succeeded"
}
