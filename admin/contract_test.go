package admin

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tokenward/tokenward/api"
)

// contract is the part of openapi.yaml that the tests look at.
type contract struct {
	Paths      map[string]map[string]operation `yaml:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any `yaml:"properties"`
			Required   []string       `yaml:"required"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

type operation struct {
	ID        string         `yaml:"operationId"`
	Responses map[string]any `yaml:"responses"`
}

func servedContract(t *testing.T) contract {
	t.Helper()
	a := send(server(t, &fakeTokens{}), "GET", "/api/admin/openapi.yaml", "")
	if a.status != 200 || a.header.Get("Content-Type") != "application/yaml" {
		t.Fatalf("got %d %v", a.status, a.header)
	}
	var c contract
	if err := yaml.Unmarshal([]byte(a.body), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheContractAndTheRoutesAreTheSame(t *testing.T) {
	var documented []string
	for path, operations := range servedContract(t).Paths {
		for method, op := range operations {
			documented = append(documented, strings.ToUpper(method)+" "+path)
			if op.ID == "" {
				t.Errorf("%s %s has no operationId", method, path)
			}
			if op.Responses["200"] == nil || op.Responses["401"] == nil {
				t.Errorf("%s %s: documented answers are %v", method, path, slices.Sorted(maps.Keys(op.Responses)))
			}
		}
	}
	slices.Sort(documented)
	routed := slices.Sorted(maps.Keys(server(t, &fakeTokens{}).api()))
	if !slices.Equal(documented, routed) {
		t.Errorf("documented %q\nrouted     %q", documented, routed)
	}
}

func TestEveryStatusOfARefreshIsDocumented(t *testing.T) {
	responses := servedContract(t).Paths[refreshPath]["post"].Responses
	for _, status := range []string{"200", "202", "400", "401", "404", "409", "413", "502", "503"} {
		if responses[status] == nil {
			t.Errorf("%s is not documented", status)
		}
	}
}

func TestTheContractsObjectsHaveTheFieldsThatAreSent(t *testing.T) {
	schemas := servedContract(t).Components.Schemas
	for name, v := range map[string]any{"Account": api.Account{}, "Result": api.Result{}, "Job": api.Job{}, "Problem": api.Problem{}} {
		sent := map[string]bool{}
		for f := range reflect.TypeOf(v).Fields() {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			sent[field] = true
		}
		documented, got := slices.Sorted(maps.Keys(schemas[name].Properties)), slices.Sorted(maps.Keys(sent))
		if !slices.Equal(documented, got) {
			t.Errorf("%s: documented %q\nsent %q", name, documented, got)
		}
	}
}

func TestAccountAndResultKeepThePromisedFields(t *testing.T) {
	fields := func(v any) string {
		var names []string
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
		return strings.Join(names, " ")
	}
	for want, v := range map[string]any{
		"accountId provider type pools tenant labels limits state routable refreshable reason expiresAt expiresInSeconds nextRefreshAt generation version fingerprint cooldowns lastRefresh failovers requests": api.Account{},
		"scope until reason":                           api.Cooldown{},
		"at trigger result class upstreamStatus error": api.LastRefresh{},
		"accountId result generationBefore generationAfter expiresAt class upstreamStatus retryable error durationMs": api.Result{},
	} {
		if got := fields(v); got != want {
			t.Errorf("%T: got %q, want %q", v, got, want)
		}
	}
}

// A client that reads the contract must be able to tell the two answers of a refresh apart.
func TestAnAnswerFitsOneOfTheObjectsOfTheContractOnly(t *testing.T) {
	s := server(t, &fakeTokens{accounts: accountsNamed("5")})
	schemas := servedContract(t).Components.Schemas
	fits := func(answer string, name string) bool {
		var fields map[string]any
		if err := json.Unmarshal([]byte(answer), &fields); err != nil {
			t.Fatal(err)
		}
		for _, r := range schemas[name].Required {
			if _, ok := fields[r]; !ok {
				return false
			}
		}
		return true
	}
	for body, want := range map[string]string{`{"action":"refresh-single","accountId":"5"}`: "Result", `{"action":"refresh-all"}`: "Job", `{"action":"x"}`: "Problem"} {
		a := send(s, "POST", refreshPath, body)
		for _, name := range []string{"Result", "Job", "Problem", "Account"} {
			if got := fits(a.body, name); got != (name == want) {
				t.Errorf("%s as a %s: %t: %s", body, name, got, a.body)
			}
		}
	}
	for name, object := range schemas {
		for _, r := range object.Required {
			if object.Properties[r] == nil {
				t.Errorf("%s requires %s and does not describe it", name, r)
			}
		}
	}
}
