package integration

import (
	"os"
	"strings"
	"testing"
)

// TestTokensGoInTheClearOnlyWhereSomebodySaysSo: off this machine.
func TestTokensGoInTheClearOnlyWhereSomebodySaysSo(t *testing.T) {
	g, err := Prepare(Options{Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Provider.Close() })
	yaml := string(g.yaml(t))
	address := g.Provider.URL()
	for url, refused := range map[string]string{
		"http://llm.example":                          "in the clear",
		"http://192.0.2.7:8000":                       "in the clear",
		"http://169.254.169.254":                      "no provider",
		"http://169.254.169.254\", plaintext: \"true": "no provider",
		"http://llm.example\", plaintext: \"true":     "",
		"https://llm.example":                         "",
		"http://localhost:8000":                       "",
	} {
		text := strings.Replace(yaml, "{ url: \""+address, "{ url: \""+url, 1)
		if err := os.WriteFile(g.config(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := g.CLI("", "check")
		switch {
		case refused == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case refused != "" && (err == nil || !strings.Contains(out+err.Error(), refused)):
			t.Errorf("%s: %v %s", url, err, out)
		}
	}
}
