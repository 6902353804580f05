package vault_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
	"github.com/tokenward/tokenward/tokenstore/vault"
)

// This file holds one store twice, in a real Vault and in the model of tokenstoretest, and tells in words what each of
// them answers. model_test.go does the same to both and compares the words.

// keeps is how many versions both keep: few, so that short histories meet the end of them.
const keeps = 4

// twinIDs are the accounts of every comparison; the last is not edited, so that there is a neighbour to ask.
var twinIDs = []tokenstore.AccountID{"a", "b", "calm"}

// operator is what people do to an engine.
type operator interface {
	Put(id tokenstore.AccountID, doc map[string]any, cas ...tokenstore.Version) (tokenstore.Version, error)
	Patch(id tokenstore.AccountID, keys map[string]any, cas ...tokenstore.Version) (tokenstore.Version, error)
	Rollback(id tokenstore.AccountID, to tokenstore.Version) (tokenstore.Version, error)
	SoftDelete(id tokenstore.AccountID) error
	Undelete(id tokenstore.AccountID, versions ...tokenstore.Version) error
	Destroy(id tokenstore.AccountID, versions ...tokenstore.Version) error
	DestroyMetadata(id tokenstore.AccountID) error
	DeleteVersionsAfter(id tokenstore.AccountID, after time.Duration) error
	Deny(ids ...tokenstore.AccountID)
	Allow(ids ...tokenstore.AccountID)
	Versions(id tokenstore.AccountID) []tokenstoretest.KVVersion
}

// twin is one of the two.
type twin struct {
	operator
	service tokenstore.Backend // with the policy of deploy/vault/service.hcl
	tool    tokenstore.Backend // with that of operator.hcl
}

// newTwins returns the real one and the model, both with the same calm account.
func newTwins(t *testing.T, s *realVault) (inVault, inMemory twin) {
	t.Helper()
	engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{MaxVersions: keeps})
	inMemory = twin{
		engine, engine.Client(tokenstoretest.ClientConfig{Poll: time.Millisecond}),
		engine.Client(tokenstoretest.ClientConfig{Poll: time.Millisecond, Operator: true}),
	}
	inVault = s.fresh(t)
	for _, side := range []twin{inVault, inMemory} {
		if _, err := side.Put("calm", map[string]any{"provider": "p", "type": "oauth_refresh"}); err != nil {
			t.Fatal(err)
		}
		side.seen("calm")
	}
	return inVault, inMemory
}

// seen tells what both clients find, and which versions are kept of id.
func (w twin) seen(id tokenstore.AccountID) string {
	lines := []string{w.answers()}
	for _, v := range w.Versions(id) {
		if v.Gone {
			v.Data = nil // Vault does not show it
		}
		lines = append(lines, fmt.Sprintf("version %d: gone %t, destroyed %t, has an end %t: %s",
			v.Number, v.Gone, v.Destroyed, !v.Ends.IsZero(), v.Data))
	}
	return strings.Join(lines, "\n")
}

// answers tells what a look for changes reports since the last call, the listing, and each record.
func (w twin) answers() string {
	var lines []string
	for _, c := range []client{service, tool} {
		b := c.of(w)
		lines = append(lines, c.name+" hears of: "+changed(b))
		heads, err := b.List(context.Background())
		lines = append(lines, c.name+" lists: "+ids(heads)+" "+inWords(err))
		for _, id := range twinIDs {
			lines = append(lines, c.name+" loads "+string(id)+": "+loaded(b, id))
		}
	}
	return strings.Join(lines, "\n")
}

// client is one of a twin's two.
type client struct {
	name string
	of   func(twin) tokenstore.Backend
}

var (
	service = client{"service", func(w twin) tokenstore.Backend { return w.service }}
	tool    = client{"tool", func(w twin) tokenstore.Backend { return w.tool }}
)

// changed looks for changes once and names the accounts that were reported.
func changed(b tokenstore.Backend) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var reports []string
	var result error
	report := func(id tokenstore.AccountID) { reports = append(reports, string(id)) }
	_ = b.Watch(ctx, report, func(err error) { result = err; cancel() })
	slices.Sort(reports)
	return strings.Join(reports, " ") + " " + inWords(result)
}

func loaded(b tokenstore.Backend, id tokenstore.AccountID) string {
	r, v, err := b.Load(context.Background(), id)
	data, encErr := tokenstore.EncodeRecord(r)
	if encErr != nil {
		return encErr.Error()
	}
	var slips []string
	for _, s := range r.Slips {
		slips = append(slips, s.Key+" "+string(s.Raw))
	}
	return fmt.Sprintf("version %d, %s, has an end %t, slips %q: %s", v, inWords(err), !r.Ends.IsZero(), slips, data)
}

var lacks = regexp.MustCompile(`lacks "(\w+)"`)

// inWords is what an error means to the domain, and which capability it misses.
func inWords(err error) string {
	if err == nil {
		return "fine"
	}
	words := "failed"
	for name, kind := range map[string]error{
		"not found": tokenstore.ErrNotFound, "deleted": tokenstore.ErrDeleted, "conflict": tokenstore.ErrConflict,
		"withheld": tokenstore.ErrWithheld, "unreadable": tokenstore.ErrUnreadable,
	} {
		if errors.Is(err, kind) {
			words = name
		}
	}
	if m := lacks.FindStringSubmatch(err.Error()); m != nil {
		words += ", no " + m[1]
	}
	return words
}

// realVault is a mount of a real Vault.
type realVault struct {
	fixture
	t      *testing.T
	denied map[tokenstore.AccountID]bool
	made   int
}

func newReal(t *testing.T, s *vaultserver.Server) *realVault {
	t.Helper()
	r := &realVault{fixture: prepare(t, s), t: t}
	write(t, r.Server, r.cfg.Mount+"/config", map[string]any{"max_versions": keeps})
	return r
}

// fresh returns an empty store: another prefix in the same mount.
func (r *realVault) fresh(t *testing.T) twin {
	t.Helper()
	r.made++
	r.cfg.Prefix, r.denied = fmt.Sprintf("accounts%d", r.made), map[tokenstore.AccountID]bool{}
	r.Allow() // writes the policies
	connect := func(policy string) tokenstore.Backend {
		cfg := r.cfg
		cfg.Poll = 5 * time.Millisecond
		token := newToken(t, r.Server, &api.TokenCreateRequest{Policies: []string{policy}})
		cfg.Token = tokenstore.NewSecret(token)
		b, err := vault.Open(t.Context(), cfg, zap.NewNop())
		must(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	return twin{r, connect("service-" + r.cfg.Mount), connect("tool-" + r.cfg.Mount)}
}

func (r *realVault) data(id tokenstore.AccountID) string { return r.path("data", id) }

func (r *realVault) version(secret *api.Secret, err error) (tokenstore.Version, error) {
	switch {
	case err != nil && strings.Contains(err.Error(), "check-and-set parameter did not match"):
		return 0, tokenstore.ErrConflict
	case err != nil:
		return 0, err
	case secret == nil:
		return 0, errors.New("no answer")
	}
	n, err := secret.Data["version"].(json.Number).Int64()
	return tokenstore.Version(n), err
}

func payload(doc map[string]any, cas []tokenstore.Version) map[string]any {
	options := map[string]any{}
	if len(cas) > 0 {
		options["cas"] = cas[0]
	}
	return map[string]any{"data": doc, "options": options}
}

func (r *realVault) Put(
	id tokenstore.AccountID, doc map[string]any, cas ...tokenstore.Version,
) (tokenstore.Version, error) {
	return r.version(r.Root.Logical().WriteWithContext(r.t.Context(), r.data(id), payload(doc, cas)))
}

func (r *realVault) Patch(
	id tokenstore.AccountID, keys map[string]any, cas ...tokenstore.Version,
) (tokenstore.Version, error) {
	return r.version(r.Root.Logical().JSONMergePatch(r.t.Context(), r.data(id), payload(keys, cas)))
}

// Rollback runs the command: what it refuses is its own, not Vault's.
func (r *realVault) Rollback(id tokenstore.AccountID, to tokenstore.Version) (tokenstore.Version, error) {
	out, err := r.CLI(r.t.Context(), "kv", "rollback", "-format=json",
		fmt.Sprintf("-version=%d", to), "-mount="+r.cfg.Mount, r.cfg.Prefix+"/"+string(id))
	var answer struct {
		Data struct {
			Version tokenstore.Version `json:"version"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &answer)
	}
	return answer.Data.Version, err
}

func (r *realVault) SoftDelete(id tokenstore.AccountID) error {
	_, err := r.Root.Logical().DeleteWithContext(r.t.Context(), r.data(id))
	return err
}

func (r *realVault) Undelete(id tokenstore.AccountID, versions ...tokenstore.Version) error {
	return r.onVersions("undelete", id, versions)
}

func (r *realVault) Destroy(id tokenstore.AccountID, versions ...tokenstore.Version) error {
	return r.onVersions("destroy", id, versions)
}

func (r *realVault) onVersions(verb string, id tokenstore.AccountID, versions []tokenstore.Version) error {
	_, err := r.Root.Logical().WriteWithContext(r.t.Context(), r.path(verb, id), map[string]any{"versions": versions})
	return err
}

func (r *realVault) DestroyMetadata(id tokenstore.AccountID) error {
	_, err := r.Root.Logical().DeleteWithContext(r.t.Context(), r.path("metadata", id))
	return err
}

func (r *realVault) DeleteVersionsAfter(id tokenstore.AccountID, after time.Duration) error {
	settings := map[string]any{"delete_version_after": after.String()}
	_, err := r.Root.Logical().WriteWithContext(r.t.Context(), r.path("metadata", id), settings)
	return err
}

func (r *realVault) Deny(ids ...tokenstore.AccountID) { r.deny(true, ids) }

func (r *realVault) Allow(ids ...tokenstore.AccountID) { r.deny(false, ids) }

func (r *realVault) deny(denied bool, ids []tokenstore.AccountID) {
	for _, id := range ids {
		r.denied[id] = denied
	}
	rules := ""
	for id, is := range r.denied {
		if is {
			const rule = "path %q { capabilities = [\"deny\"] }\n"
			rules += fmt.Sprintf(rule+rule, r.data(id), r.path("metadata", id))
		}
	}
	for name, policy := range map[string]string{
		"service-": vault.ServicePolicy(r.cfg.Mount, r.cfg.Prefix), "tool-": vault.OperatorPolicy(r.cfg.Mount, r.cfg.Prefix),
	} {
		must(r.t, r.Root.Sys().PutPolicyWithContext(r.t.Context(), name+r.cfg.Mount, policy+rules))
	}
}

// Versions reads the metadata and then each version's data.
func (r *realVault) Versions(id tokenstore.AccountID) []tokenstoretest.KVVersion {
	var metadata struct {
		Data struct {
			Versions map[tokenstore.Version]struct {
				Ends      string `json:"deletion_time"`
				Destroyed bool   `json:"destroyed"`
			} `json:"versions"`
		} `json:"data"`
	}
	r.read(r.path("metadata", id), nil, &metadata)
	var versions []tokenstoretest.KVVersion
	for n, m := range metadata.Data.Versions {
		v := tokenstoretest.KVVersion{Number: n, Destroyed: m.Destroyed}
		v.Ends, _ = time.Parse(time.RFC3339Nano, m.Ends) // zero for ""
		v.Gone = m.Destroyed || !v.Ends.IsZero() && v.Ends.Before(time.Now())
		var secret struct {
			Data struct {
				Data json.RawMessage `json:"data"`
			} `json:"data"`
		}
		r.read(r.data(id), map[string][]string{"version": {strconv.FormatUint(uint64(n), 10)}}, &secret)
		v.Data = secret.Data.Data
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(a, b tokenstoretest.KVVersion) int { return cmp.Compare(a.Number, b.Number) })
	return versions
}

func (r *realVault) read(path string, query map[string][]string, into any) {
	resp, err := r.Root.Logical().ReadRawWithDataWithContext(r.t.Context(), path, query)
	if resp == nil {
		must(r.t, err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	must(r.t, err)
	must(r.t, json.Unmarshal(body.Bytes(), into))
}
