package main

import (
	"io"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/cli"
)

func TestAMisspeltFlagOrCommandIsAnsweredWithTheRightOne(t *testing.T) {
	for line, want := range map[string]string{
		"statsu":                                `tokenward has no command "statsu": did you mean tokenward status?`,
		"acounts list":                          `tokenward has no command "acounts": did you mean tokenward accounts?`,
		"account":                               `did you mean tokenward accounts?`,
		"Serve":                                 `did you mean tokenward serve?`,
		"list":                                  `tokenward has no command "list": did you mean tokenward accounts list?`,
		"pause x":                               `did you mean tokenward accounts pause?`,
		"frobnicate":                            `tokenward has no command "frobnicate": see tokenward --help`,
		"accounts lst":                          `tokenward accounts has no command "lst": did you mean tokenward accounts list?`,
		"accounts delete x":                     `see tokenward accounts --help`,
		"accounts add x --refreshtoken y":       `did you mean --refresh-token-file?`,
		"accounts add x --poool y":              `unknown flag: --poool: did you mean --pool?`,
		"accounts add x --refresh_token_file y": `did you mean --refresh-token-file?`,
		"serve --confg x":                       `did you mean --config?`,
		"check --onlin":                         `did you mean --online?`,
		"run --envoi x":                         `did you mean --envoy?`,
		"status --wacth":                        `did you mean --watch?`,
		"status --zzzzzz":                       `unknown flag: --zzzzzz: see tokenward status --help`,
		"status -z":                             `see tokenward status --help`,
		"accounts show":                         `accepts 1 arg(s), received 0: see tokenward accounts show --help`,
		"check nonsense":                        `see tokenward check --help`,
	} {
		c := root()
		c.SetArgs(strings.Fields(line))
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		err := c.ExecuteContext(t.Context())
		if err == nil || cli.Code(err) != cli.ExitUsage || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}
