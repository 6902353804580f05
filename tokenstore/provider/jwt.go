package provider

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

const (
	longestClaims = 16 << 10         // bytes of a token that are looked at
	shortestHint  = 10 * time.Second // what is shorter, or past, tells of a wrong clock rather than of a token's end
	longestHint   = 100 * 365 * 24 * time.Hour
)

// jwtLife is how long a JWT lives from an instant on (RFC 7519 sections 4.1.4 and 4.1.6); 0: it is none, or says
// nothing of use. Its signature is not checked, so it is a hint and no more.
func jwtLife(token string, from time.Time) time.Duration {
	_, rest, signed := strings.Cut(token, ".")
	payload, _, whole := strings.Cut(rest, ".")
	if !signed || !whole || len(payload) > longestClaims {
		return 0
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	var claims struct {
		Exp json.RawMessage `json:"exp"`
		Iat json.RawMessage `json:"iat"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return 0
	}
	exp, ok := unixTime(claims.Exp)
	if !ok {
		return 0
	}
	life := exp.Sub(from)
	if iat, ok := unixTime(claims.Iat); ok && (life < shortestHint || exp.Sub(iat) < life) {
		life = exp.Sub(iat) // clocks differ
	}
	if life < shortestHint || life > longestHint {
		return 0
	}
	return life
}

// unixTime reads a NumericDate: seconds, perhaps with a fraction, perhaps in a string.
func unixTime(raw json.RawMessage) (time.Time, bool) {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || !(f > 0) || f > 1e10 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)), true
}
