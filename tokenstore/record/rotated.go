package record

import "slices"

// Graft puts a rotation's tokens onto a record that somebody edited meanwhile.
func Graft(onto, rotated Record) Record {
	next := onto.Clone()
	next.AccessToken, next.TokenType = rotated.AccessToken, rotated.TokenType
	next.ObtainedAt, next.ExpiresAt = rotated.ObtainedAt, rotated.ExpiresAt
	next.Mend("access_token", "token_type", "obtained_at", "expires_at", "former")
	next.RefreshToken, next.Former = rotated.RefreshToken, rotated.Former.clone()
	if !next.Slipped("scope") {
		next.Scope = rotated.Scope
	}
	next.Rotation.Generation, next.Rotation.Claim = rotated.Rotation.Generation, nil
	next.Rotation.Last, next.Rotation.Dead = rotated.Rotation.Last, rotated.Rotation.Dead
	TellSpent(&next, rotated.Rotation.Spent...)
	return next
}

// spentTold is how many spent credentials a record tells of.
const spentTold = 16

// TellSpent adds a credential that is exchanged now to those that the record tells.
func TellSpent(r *Record, fingerprints ...string) {
	for _, f := range fingerprints {
		if !slices.Contains(r.Rotation.Spent, f) {
			r.Rotation.Spent = append(r.Rotation.Spent, f)
		}
	}
	r.Rotation.Spent = slices.Clone(r.Rotation.Spent[max(0, len(r.Rotation.Spent)-spentTold):])
}
