package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsPrintedLoadsToTheSame(t *testing.T) {
	for name, text := range map[string]string{"smallest": smallest, "whole": strings.Replace(whole, `{ x-one: "1" }`,
		"{}", 1), "starter": string(Starter())} {
		t.Run(name, func(t *testing.T) {
			want := mustLoad(t, text)
			printed, err := Print(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, mustLoad(t, string(printed)), sameMeaning); diff != "" {
				t.Errorf("printed:\n%s\n(-want +got):\n%s", printed, diff)
			}
			again, err := Print(want)
			if err != nil || !bytes.Equal(printed, again) {
				t.Errorf("printing twice differs (%v):\n%s\n%s", err, printed, again)
			}
		})
	}
}

// What check --print prints is a valid configuration, secrets hidden, and prints the same again.
func TestWhatIsPrintedIsAValidConfigurationOfItsGoldenFile(t *testing.T) {
	secrets := strings.NewReplacer(`x-one: "1"`, "x-one: "+secret, "http://proxy", "http://me:"+secret+"@proxy")
	for name, text := range map[string]string{"file": secrets.Replace(whole), "vault": vaults()[1]} {
		got := printedOf(t, text)
		if strings.Contains(got, secret) {
			t.Errorf("a secret is printed:\n%s", got)
		}
		matchesGolden(t, "testdata/printed_"+name+".yaml", got)
		if again := printedOf(t, got); again != got {
			t.Errorf("%s: what is printed is printed otherwise:\n%s", name, cmp.Diff(got, again))
		}
	}
}

// printedOf is what a file in /folder prints.
func printedOf(t *testing.T, text string) string {
	t.Helper()
	c := mustLoadAt(t, text)
	c.resolvePaths("/folder")
	printed, err := Print(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}

func TestHeaderValuesAndTheUserOfAProxyAreNotPrinted(t *testing.T) {
	printed, err := Print(mustLoad(t, smallest+`
providers:
  one: { driver: anthropic, headers: { x-key: sk-very-secret }, proxy: "http://me:sk-very-secret@proxy.example:3128" }
  two: { driver: anthropic, proxy: "socks5://me:sk-very-secret@proxy.example:3128" }
`))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(printed, []byte(secret)) || bytes.Contains(printed, []byte("me:")) {
		t.Errorf("a secret is printed:\n%s", printed)
	}
	for _, kept := range []string{"x-key", "http://hidden@proxy.example:3128"} {
		if !bytes.Contains(printed, []byte(kept)) {
			t.Errorf("%s is missing:\n%s", kept, printed)
		}
	}
}

func TestTheStarterFileMeansTheSameAsTheSmallestFile(t *testing.T) {
	a, b := mustLoad(t, string(Starter())), mustLoad(t, smallest)
	for _, c := range []*Config{a, b} { // each lives in a folder of its own
		c.ExtProc.Listen, c.Admin.TokenFile, c.Store = "", "", Store{}
	}
	if diff := cmp.Diff(b, a, sameMeaning); diff != "" {
		t.Errorf("(-smallest +starter):\n%s", diff)
	}
}

// The examples in the starter's comments are what people uncomment first.
func TestTheStarterFileWithItsExamplesUncommentedLoads(t *testing.T) {
	before, examples, found := strings.Cut(string(Starter()), "# Any other OAuth provider:\n")
	if !found {
		t.Fatal("the starter file has lost its examples")
	}
	c := mustLoad(t, before+strings.ReplaceAll(examples, "# ", ""))
	if p := c.Providers[c.Pools[c.Upstreams["mine"].Pool].Provider]; p.Driver != "oauth2" || p.TokenURL == "" {
		t.Errorf("upstream mine leads to %+v", p)
	}
}
