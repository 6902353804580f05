package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// server is the authorization server and the provider behind it. It knows the truth about every token.
type server struct {
	w        *world
	refresh  map[string]*refreshToken
	access   map[string]*accessToken
	families []*family
	odd      string // how the next grant is answered; "": as it should be
	mood     string // how the next attempt is answered, whatever its token
	latest   []*accessToken
}

// family is what descends from one sign-in.
type family struct {
	account int
	number  int
	tokens  int
	ended   time.Duration // 0: it lives
	why     string
}

func (f *family) living() bool { return f.ended == 0 }

// refreshToken is one refresh token and what became of it.
type refreshToken struct {
	value, print string
	family       *family
	from         *presentation // the grant that brought it; nil: an operator did
	uses         []*presentation

	journalling, kept time.Duration // on its way into the journal, and in it
	diskLost          time.Duration
	sent, saved       time.Duration // on its way into the store, and in it
	marked            time.Duration // a claim of it was marked as ambiguous in the store
}

// spent reports whether it was exchanged for another.
func (t *refreshToken) spent() *presentation {
	for _, u := range t.uses {
		if u.next != nil {
			return u
		}
	}
	return nil
}

func (t *refreshToken) living() bool { return t.family.living() && t.spent() == nil }

type accessToken struct {
	value  string
	family *family
	ends   time.Time
	dead   bool
}

func newServer(w *world) *server {
	return &server{
		w: w, refresh: map[string]*refreshToken{}, access: map[string]*accessToken{},
		latest: make([]*accessToken, len(w.plan.policies)),
	}
}

func (s *server) policy(account int) tokenstore.ReplayPolicy { return s.w.plan.policies[account] }

const graceLength = 45 * time.Second

// signIn begins a family.
func (s *server) signIn(account int) *refreshToken {
	n := 1
	for _, f := range s.families {
		if f.account == account {
			n++
		}
	}
	f := &family{account: account, number: n}
	s.families = append(s.families, f)
	return s.issue(f)
}

func (s *server) issue(f *family) *refreshToken {
	f.tokens++
	value := fmt.Sprintf("rt-%s-%d-%d", accountID(f.account), f.number, f.tokens)
	t := &refreshToken{
		value: value, family: f,
		print: tokenstore.Fingerprint(tokenstore.AccountID(accountID(f.account)), tokenstore.NewSecret(value)),
	}
	s.refresh[value] = t
	return t
}

func (s *server) issueAccess(f *family, life time.Duration) *accessToken {
	a := &accessToken{
		value: fmt.Sprintf("at-%s-%d-%d", accountID(f.account), f.number, len(s.access)+1), family: f,
		ends: time.Now().Add(life),
	}
	s.access[a.value] = a
	s.latest[f.account] = a
	return a
}

// record is what an operator writes who has just signed in.
func (s *server) record(account int, t *refreshToken) tokenstore.Record {
	a := s.issueAccess(t.family, s.w.plan.life)
	return tokenstore.Record{
		Provider: "p-" + accountID(account), Pools: []string{accountID(account)}, Kind: tokenstore.KindOAuthRefresh,
		ClientID:     accountID(account),
		RefreshToken: tokenstore.NewSecret(t.value), AccessToken: tokenstore.NewSecret(a.value),
		ObtainedAt: time.Now().UTC(), ExpiresAt: a.ends.UTC(),
	}
}

// presentation is one arrival of a refresh token at the token endpoint.
type presentation struct {
	at      time.Duration
	by      *life
	account int // whose refresh it was
	token   *refreshToken
	dead    bool // its family had ended before
	claimed time.Duration

	next          *refreshToken // what was granted; nil: nothing, or no other
	granted       bool
	class         tokenstore.RefreshClass // how it ended otherwise
	answered      time.Duration           // the whole answer was there; 0: never
	ended         time.Duration           // 0: it is under way, or its process died
	journalFailed bool                    // the journal was made to fail meanwhile
	ends          time.Duration           // of the record's access token, as by saw it; 0: nobody knows
	life          time.Duration           // the whole
	refused       bool                    // that access token was refused
	forced        bool
}

func (p *presentation) String() string {
	return fmt.Sprintf("%s presents %s", p.by.name, strings.TrimPrefix(p.token.value, "rt-"))
}

// redeem is a grant request that has arrived.
func (s *server) redeem(l *life, account int, r tokenstore.Record) (tokenstore.Grant, *presentation, error) {
	invalid := &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
	odd := s.odd
	s.odd = ""
	t := s.refresh[r.RefreshToken.Reveal()]
	if t == nil {
		s.w.say("%s presents a token that nobody issued: invalid_grant", l.name)
		return tokenstore.Grant{}, nil, invalid
	}
	p := &presentation{
		at: s.w.now(), by: l, account: account, token: t, dead: !t.family.living(),
		claimed: l.claimed(account), forced: l.forced[accountID(account)] > 0,
	}
	if a := r.AccessToken.Reveal(); a != "" {
		p.refused = l.refused[a]
		if !r.ExpiresAt.IsZero() {
			p.ends, p.life = r.ExpiresAt.Sub(s.w.epoch), r.ExpiresAt.Sub(r.ObtainedAt)
			if r.ObtainedAt.After(time.Now()) {
				p.ends = min(p.ends, s.w.now()+p.life)
			}
		}
	}
	t.uses = append(t.uses, p)
	s.w.ledger.presented = append(s.w.ledger.presented, p)
	first := t.spent()
	if p.dead {
		s.w.say("%s: its sign-in has ended", p)
		return tokenstore.Grant{}, p, invalid
	}
	policy := s.policy(t.family.account)
	if first != nil && (policy == tokenstore.ReplayStrict || policy == tokenstore.ReplayGrace &&
		s.w.now()-first.at > graceLength) {
		t.family.ended, t.family.why = s.w.now(), "a refresh token was presented twice"
		s.w.ledger.ends = append(s.w.ledger.ends, familyEnd{account: t.family.account, at: s.w.now(), by: p, first: first})
		s.w.say("%s: it is spent, and the sign-in ends", p)
		return tokenstore.Grant{}, p, invalid
	}
	life := s.w.plan.life
	if odd == "short life" {
		life = time.Minute
	}
	a := s.issueAccess(t.family, life)
	g := tokenstore.Grant{AccessToken: tokenstore.NewSecret(a.value), ExpiresIn: life}
	p.granted = true
	if policy != tokenstore.ReplayNoRotation && odd != "not rotated" {
		p.next = s.issue(t.family)
		p.next.from = p
		g.RefreshToken = tokenstore.NewSecret(p.next.value)
	}
	switch odd {
	case "unusable token":
		g.AccessToken = tokenstore.NewSecret("broken\r\ntoken")
	case "no end":
		g.ExpiresIn = 0
	case "dies early":
		a.dead = true
	}
	if p.next != nil {
		s.w.say("%s: granted %s", p, strings.TrimPrefix(p.next.value, "rt-"))
	} else {
		s.w.say("%s: granted, not rotated", p)
	}
	return g, p, nil
}

// claimed is when a life has claimed what it presents now: now, if it has not.
func (l *life) claimed(account int) time.Duration {
	at, claimed := l.claims[account]
	if !claimed {
		return l.w.now()
	}
	delete(l.claims, account)
	return at
}

// refuse is an answer of the token endpoint that processed nothing.
func (s *server) refuse(what string) error {
	switch what {
	case "not_sent":
		return &tokenstore.RefreshError{Class: tokenstore.RefreshNotSent, Message: "simulated"}
	case "transient":
		return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 503}
	case "misconfigured":
		return &tokenstore.RefreshError{Class: tokenstore.RefreshMisconfigured, Status: 401, Code: "invalid_client"}
	case "unknown":
		return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown, Status: 502}
	}
	panic("simulation: there is no refusal " + what)
}

// killToken ends the latest access token of an account before its time.
func (s *server) killToken(account int) {
	if a := s.latest[account]; a != nil {
		a.dead = true
	}
}

// revoke ends the latest family of an account, for a reason of the provider's own.
func (s *server) revoke(account int, why string) {
	for _, v := range slices.Backward(s.families) {
		if f := v; f.account == account && f.living() {
			f.ended, f.why = s.w.now(), why
			s.w.say("%s ends sign-in %d of %s", why, f.number, accountID(account))
			return
		}
	}
}

// tokensOf are the refresh tokens that a record holds and that the server knows.
func (s *server) tokensOf(r tokenstore.Record) []*refreshToken {
	var all []*refreshToken
	if t := s.refresh[r.RefreshToken.Reveal()]; t != nil {
		all = append(all, t)
	}
	if r.Former != nil {
		if t := s.refresh[r.Former.RefreshToken.Reveal()]; t != nil {
			all = append(all, t)
		}
	}
	return all
}

func first(at *time.Duration, now time.Duration) {
	if *at == 0 {
		*at = now
	}
}

func (s *server) unsaved(r tokenstore.Record) bool {
	for _, t := range s.tokensOf(r) {
		if t.from != nil && t.saved == 0 {
			return true
		}
	}
	return false
}

func (s *server) sending(r tokenstore.Record) {
	for _, t := range s.tokensOf(r) {
		first(&t.sent, s.w.now())
	}
}

// stored notes that a service's write took effect.
func (s *server) stored(l *life, account int, r tokenstore.Record) {
	for _, t := range s.tokensOf(r) {
		first(&t.saved, s.w.now())
		l.meet(t.value)
	}
	if c := r.Rotation.Claim; c != nil && c.Holder == l.name && !c.Ambiguous {
		l.claims[account] = s.w.now()
	}
	s.mark(r, r.Rotation.Claim)
	if r.Former != nil {
		s.mark(r, r.Former.Claim)
	}
}

// mark notes that the store tells a token to be in doubt.
func (s *server) mark(r tokenstore.Record, c *tokenstore.Claim) {
	if c == nil || !c.Ambiguous {
		return
	}
	for _, t := range s.tokensOf(r) {
		if t.print == c.Fingerprint {
			first(&t.marked, s.w.now())
		}
	}
}

func (s *server) journalling(r tokenstore.Record) {
	for _, t := range s.tokensOf(r) {
		first(&t.journalling, s.w.now())
	}
}

// journalFails notes that the journal of a life does not take what the account was granted at once.
func (s *server) journalFails(l *life, account int) {
	all := s.w.ledger.presented
	for _, a := range slices.Backward(all) {
		if p := a; p.by == l && p.account == account {
			p.journalFailed = true
			return
		}
	}
}

func (s *server) kept(_ *life, r tokenstore.Record) {
	for _, t := range s.tokensOf(r) {
		first(&t.kept, s.w.now())
	}
}

func (s *server) diskLost(r tokenstore.Record) {
	for _, t := range s.tokensOf(r) {
		first(&t.diskLost, s.w.now())
	}
}

// describe is a record in a few words.
func (s *server) describe(r tokenstore.Record) string {
	words := []string{strings.TrimPrefix(r.RefreshToken.Reveal(), "rt-")}
	if c := r.Rotation.Claim; c != nil {
		words = append(words, map[bool]string{false: "claimed by ", true: "in doubt, of "}[c.Ambiguous]+c.Holder)
	}
	if f := r.Former; f != nil {
		words = append(words, "former "+strings.TrimPrefix(f.RefreshToken.Reveal(), "rt-"))
	}
	if r.State != "" {
		words = append(words, string(r.State))
	}
	if d := r.Rotation.Dead; d != nil {
		words = append(words, "dead")
	}
	return strings.Join(words, ", ")
}

// attempt is what the provider says to a request with an access token.
func (s *server) attempt(l *life, account int, value string) tokenstore.Response {
	mood := s.mood
	s.mood = ""
	resp := tokenstore.Response{Status: 200, Header: header{}}
	switch mood {
	case "401":
		resp.Status = 401
	case "403":
		resp.Status = 403
	case "429":
		resp.Status = 429
	case "429 with a time":
		resp.Status, resp.Header = 429, header{"retry-after": "20"}
	case "500":
		resp.Status = 500
	case "529":
		resp.Status = 529
	case "unreachable":
		resp = tokenstore.Response{Status: 503, Local: true, NotSent: true, Header: header{}}
	}
	a := s.access[value]
	if a == nil || a.dead || !a.family.living() || !time.Now().Before(a.ends) {
		resp = tokenstore.Response{Status: 401, Header: header{}}
	}
	if resp.Status == 401 {
		l.refused[value] = true
	}
	if a != nil && a.family.account != account {
		s.w.ledger.foreign = append(s.w.ledger.foreign, fmt.Sprintf("%s sent the access token %s for account %s", l.name,
			value, accountID(account)))
	}
	return resp
}

type header map[string]string

func (h header) Get(name string) string { return h[name] }

// driver is a service's way to the token endpoint.
type driver struct {
	life    *life
	account int
	policy  tokenstore.ReplayPolicy
}

// Check implements tokenstore.Driver.
func (d *driver) Check(r tokenstore.Record) error {
	if r.RefreshToken.IsZero() && r.AccessToken.IsZero() {
		return &tokenstore.RecordError{Key: "refresh_token", Rule: "must be given"}
	}
	if strings.ContainsAny(r.AccessToken.Reveal(), "\r\n") {
		return &tokenstore.RecordError{Key: "access_token", Rule: "must be one line"}
	}
	return nil
}

// Refreshable implements tokenstore.Driver.
func (d *driver) Refreshable(r tokenstore.Record) bool { return !r.RefreshToken.IsZero() }

// Token implements tokenstore.Driver.
func (d *driver) Token(r tokenstore.Record) tokenstore.Secret { return r.AccessToken }

// Refresh implements tokenstore.Driver.
func (d *driver) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	l, account := d.life, d.account
	var g tokenstore.Grant
	var p *presentation
	err := l.do(ctx, opGrant, account, func() (err error) {
		g, p, err = l.w.as.redeem(l, account, r)
		return err
	})
	var e *tokenstore.RefreshError
	if err != nil && !errors.As(err, &e) {
		e = &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown, Message: err.Error()}
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if p != nil && !l.dead {
		p.ended = l.w.now()
		if e == nil {
			p.answered = p.ended
			if p.next != nil {
				l.meet(p.next.value)
			}
		} else {
			p.class = e.Class
		}
	}
	if e != nil {
		if !l.dead {
			l.w.say("%s: the refresh of %s ends: %v", l.name, accountID(account), e)
		}
		return tokenstore.Grant{}, e
	}
	return g, nil
}

// Headers implements tokenstore.Driver.
func (d *driver) Headers(r tokenstore.Record) []tokenstore.Header {
	return []tokenstore.Header{{Name: "authorization", Value: "Bearer " + r.AccessToken.Reveal()}}
}

// Classify implements tokenstore.Driver.
func (d *driver) Classify(resp tokenstore.Response) tokenstore.Verdict {
	v := tokenstore.Verdict{Class: tokenstore.ClassRequestFault, Scope: tokenstore.ScopeRequest}
	switch {
	case resp.Local:
		v.Class, v.Scope = tokenstore.ClassUnreachable, tokenstore.ScopeProvider
	case resp.Status < 400:
		v.Class = tokenstore.ClassOK
	case resp.Status == 401:
		v.Class, v.Scope = tokenstore.ClassTokenRejected, tokenstore.ScopeAccount
	case resp.Status == 403:
		v.Class = tokenstore.ClassForbidden
	case resp.Status == 429:
		v.Class, v.Scope = tokenstore.ClassRateLimited, tokenstore.ScopeAccount
		v.Wait, _ = time.ParseDuration(resp.Header.Get("retry-after") + "s")
	case resp.Status == 529:
		v.Class, v.Scope = tokenstore.ClassOverloaded, tokenstore.ScopeProvider
	case resp.Status >= 500:
		v.Class, v.Scope = tokenstore.ClassProviderFault, tokenstore.ScopeProvider
	}
	return v
}

// Room implements tokenstore.Driver.
func (d *driver) Room(tokenstore.HeaderGetter) bool { return false }

// Shape implements tokenstore.Driver.
func (d *driver) Shape(tokenstore.Refusal) (string, []byte) { return "text/plain", nil }

// Replay implements tokenstore.Driver.
func (d *driver) Replay() (tokenstore.ReplayPolicy, time.Duration) {
	if d.policy == tokenstore.ReplayGrace {
		return d.policy, graceLength
	}
	return d.policy, 0
}
