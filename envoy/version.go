package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Oldest is the oldest Envoy whose local replies reach ext_proc, without which a dead provider cannot be left.
const Oldest = "1.37"

// The branches that we know the holes of.
const oldestMinor, newestMinor = 37, 40

// versionTimeout bounds the wait for a binary's answer; Envoy takes a few milliseconds.
const versionTimeout = 10 * time.Second

// versionPattern skips the path of the binary, which Envoy prints first and which may hold a version itself.
var versionPattern = regexp.MustCompile(`version: [0-9a-f]+/(\d+)\.(\d+)\.(\d+)(-[^/\s]*)?`)

// Find returns the Envoy to run: the given path, $ENVOY, or envoy on PATH.
func Find(explicit string) (string, error) {
	for _, p := range []string{explicit, os.Getenv("ENVOY")} {
		if p != "" {
			return p, nil
		}
	}
	p, err := exec.LookPath("envoy")
	if err != nil {
		return "", errors.New(
			"looking for Envoy: there is none on PATH: install Envoy " + Oldest + " or later, or name it with --envoy or $ENVOY",
		)
	}
	return p, nil
}

// CheckVersion returns the version of an Envoy binary; an error if it is too old or no Envoy.
func CheckVersion(ctx context.Context, path string) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version") //nolint:gosec // the operator names the program
	cmd.Env = environment()
	out, err := cmd.Output()
	if errors.Is(ctx.Err(), context.Canceled) {
		return Version{}, context.Cause(ctx)
	}
	if err != nil {
		return Version{}, fmt.Errorf("asking %s for its version: %w: is it an Envoy for this machine?", path, err)
	}
	return parseVersion(path, string(out))
}

func parseVersion(path, out string) (Version, error) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("asking %s for its version: the answer is not Envoy's: name an Envoy binary", path)
	}
	var v Version
	for i, dst := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*dst, _ = strconv.Atoi(m[i+1]) // digits; what is too long for a number is surely new enough
	}
	v.Development = strings.HasPrefix(m[4], "-dev")
	if v.Major == 1 && v.Minor < oldestMinor {
		return Version{}, fmt.Errorf(
			"%s is Envoy %s: tokenward needs %s or later, since older ones do not show us that a provider is dead: "+
				"install a newer Envoy",
			path, v, Oldest,
		)
	}
	return v, nil
}
