package mutants

// mutant is a planted fault. Its file is relative to tokenstore.
type mutant struct {
	name, file, old, new string
}

// all mutants; the first ten run in every run of the tests.
var all = []mutant{
	{
		"no claim is written", "claim.go",
		"c.stored, err = s.write(a.id, next, cur.version, newID())",
		"c.stored, err = stored{next, cur.version, cur.version}, error(nil)",
	},
	{
		"a claim without compare-and-set", "claim.go",
		"c.stored, err = s.write(a.id, next, cur.version, newID())",
		"if again, e := s.load(a.id); e == nil {\ncur.version = again.version\n}" +
			"\nc.stored, err = s.write(a.id, next, cur.version, newID())",
	},
	{
		"the lease is counted by the wall clock", "claim.go",
		"- time.Since(a.claimSince)", "- time.Since(c.StartedAt)",
	},
	{
		"a credential in doubt is presented at once", "claim.go",
		"	if !at.After(time.Now()) {\n		return RefreshResult{}, false",
		"	if true || !at.After(time.Now()) {\n		return RefreshResult{}, false",
	},
	{
		"the journal is left out", "refresh.go",
		"s.commit(a, e, c.fresh(), s.journalise(a, e))", "s.commit(a, e, c.fresh(), nil)",
	},
	{
		"a save does not wait for the journal's fsync", "journalling.go",
		"limit := time.NewTimer(journalPatience)", "limit := time.NewTimer(0)",
	},
	{
		"a rebase drops the operator's edit", "commit.go",
		"next, version = a.rebased(cur.record, e), cur.version", "next, version = e.Record, cur.version",
	},
	{
		"a generation begins anew with the record", "account.go",
		"a.highest = max(r.Rotation.Generation, a.highest+1)", "a.highest = r.Rotation.Generation",
	},
	{
		"a spent credential is not remembered", "spent.go",
		"	if !a.isSpentLocked(shown) ||", "	if true || !a.isSpentLocked(shown) ||",
	},
	{
		"no renewal is planned", "account.go",
		"due = later(a.renewalLocked(t, lead), soonest)", "due = time.Time{}",
	},

	{
		"another's claim is not respected", "claim.go",
		"if c == nil || c.Holder == s.cfg.Holder || c.Ambiguous {",
		"if true || c == nil || c.Holder == s.cfg.Holder || c.Ambiguous {",
	},
	{
		"the lease is a third", "claim.go",
		"left := max(s.cfg.Renewal.ClaimLease, ", "left := min(s.cfg.Renewal.ClaimLease/3, ",
	},
	{
		"a refresh goes on without the claim that could not be written", "claim.go",
		"			return nil, s.postponeForStore(a, \"the claim could not be written: \"+err.Error())",
		"			c.stored = stored{next, cur.version, cur.version}",
	},
	{
		"a claim that an edit came on top of spends the new credential", "claim.go",
		"if Fingerprint(a.id, c.record.Credential()) != c.fingerprint {", "if false {",
	},
	{
		"a grant begins too late for the lease", "refresh.go",
		"if time.Since(c.began) > s.cfg.Renewal.ClaimLease-s.cfg.Renewal.TokenEndpointTimeout {", "if false {",
	},
	{
		"strict is taken for its contrary", "schedule.go",
		"if policy != ReplayStrict || !living", "if policy == ReplayStrict || !living",
	},
	{
		"an unknown outcome is not noted", "settle.go",
		"doubtful: e.Class == RefreshUnknown || c.doubtful && e.Class != RefreshPermanent,", "doubtful: false,",
	},
	{
		"an earlier doubt is forgotten", "settle.go",
		"doubtful: e.Class == RefreshUnknown || c.doubtful && e.Class != RefreshPermanent,",
		"doubtful: e.Class == RefreshUnknown,",
	},
	{
		"the claim of an unknown outcome is taken back", "settle.go",
		"next.Rotation.Claim.Ambiguous = true", "next.Rotation.Claim = nil",
	},
	{
		"every refusal is for good", "failing.go",
		"case o.Class == RefreshPermanent, dead == nil", "case o.Class != RefreshNotSent, dead == nil",
	},
	{
		"the journal is emptied before the save", "refresh.go",
		"s.commit(a, e, c.fresh(), s.journalise(a, e))",
		"j := s.journalise(a, e)\ns.unjournal(a, e.Attempt)\ns.commit(a, e, c.fresh(), j)",
	},
	{
		"the journal is not replayed at the start", "store.go",
		"	s.replay()\n", "",
	},
	{
		"the journal is never emptied", "commit.go",
		"j.then(func() { s.unjournal(a, e.Attempt) })", "_ = j",
	},
	{
		"a save gives up at the first error", "commit.go",
		"		if j.failed() {", "		if waits > 0 {\n			return\n		}\n		if j.failed() {",
	},
	{
		"a save gives up at a conflict", "commit.go",
		"err, version = werr, 0", "if errors.Is(werr, ErrConflict) {\nreturn\n}\nerr, version = werr, 0",
	},
	{
		"a save gives up on a deleted record", "commit.go",
		"		s.unusable(a, err, cur)\n		return cur, foundOld, err", "		s.unusable(a, err, cur)\n		return cur, foundDone, nil",
	},
	{
		"the rotated refresh token is not taken", "refresh.go",
		"if !g.RefreshToken.IsZero() && !g.RefreshToken.Equal(next.RefreshToken) {", "if false {",
	},
	{
		"the record does not tell what was spent", "refresh.go",
		"		tellSpent(&next, c.fingerprint)\n", "",
	},
	{
		"a refresh token that came with a useless access token is dropped", "rescue.go",
		"if g.RefreshToken.IsZero() {", "if true {",
	},
	{
		"a refreshed token's generation begins anew with the record", "refresh.go",
		"gen := max(c.record.Rotation.Generation, a.highest) + 1", "gen := c.record.Rotation.Generation + 1",
	},
	{
		"the schedule keeps an account's old instant", "renewer.go",
		"		e.at = due\n", "",
	},
	{
		"tokens are renewed when they end", "schedule.go",
		"return min(lead, lifetime/2)", "return 0",
	},
	{
		"two flights of an account at once", "flight.go",
		"	cur := a.flight\n", "	cur := (*flight)(nil)\n",
	},
	{
		"a former credential is forgotten", "retreat.go",
		"		a.former = f\n", "		a.former = nil\n",
	},
	{
		"a stop does not wait for flights", "store.go",
		"		s.flights.Wait()\n		s.loops.Wait()", "		s.loops.Wait()",
	},
	{
		"a forced refresh waits for a landing that never comes", "flight.go",
		"		f.force = force // it never lands: nobody is to wait for that\n", "",
	},
	{
		"what is read during a save is adopted", "account.go",
		"if a.overtakenLocked(r) || a.flight != nil && a.flight.saving {", "if a.overtakenLocked(r) {",
	},
	{
		"a pick may join a flight that is stuck", "account.go",
		"if a.flight.stuck || a.flight.saving && a.flight.next == nil {", "if a.flight.saving && a.flight.next == nil {",
	},
	{
		"a former credential loses the claim of its refresh", "retreat.go",
		"c != nil && c.Fingerprint == Fingerprint(a.id, before.Credential())", "c != nil && false",
	},
	{
		"a rotation without a new refresh token wipes another's claim out", "retreat.go",
		"c.AttemptID != e.Attempt && c.Fingerprint == Fingerprint(a.id, next.Credential())", "false",
	},
	{
		"an older journalled rotation is taken for the living one", "spent.go",
		"a.record.Provider == \"\" || a.isSpentLocked(Fingerprint(a.id, a.record.Credential()))", "a.record.Provider == \"\"",
	},
	{
		"memory's living credential is forgotten for a spent one", "retreat.go",
		"case len(a.formersLocked(a.record)) == 0 &&", "case a.former == nil && a.record.Former == nil &&",
	},
	{
		"changes are not looked for", "vault/kv/watch.go",
		"if !known || was.Mark != now.Mark {", "if !known {",
	},
}
