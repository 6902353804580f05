package record_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// sameRecord compares records with their secrets; Secret's Equal is found by cmp.
func sameRecord(t *testing.T, want, got record.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
}

func fullRecord() record.Record {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	return record.Record{
		Provider: "anthropic", Pools: []string{"claude", "spare"}, Tenant: "acme", Labels: map[string]string{"team": "a", "env": "b"},
		State: record.Paused, Kind: record.KindOAuthRefresh, ClientID: "id-1",
		ClientSecret: record.NewSecret("cs-1"), RefreshToken: record.NewSecret("rt-1"), APIKey: record.NewSecret("ak-1"), Scope: "a b",
		AccessToken: record.NewSecret("at-1"), TokenType: "Bearer", ExpiresAt: at.Add(time.Hour), ObtainedAt: at,
		Rotation: record.Rotation{
			Incarnation: "i", Generation: 7, WriteID: "w", Writer: "host",
			Claim: &record.Claim{AttemptID: "a", Holder: "h", Fingerprint: "f", StartedAt: at, Ambiguous: true},
			Last:  &record.Outcome{At: at, Trigger: "schedule", Result: "failed", Class: record.RefreshTransient, Status: 503, Error: "e", Fingerprint: "f"},
		},
		Former: &record.Former{
			Kind: record.KindClaudeCode, ClientID: "id-0", ClientSecret: record.NewSecret("cs-0"), RefreshToken: record.NewSecret("rt-0"), Scope: "c", Since: at,
			Claim: &record.Claim{AttemptID: "b", Holder: "h", StartedAt: at},
		},
		Limits: record.Limits{RPM: 60, Concurrency: 4, Extra: map[string]json.RawMessage{"tpm": json.RawMessage(`9`)}},
		Extra:  map[string]json.RawMessage{"private_key": json.RawMessage(`"pem"`)},
	}
}

const fullRecordStored = `{"access_token":"at-1","api_key":"ak-1","client_id":"id-1","client_secret":"cs-1","expires_at":"2026-03-04T06:06:07.891Z",` +
	`"former":{"type":"CLAUDE_CODE","client_id":"id-0","client_secret":"cs-0","refresh_token":"rt-0","scope":"c","since":"2026-03-04T05:06:07.891Z",` +
	`"claim":{"attempt_id":"b","holder":"h","started_at":"2026-03-04T05:06:07.891Z"}},` +
	`"labels":{"env":"b","team":"a"},"limits":{"concurrency":4,"rpm":60,"tpm":9},"obtained_at":"2026-03-04T05:06:07.891Z","pools":["claude","spare"],"private_key":"pem",` +
	`"provider":"anthropic","refresh_token":"rt-1","rotation":{"incarnation":"i","generation":7,"write_id":"w","writer":"host",` +
	`"claim":{"attempt_id":"a","holder":"h","fingerprint":"f","started_at":"2026-03-04T05:06:07.891Z","ambiguous":true},` +
	`"last":{"at":"2026-03-04T05:06:07.891Z","trigger":"schedule","result":"failed","class":"refused_transient","upstream_status":503,"error":"e","fingerprint":"f"}},` +
	`"scope":"a b","state":"paused","tenant":"acme","token_type":"Bearer","type":"oauth_refresh"}`

func TestARecordIsStoredAsOneFlatObjectWithSortedKeys(t *testing.T) {
	got, err := record.Encode(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecordStored, string(got)); diff != "" {
		t.Errorf("stored form differs (-want +got):\n%s", diff)
	}
}

func TestAStoredRecordIsReadBackUnchanged(t *testing.T) {
	got, err := record.Decode([]byte(fullRecordStored))
	if err != nil {
		t.Fatal(err)
	}
	sameRecord(t, fullRecord(), got)
}

func TestAnAlmostEmptyRecordStoresNothingItDoesNotHave(t *testing.T) {
	got, err := record.Encode(record.Record{Provider: "p", Kind: record.KindAPIKey})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"provider":"p","type":"api_key"}`; string(got) != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestTimesAreStoredInUTC(t *testing.T) {
	zoned := record.Record{Provider: "p", Kind: "k", ExpiresAt: time.Date(2026, 1, 1, 3, 0, 0, 0, time.FixedZone("", 3*3600))}
	got, err := record.Encode(zoned)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"expires_at":"2026-01-01T00:00:00Z","provider":"p","type":"k"}`; string(got) != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestWhatOperatorsWriteByHandIsReadLeniently(t *testing.T) {
	base := record.Record{Provider: "p", Kind: "k"}
	with := func(change func(*record.Record)) record.Record {
		r := base.Clone()
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		json string
		want record.Record
	}{
		"pools as a list":                   {`"pools":["a","b"]`, with(func(r *record.Record) { r.Pools = []string{"a", "b"} })},
		"pools separated by commas":         {`"pools":"a, b ,c"`, with(func(r *record.Record) { r.Pools = []string{"a", "b", "c"} })},
		"pools with empty entries":          {`"pools":",a,,"`, with(func(r *record.Record) { r.Pools = []string{"a"} })},
		"one pool":                          {`"pools":"a"`, with(func(r *record.Record) { r.Pools = []string{"a"} })},
		"pools as JSON text":                {`"pools":"[\"a\",\"b,c\"]"`, with(func(r *record.Record) { r.Pools = []string{"a", "b,c"} })},
		"pools empty":                       {`"pools":""`, base},
		"pools null":                        {`"pools":null`, base},
		"an empty text":                     {`"tenant":"","refresh_token":""`, base},
		"a null secret":                     {`"access_token":null`, base},
		"a secret with its file's line end": {`"refresh_token":"rt\n"`, with(func(r *record.Record) { r.RefreshToken = record.NewSecret("rt") })},
		"an empty time":                     {`"expires_at":""`, base},
		"a null time":                       {`"expires_at":null`, base},
		"a time with an offset":             {`"expires_at":"2026-01-01T02:00:00+02:00"`, with(func(r *record.Record) { r.ExpiresAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) })},
		"labels":                            {`"labels":{"a":"b"}`, with(func(r *record.Record) { r.Labels = map[string]string{"a": "b"} })},
		"labels as JSON text":               {`"labels":"{\"a\":\"b\"}"`, with(func(r *record.Record) { r.Labels = map[string]string{"a": "b"} })},
		"rotation as JSON text":             {`"rotation":"{\"generation\":3}"`, with(func(r *record.Record) { r.Rotation.Generation = 3 })},
		"labels emptied with vault kv":      {`"labels":""`, base},
		"rotation emptied with vault kv":    {`"rotation":""`, base},
		"rotation null":                     {`"rotation":null`, base},
		"state empty":                       {`"state":""`, base},
		"state active":                      {`"state":"active"`, with(func(r *record.Record) { r.State = record.Active })},
		"limits":                            {`"limits":{"rpm":60,"concurrency":4}`, with(func(r *record.Record) { r.Limits = record.Limits{RPM: 60, Concurrency: 4} })},
		"limits as JSON text":               {`"limits":"{\"rpm\":60}"`, with(func(r *record.Record) { r.Limits = record.Limits{RPM: 60} })},
		"limits emptied with vault kv":      {`"limits":""`, base},
		"limits null":                       {`"limits":null`, base},
		"limits with nothing in them":       {`"limits":{}`, base},
		"limits that are zero and null":     {`"limits":{"rpm":0,"concurrency":null}`, base},
		"limits emptied one by one":         {`"limits":{"rpm":"","concurrency":4}`, with(func(r *record.Record) { r.Limits = record.Limits{Concurrency: 4} })},
		"a key of the future in limits":     {`"limits":"{\"tpm\" : 9}"`, with(func(r *record.Record) { r.Limits.Extra = map[string]json.RawMessage{"tpm": json.RawMessage(`9`)} })},
		"a key of the future": {`"quota": {"rpm" : 1}`, with(func(r *record.Record) {
			r.Extra = map[string]json.RawMessage{"quota": json.RawMessage(`{"rpm" : 1}`)}
		})},
		"a key in other letters": {`"Tenant":"x"`, with(func(r *record.Record) { r.Extra = map[string]json.RawMessage{"Tenant": json.RawMessage(`"x"`)} })},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := record.Decode([]byte(`{"provider":"p","type":"k",` + c.json + `}`))
			if err != nil {
				t.Fatal(err)
			}
			sameRecord(t, c.want, got)
		})
	}
}

func TestARecordThatNobodyCanUseIsRefusedByKeyAndRuleWithoutItsValue(t *testing.T) {
	const hidden = "sk-hidden"
	for name, c := range map[string]struct{ json, key string }{
		"no JSON":                 {hidden, ""},
		"nothing":                 {``, ""},
		"a list":                  {`["` + hidden + `"]`, ""},
		"cut short":               {`{"provider":"p","type":"k","api_key":"` + hidden, ""},
		"two objects":             {`{"provider":"p","type":"k"} {"api_key":"` + hidden + `"}`, ""},
		"a brace too many":        {`{"provider":"p","type":"k"}}`, ""},
		"a bracket too many":      {`{"provider":"p","type":"k"}]`, ""},
		"null":                    {`null`, ""},
		"no provider":             {`{"type":"k","api_key":"` + hidden + `"}`, "provider"},
		"provider a number":       {`{"provider":4711,"type":"k"}`, "provider"},
		"no type":                 {`{"provider":"p","api_key":"` + hidden + `"}`, "type"},
		"refresh token an object": {`{"provider":"p","type":"k","refresh_token":{"v":"` + hidden + `"}}`, "refresh_token"},
		"a newer format":          {`{"provider":"p","type":"k","rotation":{"format":4711}}`, "rotation.format"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := record.Decode([]byte(c.json))
			var wrong *record.Error
			if !errors.As(err, &wrong) || !errors.Is(err, record.ErrUnreadable) {
				t.Fatalf("got %v, want a *Error that matches ErrUnreadable", err)
			}
			if wrong.Key != c.key || wrong.Rule == "" {
				t.Errorf("key %q, rule %q; want key %q and a rule", wrong.Key, wrong.Rule, c.key)
			}
			if strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "4711") {
				t.Errorf("the error shows the value: %v", err)
			}
		})
	}
}

func TestASlipIsReportedByKeyAndRuleWithoutItsValueAndTheRestIsRead(t *testing.T) {
	const hidden = "sk-hidden"
	for name, c := range map[string]struct{ json, key string }{
		"state unknown":             {`{"provider":"p","type":"k","state":"` + hidden + `"}`, "state"},
		"access token a number":     {`{"provider":"p","type":"k","access_token":4711}`, "access_token"},
		"pools of numbers":          {`{"provider":"p","type":"k","pools":[4711]}`, "pools"},
		"labels of numbers":         {`{"provider":"p","type":"k","labels":{"a":4711}}`, "labels"},
		"labels a text":             {`{"provider":"p","type":"k","labels":"` + hidden + `"}`, "labels"},
		"labels as text of numbers": {`{"provider":"p","type":"k","labels":"{\"a\":4711}"}`, "labels"},
		"limits a number":           {`{"provider":"p","type":"k","limits":4711}`, "limits"},
		"limits a list":             {`{"provider":"p","type":"k","limits":"[4711]"}`, "limits"},
		"limits in words":           {`{"provider":"p","type":"k","limits":"rpm=4711"}`, "limits"},
		"a limit below zero":        {`{"provider":"p","type":"k","limits":{"rpm":-4711}}`, "limits.rpm"},
		"a limit with a fraction":   {`{"provider":"p","type":"k","limits":"{\"concurrency\":4711.5}"}`, "limits.concurrency"},
		"a limit as a text":         {`{"provider":"p","type":"k","limits":{"rpm":"4711"}}`, "limits.rpm"},
		"a limit beyond measure":    {`{"provider":"p","type":"k","limits":{"concurrency":4711471147114711471147}}`, "limits.concurrency"},
		"a limit above its most":    {`{"provider":"p","type":"k","limits":{"rpm":100001}}`, "limits.rpm"},
		"a time in words":           {`{"provider":"p","type":"k","expires_at":"` + hidden + `"}`, "expires_at"},
		"a time as a number":        {`{"provider":"p","type":"k","obtained_at":4711}`, "obtained_at"},
		"a time past year 9999":     {`{"provider":"p","type":"k","expires_at":"9999-12-31T23:59:59-01:00"}`, "expires_at"},
		"a time before year 0":      {`{"provider":"p","type":"k","expires_at":"0000-01-01T00:00:00+01:00"}`, "expires_at"},
		"a claim without a holder":  {`{"provider":"p","type":"k","rotation":{"claim":{"attempt_id":"` + hidden + `"}}}`, "rotation.claim"},
		"a claim without an id":     {`{"provider":"p","type":"k","rotation":{"claim":{"holder":"` + hidden + `"}}}`, "rotation.claim"},
		"two claims":                {`{"provider":"p","type":"k","rotation":{"claim":[{"attempt_id":"a","holder":"h"},{"attempt_id":"b","holder":"h"}]}}`, "rotation.claim"},
		"rotation a text":           {`{"provider":"p","type":"k","rotation":"` + hidden + `"}`, "rotation"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := record.Decode([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Slips) != 1 || r.Slips[0].Key != c.key || r.Provider != "p" || r.Kind != "k" {
				t.Fatalf("slips %+v; want one in %s", r.Slips, c.key)
			}
			if told := r.Slips[0].Remark(); strings.Contains(told, hidden) || strings.Contains(told, "4711") || !strings.Contains(told, c.key) {
				t.Errorf("told: %s", told)
			}
		})
	}
}

func TestUnknownKeysSurviveARewriteAndNeverReplaceKnownOnes(t *testing.T) {
	r := record.Record{Provider: "p", Kind: "k", Extra: map[string]json.RawMessage{
		"future": json.RawMessage(`[1, {"b":2,"a":1.50}]`), "provider": json.RawMessage(`"other"`),
	}}
	data, err := record.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"future":[1,{"b":2,"a":1.50}],"provider":"p","type":"k"}`; string(data) != want {
		t.Errorf("stored %s, want %s", data, want)
	}
}

func FuzzReadingARecord(f *testing.F) {
	f.Add([]byte(fullRecordStored))
	for _, s := range []string{
		``, `null`, `{}`, `{"provider":"p","type":"k"}}`, `{"provider":"p","type":"k","pools":"a,b","x":"<\u2028"}`,
		`{"provider":"p","type":"k","expires_at":"9999-12-31T23:59:59-23:59","rotation":{"claim":{}}}`, "{\"provider\":\"p\",\"type\":\"k\",\"\xff\":\"\xff\"}",
		`{"former":[]}`, `{"provider":1,"labels":"team-red","limits":{"rpm":"many","x":1},"state":"pausd","tenant":[],"rotation":{"claim":{"holder":"h"},"spent":3}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := record.Decode(data)
		if err != nil {
			if _, ok := errors.AsType[*record.Error](err); !ok {
				t.Fatalf("%T is not a *Error", err)
			}
			if len(r.Slips) == 0 {
				return
			}
		}
		once, werr := record.Encode(r)
		if werr != nil {
			t.Fatalf("what was read cannot be stored: %v", werr)
		}
		// A former credential that cannot be read is the service's own slip: its next write puts it right.
		r.Slips = slices.DeleteFunc(r.Slips, func(s record.Slip) bool { return s.Key == "former" })
		again, rerr := record.Decode(once)
		if (rerr == nil) != (err == nil) || len(again.Slips) != len(r.Slips) {
			t.Fatalf("what was stored is read as another: %v, %v and %v, %v\n%s", err, r.Slips, rerr, again.Slips, once)
		}
		twice, err := record.Encode(again)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("a rewrite changed the bytes (%v):\n%s\n%s", err, once, twice)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(r.Extra)), slices.Sorted(maps.Keys(again.Extra))) {
			t.Fatal("a rewrite lost unknown keys")
		}
	})
}
