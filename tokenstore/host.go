package tokenstore

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
)

// This file binds the two engines, which do not know each other: what the keeper says of an account's credential
// reaches its seat, and what answers say of the seat reaches the keeper.

// seat is an account's seat among the picks, as the keeper sees it.
type seat struct {
	*selection.Seat
	dialects map[string]Driver
	dialect  Driver // of the latest record that named its provider; nil: none has; under the account's lock

	of    *rotation.Token  // the keeper's token that was published last; under the account's lock
	token *selection.Token // as picks see it

	told [2]string // what was last logged of the record's slips and of its end; behind Store.toldMu
}

// seatOf is an account's seat.
func seatOf(a *rotation.Account) *seat {
	return a.Seat.(*seat) //nolint:forcetypeassert // NewSeat makes no other
}

// Objections implements Seat.
func (s *seat) Objections() rotation.Objections { return rotation.Objections(s.Seat.Objections()) }

// Pardon implements Seat.
func (s *seat) Pardon(p rotation.Pardon, now time.Time) { s.Seat.Pardon(selection.Pardon(p), now) }

// Publish implements Seat.
func (s *seat) Publish(v rotation.View, now time.Time) {
	if d := s.dialects[v.Record.Provider]; d != nil {
		s.dialect = d
	}
	if v.Token != s.of {
		s.of = v.Token // first: a driver that panics does so once
		s.token = s.minted(v)
	}
	s.Seat.Publish(selection.View{
		Token:       s.token,
		Refreshable: v.Refreshable,
		InFlight:    v.InFlight,
		Joinable:    v.Joinable,
		Static:      v.Static,
		Dead:        v.Dead,
		Responded:   v.Responded,
		RestsUntil:  v.RestsUntil,
		RPM:         v.Record.Limits.RPM,
		Concurrency: v.Record.Limits.Concurrency,
	}, now)
}

// minted is a token as attempts carry it.
func (s *seat) minted(v rotation.View) *selection.Token {
	if v.Token == nil || s.dialect == nil {
		return nil
	}
	return &selection.Token{
		Generation:  v.Token.Generation,
		UsableUntil: v.Token.UsableUntil,
		Headers:     s.dialect.Headers(v.Record),
		RefreshedAt: v.Token.RefreshedAt,
		Given:       v.Token.Given,
	}
}

// Inherit implements Seat.
func (s *seat) Inherit(earlier rotation.Seat) {
	s.InheritLimits(earlier.(*seat).Seat) //nolint:forcetypeassert // NewSeat makes no other
}

// host is the store as its keeper sees it.
type host struct{ *Store }

// NewSeat implements Host.
func (h host) NewSeat(a *rotation.Account) rotation.Seat {
	s := &seat{dialects: h.cfg.Drivers}
	s.Seat = selection.NewSeat(a.ID(), func() { h.keeper.Replan(a) })
	return s
}

// Moved implements Host.
func (h host) Moved() { h.rebuildSoon() }

// Event implements Host.
func (h host) Event(name string, a *rotation.Account, fields ...zap.Field) {
	h.event(name, a, fields...)
}

// Adopted implements Host: it logs what has become wrong with a record that can be used, once, however often it is
// read.
func (h host) Adopted(a *rotation.Account) {
	r := a.Record()
	now := [2]string{
		strings.Join(append(slipRemarks(r), r.Hints()...), "; "), endsBeforeRenewal(r, h.cfg.Drivers[r.Provider]),
	}
	s := seatOf(a)
	h.toldMu.Lock()
	was := s.told
	s.told = now
	h.toldMu.Unlock()
	for i, name := range []string{"record_slip", "record_ends"} {
		if now[i] != "" && now[i] != was[i] {
			h.event(name, a, zap.String("remark", now[i]))
		}
	}
}

// Ended implements Host.
func (h host) Ended(a *rotation.Account, t record.Trigger, r rotation.RefreshResult) {
	h.noteRefresh(a, t, r)
}
