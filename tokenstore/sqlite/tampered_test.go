package sqlite_test

import (
	"errors"
	"math"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// Somebody with the file but without the key may write what they like: saves must go on, and no row may get a version
// that it has had.
func TestACounterThatWasTamperedWithStopsNothing(t *testing.T) {
	for name, statement := range map[string]string{
		"at its end":        "UPDATE counter SET version = 9223372036854775807",
		"just before":       "UPDATE counter SET version = 9223372036854775806",
		"negative":          "UPDATE counter SET version = -7",
		"minus one":         "UPDATE counter SET version = -1",
		"nothing":           "UPDATE counter SET version = 0",
		"one below the row": "UPDATE counter SET version = 2",
		"gone":              "DELETE FROM counter",
	} {
		for when, reopened := range map[string]bool{"while the service runs": false, "while it was down": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				cfg := configIn(t.TempDir())
				b := open(t, cfg)
				v := put(t, b, "a", "1", 0)
				v = put(t, b, "a", "2", v)
				v = put(t, b, "a", "3", v)
				had := map[tokenstore.Version]bool{1: true, 2: true, v: true}
				behind(t, cfg, statement)
				if reopened {
					b = open(t, cfg)
				}
				for _, token := range []string{"4", "5", "6"} {
					v = put(t, b, "a", token, v)
					if had[v] {
						t.Errorf("the row has version %d again", v)
					}
					had[v] = true
				}
				put(t, b, "b", "1", 0)
				if r, _, err := b.Load(t.Context(), "a"); err != nil || r.RefreshToken.Reveal() != "6" {
					t.Errorf("the last save is not there: %v", err)
				}
			})
		}
	}
}

func TestARowThatWasTamperedWithStopsNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		statement string
		listed    int // beside the sound one
	}{
		"a negative version":    {"UPDATE accounts SET version = -5 WHERE id = 'bad'", 1},
		"the highest version":   {"UPDATE accounts SET version = 9223372036854775807 WHERE id = 'bad'", 1},
		"an empty payload":      {"UPDATE accounts SET payload = x'' WHERE id = 'bad'", 1},
		"an id with an escape":  {"UPDATE accounts SET id = 'x' || char(27) || '[31m' WHERE id = 'bad'", 0},
		"an id with a newline":  {"UPDATE accounts SET id = 'x' || char(10) || 'forged' WHERE id = 'bad'", 0},
		"an id of a folder":     {"UPDATE accounts SET id = '../../x' WHERE id = 'bad'", 0},
		"an empty id":           {"UPDATE accounts SET id = '' WHERE id = 'bad'", 0},
		"a very long id":        {"UPDATE accounts SET id = printf('%.*c', 100000, 'x') WHERE id = 'bad'", 0},
		"an id that is no text": {"UPDATE accounts SET id = CAST(x'ff00' AS TEXT) WHERE id = 'bad'", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configIn(t.TempDir())
			b := open(t, cfg)
			sound := put(t, b, "sound", "1", 0)
			put(t, b, "bad", "1", 0)
			behind(t, cfg, c.statement)
			b = open(t, cfg)
			heads, err := b.List(t.Context())
			if err != nil || len(heads) != 1+c.listed {
				t.Fatalf("listed %v, %v", heads, err)
			}
			for _, h := range heads {
				_, v, err := b.Load(t.Context(), h.ID)
				var unreadable *tokenstore.RecordError
				if h.ID == "sound" && err != nil || h.ID == "bad" && !errors.As(err, &unreadable) {
					t.Errorf("%s: %v", h.ID, err)
				}
				if v != h.Version {
					t.Errorf("%s: listed with version %d, loaded with %d", h.ID, h.Version, v)
				}
				if h.ID == "bad" {
					if err := b.Delete(t.Context(), h.ID, v); err != nil {
						t.Errorf("it cannot be removed: %v", err)
					}
				}
			}
			if next := put(t, b, "sound", "2", sound); next <= sound || next >= math.MaxInt64/2 {
				t.Errorf("the next version is %d", next)
			}
		})
	}
}
