package provider

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// A dialect is how a provider says what is wrong, and how we say it in its place. This file is the half of a driver
// that the data plane uses.
//
// What benches or refreshes rests on the provider's own protocol words: challenge, code, type. A message may hold the
// words of the request, so that a message lowers a verdict where it likes, and raises one only where the whole of it is
// known.
type dialect struct {
	parse func(body []byte) said // reads the error object
	shape func(tokenstore.Refusal) map[string]any
	tables
}

// tables are what one provider's servers are known to say.
type tables struct {
	rules    []rule[verdict]                 // answers to attempts
	refusals []rule[tokenstore.RefreshClass] // answers to refreshes
	limits   limits
}

// verdict is what an answer to an attempt means.
type verdict struct {
	class tokenstore.Class
	scope tokenstore.Scope
}

var (
	blocked       = verdict{tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation}
	broke         = verdict{tokenstore.ClassBilling, tokenstore.ScopeAccount}
	rejected      = verdict{tokenstore.ClassTokenRejected, tokenstore.ScopeAccount}
	forbidden     = verdict{tokenstore.ClassForbidden, tokenstore.ScopeRequest}
	misconfigured = verdict{tokenstore.ClassMisconfigured, tokenstore.ScopeProvider}
	onTheWay      = verdict{tokenstore.ClassEgress, tokenstore.ScopeEgress}
	limited       = verdict{tokenstore.ClassRateLimited, tokenstore.ScopeAccount}
	overloaded    = verdict{tokenstore.ClassOverloaded, tokenstore.ScopeProvider}
	faulty        = verdict{tokenstore.ClassProviderFault, tokenstore.ScopeProvider}
	wrongRequest  = verdict{tokenstore.ClassRequestFault, tokenstore.ScopeRequest}
	accepted      = verdict{tokenstore.ClassOK, tokenstore.ScopeRequest}
)

// gravity is the order in which verdicts of several tables outrank each other where an answer says two things, say a
// code that refuses the token and a message that blocks the account. What is not listed comes last.
var gravity = []verdict{blocked, broke, rejected, forbidden, misconfigured, onTheWay}

// skeleton is what a status means when its answer says nothing that is known: the last rows of every dialect.
var skeleton = []rule[verdict]{
	{when{status: []int{401}}, rejected, "RFC 9110 section 15.5.2"},
	{when{status: []int{402}}, broke, "answers/anthropic/402-billing.txt"},
	{when{status: []int{403}, page: true}, onTheWay, "answers/*/403-html.txt"},
	{when{status: []int{403}}, forbidden, "RFC 9110 section 15.5.4"},
	{when{status: []int{429}}, limited, "RFC 6585 section 4"},
	{when{status: []int{503}}, overloaded, "RFC 9110 section 15.6.4"},
	{when{status: []int{529}}, overloaded, "answers/anthropic/529-overloaded.txt"},
	{when{from: 500}, faulty, "RFC 9110 section 15.6"},
	{when{}, wrongRequest, "RFC 9110 section 15.5"},
}

// newDialect puts a driver's tables in order: its own rows as they are written, then those of everyone, then what a
// status alone means.
func newDialect(parse func([]byte) said, shape func(tokenstore.Refusal) map[string]any, own tables) *dialect {
	all := tables{limits: own.limits}
	for _, t := range everyone {
		all.rules = append(all.rules, t.rules...)
		all.refusals = append(all.refusals, t.refusals...)
		all.limits = all.limits.and(t.limits)
	}
	rank := func(r rule[verdict]) int {
		if at := slices.Index(gravity, r.means); at >= 0 {
			return at
		}
		return len(gravity)
	}
	slices.SortStableFunc(all.rules, func(a, b rule[verdict]) int { return rank(a) - rank(b) })
	return &dialect{parse: parse, shape: shape, tables: tables{
		rules:    slices.Concat(own.rules, all.rules, skeleton),
		refusals: slices.Concat(own.refusals, unjudged, all.refusals, unknownWords),
		limits:   all.limits,
	}}
}

// said is what an error body says of itself, "" where it says nothing.
type said struct{ code, kind, message string }

// name is the most precise word for the error.
func (e said) name() string {
	if e.code != "" {
		return e.code
	}
	return e.kind
}

// bodyTells are the statuses at which a body is read, since it may change the verdict.
var bodyTells = []int{400, 401, 402, 403, 429}

// Classify implements tokenstore.Driver.
func (d *dialect) Classify(resp tokenstore.Response) tokenstore.Verdict {
	switch {
	case resp.Local:
		return local(resp)
	case resp.Status < 400:
		return tokenstore.Verdict{Class: accepted.class, Scope: accepted.scope}
	}
	resp = unwrap(resp)
	e := d.parse(resp.Body)
	means := meaning(d.rules, heard(resp, e))
	v := tokenstore.Verdict{
		Class: means.class, Scope: means.scope, Code: e.name(), Message: clipMessage(e.message),
		NeedBody: !resp.BodyRead && slices.Contains(bodyTells, resp.Status),
	}
	switch resp.Status {
	case 429:
		wait, sure := d.limits.resetIn(resp, time.Now())
		v.Wait, v.NeedBody = wait, v.NeedBody && !sure
	case 503, 529:
		v.Wait = d.limits.demandIn(resp.Header, time.Now())
	}
	return v
}

// heard is the evidence in an answer to an attempt.
func heard(resp tokenstore.Response, e said) *evidence {
	return &evidence{
		status: resp.Status, challenge: challenged(resp.Header), code: plain(e.code), kind: plain(e.kind),
		exact: exactly(e.code), sentence: sentence(e.message), message: clipMessage(e.message),
		page: strings.Contains(resp.Header.Get("content-type"), "text/html") ||
			bytes.HasPrefix(bytes.TrimSpace(resp.Body), []byte("<")),
	}
}

// local judges an answer that Envoy made itself.
func local(resp tokenstore.Response) tokenstore.Verdict {
	v := tokenstore.Verdict{Class: faulty.class, Scope: faulty.scope, Code: resp.Detail}
	if resp.NotSent {
		v.Class = tokenstore.ClassUnreachable
	}
	return v
}

func clipMessage(s string) string {
	const most = 1024
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// Room implements tokenstore.Driver: a limit is in the headers, and none of them is used up.
func (d *dialect) Room(h tokenstore.HeaderGetter) bool {
	room := false
	for _, name := range d.limits.room {
		switch h.Get(name) {
		case "":
		case "0", "rejected":
			return false
		default:
			room = true
		}
	}
	return room
}
