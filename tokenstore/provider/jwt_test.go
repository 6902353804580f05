package provider

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// jwt is an unsigned token with the given claims.
func jwt(claims string) string {
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestAJWTTellsHowLongItLives(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, c := range []struct {
		name, token string
		want        time.Duration
	}{
		{"its end", jwt(fmt.Sprintf(`{"exp":%d}`, at(70*time.Second))), 70 * time.Second},
		{"its end as a fraction", jwt(fmt.Sprintf(`{"exp":%d.5}`, at(70*time.Second))), 70*time.Second + 500*time.Millisecond},
		{"its end in a string", jwt(fmt.Sprintf(`{"exp":"%d"}`, at(time.Hour))), time.Hour},
		{"padded", strings.Replace(jwt(fmt.Sprintf(`{"exp":%d} `, at(time.Hour))), ".c2ln", "==.c2ln", 1), time.Hour},
		{"issued before", jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, at(-50*time.Minute), at(10*time.Minute))), 10 * time.Minute},
		{"a clock that is slow", jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, at(-3*time.Hour), at(-2*time.Hour))), time.Hour},
		{"a clock that is fast", jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, at(2*time.Hour), at(3*time.Hour))), time.Hour},
		{"past", jwt(fmt.Sprintf(`{"exp":%d}`, at(-time.Hour))), 0},
		{"hardly a life", jwt(fmt.Sprintf(`{"exp":%d}`, at(time.Second))), 0},
		{"milliseconds", jwt(fmt.Sprintf(`{"exp":%d}`, at(time.Hour)*1000)), 0},
		{"for ever", jwt(`{"exp":1e999}`), 0},
		{"negative", jwt(`{"exp":-1}`), 0},
		{"no number", jwt(`{"exp":"NaN"}`), 0},
		{"an object", jwt(`{"exp":{"a":1}}`), 0},
		{"no end", jwt(`{"iat":1}`), 0},
		{"no object", jwt(`[1,2]`), 0},
		{"opaque", "sk-ant-oat-1.2-x", 0},
		{"dots", "..", 0},
		{"no base64", "a.%%%.c", 0},
		{"two parts", "e30.e30", 0},
		{"deep", jwt(strings.Repeat("[", 11000)), 0},
		{"huge", jwt(`{"exp":1,"x":"` + strings.Repeat("a", 1<<20) + `"}`), 0},
		{"empty", "", 0},
	} {
		if got := jwtLife(c.token, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheEndOfAJWTIsAHintAndNotALifetime(t *testing.T) {
	token := jwt(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	g, err := parseAnswer(request{}, 200, nil, []byte(`{"access_token":"`+token+`","id_token":"`+token+`"}`))
	if err != nil || g.ExpiresIn != 0 || g.Hint < 59*time.Minute || g.Hint > time.Hour {
		t.Errorf("expires in %v, hint %v, %v", g.ExpiresIn, g.Hint, err)
	}
	d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: "http://127.0.0.1:1"})
	hint := d.(tokenstore.Estimator).Lifespan(tokenstore.Record{
		Kind: tokenstore.KindOAuthRefresh, AccessToken: tokenstore.NewSecret(token),
	})
	if hint < 59*time.Minute || hint > time.Hour {
		t.Errorf("hint %v", hint)
	}
}

func FuzzJWT(f *testing.F) {
	f.Add(jwt(`{"exp":1800000000,"iat":1799990000}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if life := jwtLife(token, time.Unix(1_800_000_000, 0)); life != 0 && (life < shortestHint || life > longestHint) {
			t.Errorf("%v", life)
		}
	})
}
