package mutants

// mutant is a planted fault. Its file is relative to tokenstore.
type mutant struct {
	name, file, old, new string
}

// all mutants; the first ten run in every run of the tests.
var all = []mutant{
	{
		"no claim is written", "rotation/claim.go",
		"c.stored, err = k.write(a.id, next, cur.version, record.NewID())",
		"c.stored, err = stored{next, cur.version, cur.version}, error(nil)",
	},
	{
		"a claim without compare-and-set", "rotation/claim.go",
		"c.stored, err = k.write(a.id, next, cur.version, record.NewID())",
		"if again, e := k.read(a.id); e == nil {\ncur.version = again.version\n}\nc.stored, err = k.write(a.id, next, cur.version, record.NewID())",
	},
	{
		"the lease is counted by the wall clock", "rotation/claim.go",
		"lease-now.Sub(l.peer.since)",
		"lease-now.Sub(c.StartedAt)",
	},
	{
		"a credential in doubt is presented at once", "rotation/claim.go",
		"at.After(now) {\n\t\t\tearly, ok",
		"false && at.After(now) {\n\t\t\tearly, ok",
	},
	{
		"the journal is left out", "rotation/refresh.go",
		"k.commit(a, e, c.fresh(), k.journalise(a, e))", "k.commit(a, e, c.fresh(), nil)",
	},
	{
		"a save does not wait for the journal's fsync", "rotation/journalling.go",
		"limit := time.NewTimer(journalPatience)", "limit := time.NewTimer(0)",
	},
	{
		"a rebase drops the operator's edit", "rotation/commit.go",
		"next, version = a.look().rebased(cur.record, e, time.Now()), cur.version",
		"next, version = e.Record, cur.version",
	},
	{
		"a generation begins anew with the record", "rotation/lifecycle.go",
		"l.highest = max(r.Rotation.Generation, l.highest+1)",
		"l.highest = r.Rotation.Generation",
	},
	{
		"a spent credential is not remembered", "rotation/memory.go",
		"case !l.memory.isSpent(shown), ",
		"case true, !l.memory.isSpent(shown), ",
	},
	{
		"no renewal is planned", "rotation/plan.go",
		"due = later(l.renewal(now), soonest)",
		"due = time.Time{}",
	},

	{
		"another's claim is not respected", "rotation/claim.go",
		"if c == nil || c.Holder == l.cfg.Holder || c.Ambiguous {",
		"if true || c == nil || c.Holder == l.cfg.Holder || c.Ambiguous {",
	},
	{
		"the lease is a third", "rotation/claim.go",
		"lease = max(lease, min(",
		"lease = min(lease/3, min(",
	},
	{
		"a refresh goes on without the claim that could not be written", "rotation/claim.go",
		"			return nil, k.postponeForStore(a, \"the claim could not be written: \"+err.Error())",
		"			c.stored = stored{next, cur.version, cur.version}",
	},
	{
		"a claim that an edit came on top of spends the new credential", "rotation/claim.go",
		"if record.Fingerprint(a.id, c.record.Credential()) != c.fingerprint {",
		"if false {",
	},
	{
		"a grant begins too late for the lease", "rotation/refresh.go",
		"if time.Since(c.began) > k.cfg.Renewal.ClaimLease-k.cfg.Renewal.TokenEndpointTimeout {", "if false {",
	},
	{
		"strict is taken for its contrary", "rotation/schedule.go",
		"if policy != ReplayStrict || !living", "if policy == ReplayStrict || !living",
	},
	{
		"an unknown outcome is not noted", "rotation/settle.go",
		"Doubtful: e.Class == record.RefreshUnknown || c.doubtful && e.Class != record.RefreshPermanent,",
		"Doubtful: false,",
	},
	{
		"an earlier doubt is forgotten", "rotation/settle.go",
		"Doubtful: e.Class == record.RefreshUnknown || c.doubtful && e.Class != record.RefreshPermanent,",
		"Doubtful: e.Class == record.RefreshUnknown,",
	},
	{
		"the claim of an unknown outcome is taken back", "rotation/settle.go",
		"next.Rotation.Claim.Ambiguous = true", "next.Rotation.Claim = nil",
	},
	{
		"every refusal is for good", "record/outcome.go",
		"case o.Class == RefreshPermanent, dead == nil",
		"case o.Class != RefreshNotSent, dead == nil",
	},
	{
		"the journal is emptied before the save", "rotation/refresh.go",
		"k.commit(a, e, c.fresh(), k.journalise(a, e))",
		"j := k.journalise(a, e)\ns.unjournal(a, e.Attempt)\ns.commit(a, e, c.fresh(), j)",
	},
	{
		"the journal is not replayed at the start", "rotation/keeper.go",
		"	k.replay()\n", "",
	},
	{
		"the journal is never emptied", "rotation/commit.go",
		"j.then(func() { k.unjournal(a, e.Attempt) })", "_ = j",
	},
	{
		"a save gives up at the first error", "rotation/commit.go",
		"		if j.failed() {", "		if waits > 0 {\n			return\n		}\n		if j.failed() {",
	},
	{
		"a save gives up at a conflict", "rotation/commit.go",
		"err, version = werr, 0", "if errors.Is(werr, ErrConflict) {\nreturn\n}\nerr, version = werr, 0",
	},
	{
		"a save gives up on a deleted record", "rotation/commit.go",
		"		k.unusable(a, err, cur)\n		return cur, foundOld, err", "		k.unusable(a, err, cur)\n		return cur, foundDone, nil",
	},
	{
		"the rotated refresh token is not taken", "rotation/refresh.go",
		"if !g.RefreshToken.IsZero() && !g.RefreshToken.Equal(next.RefreshToken) {", "if false {",
	},
	{
		"the record does not tell what was spent", "rotation/refresh.go",
		"\t\trecord.TellSpent(&next, c.fingerprint)\n",
		"",
	},
	{
		"a refresh token that came with a useless access token is dropped", "rotation/rescue.go",
		"if g.RefreshToken.IsZero() {", "if true {",
	},
	{
		"a refreshed token's generation begins anew with the record", "rotation/lifecycle.go",
		"gen := max(c.record.Rotation.Generation, l.highest) + 1\n\tnext := c.fulfilled",
		"gen := c.record.Rotation.Generation + 1\n\tnext := c.fulfilled",
	},
	{
		"the schedule keeps an account's old instant", "rotation/renewer.go",
		"\t\te.at = time.Unix(0, due)\n",
		"",
	},
	{
		"tokens are renewed when they end", "rotation/schedule.go",
		"return min(lead, lifetime/2)", "return 0",
	},
	{
		"two flights of an account at once", "rotation/flight.go",
		"t, cur := l.token, l.flight",
		"t, cur := l.token, (*Flight)(nil)",
	},
	{
		"a former credential is forgotten", "rotation/retreat.go",
		"\t\tc.former = f\n",
		"\t\tc.former = nil\n",
	},
	{
		"a stop does not wait for flights", "rotation/keeper.go",
		"		k.flights.Wait()\n		k.loops.Wait()", "		k.loops.Wait()",
	},
	{
		"a forced refresh waits for a landing that never comes", "rotation/flight.go",
		"		f.force = force // it never lands: nobody is to wait for that\n", "",
	},
	{
		"what is read during a save is adopted", "rotation/lifecycle.go",
		"if l.overtaken(r) || l.saving {",
		"if l.overtaken(r) {",
	},
	{
		"a pick may join a flight that is stuck", "rotation/plan.go",
		"if l.stuck || l.saving && l.next == nil {",
		"if l.saving && l.next == nil {",
	},
	{
		"a former credential loses the claim of its refresh", "rotation/retreat.go",
		"claim != nil && claim.Fingerprint == record.Fingerprint(l.id, before.Credential())",
		"claim != nil && false",
	},
	{
		"a rotation without a new refresh token wipes another's claim out", "rotation/retreat.go",
		"claim != nil && claim.Fingerprint == record.Fingerprint(l.id, next.Credential())",
		"claim != nil && false",
	},
	{
		"an older journalled rotation is taken for the living one", "rotation/memory.go",
		"l.record.Provider == \"\" || l.memory.isSpent(mine)",
		"l.record.Provider == \"\" && mine != \"x\"",
	},
	{
		"memory's living credential is forgotten for a spent one", "rotation/retreat.go",
		"case len(l.formers(l.record)) == 0 &&",
		"case c.former == nil && l.record.Former == nil &&",
	},
	{
		"changes are not looked for", "vault/kv/watch.go",
		"if !known || was.Mark != now.Mark {", "if _ = was; !known {",
	},
}
