package cli

import (
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestACopyRefusesWhatWouldBeMisread(t *testing.T) {
	p := newPair(t)
	p.source.put(t, "a", living())
	taken := living()
	taken.RefreshToken = tokenstore.NewSecret(planted + "other")
	p.target.put(t, "a", taken)
	r := p.copy(t)
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "another credential")
	expect(t, "state at the source", p.source.record(t, "a").State, "")
	for line, says := range map[string]string{
		"copy -c other.yaml":                                           "say which kind of store",
		"copy --to vault":                                              "-c names the configuration of the target",
		"copy --to vault -c tokenward.yaml":                            "source and target are both",
		"copy --to sqlite -c other.yaml":                               "the store in other.yaml is vault",
		"copy --to vault -c other.yaml ../x":                           `account id "../x"`,
		"copy --to sqlite -c tokenward.yaml --from-config=./other.yml": "opening the source of ./other.yml",
	} {
		r := p.run(t, strings.Fields(line)...)
		if r.code == 0 {
			t.Errorf("%s succeeded", line)
		}
		has(t, r.err, says)
	}
	has(t, p.copy(t, "nobody").err, "account nobody does not exist")
	p.target.session.StoreAt = p.source.session.StoreAt
	has(t, p.copy(t).err, "the same store")
}

func TestACopyNoticesThatBothConfigurationsMeanOneStore(t *testing.T) {
	p := newPair(t)
	p.source.After = nil // looks at one record twice
	p.source.put(t, "a", living())
	p.target.session.Backend = p.source
	r := p.copy(t)
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "one store under two names", "active at the source as before")
	expect(t, "state", p.source.record(t, "a").State, "")
	expect(t, "label", p.source.record(t, "a").Labels[copiedTo], "")
}
