package provider

import (
	"slices"

	"github.com/tokenward/tokenward/tokenstore"
)

// driver is what drivers are made of: two halves that know nothing of each other, and how a token is shown.
type driver struct {
	redeemer
	*dialect
	show  show                // the headers of an attempt with the record's token
	extra []tokenstore.Header // those of the configuration
}

type show func(tokenstore.Record) []tokenstore.Header

// newDriver makes the driver of a provider entry. Its grants are asked for as the entry says.
func newDriver(s Settings, kinds []Kind, d *dialect, show show) (*driver, error) {
	if err := s.choices(); err != nil {
		return nil, err
	}
	e, err := newEndpoint(s.entry, s)
	if err != nil {
		return nil, err
	}
	ask := askGrant{json: s.Body == "json", style: s.AuthStyle}
	if ask.style == "" {
		ask.style = "params"
	}
	return &driver{
		redeemer: redeemer{
			name: s.Driver, kinds: kinds, endpoint: e, ask: ask, refusals: d.refusals,
			replay: replays[s.Replay], grace: s.Grace,
		},
		dialect: d, show: show, extra: s.extra(),
	}, nil
}

// Headers implements tokenstore.Driver.
func (d *driver) Headers(r tokenstore.Record) []tokenstore.Header {
	return slices.Concat(d.show(r), d.extra)
}

// showBearer shows a token or key as RFC 6750 section 2.1 has it.
func showBearer(r tokenstore.Record) []tokenstore.Header {
	return []tokenstore.Header{bearer(tokenOf(r))}
}
