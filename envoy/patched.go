package envoy

import (
	"fmt"
	"strings"
)

// hole is a security fix that a gateway like ours needs, and in which patch of each branch it came.
type hole struct {
	name    string
	patches map[int]int // by minor version of 1.x; a branch that is not there was born with the fix
}

// holes are in the order of their fixes. A branch that Envoy no longer patched is as bad as its last patch.
var holes = []hole{
	{"CVE-2026-47207: an unexpected answer of the ext_proc service crashes Envoy", map[int]int{37: 5, 38: 3}},
	{
		"CVE-2026-73548 and CVE-2026-73550: answers of other clients after an HTTP upgrade, memory used up over HTTP/2",
		map[int]int{37: 6, 38: 4, 39: 1},
	},
	{"CVE-2026-35189: a certificate uses up the memory in a TLS handshake", map[int]int{37: 7, 38: 5, 39: 2}},
}

// Patched names the oldest version of each branch without a hole that is known to us.
func Patched() string {
	names := make([]string, 0, newestMinor-oldestMinor+1)
	for minor := oldestMinor; minor <= newestMinor; minor++ {
		names = append(names, fmt.Sprintf("1.%d.%d", minor, leastPatch(minor)))
	}
	return strings.Join(names, ", ")
}

// leastPatch is the first patch of a branch with all fixes.
func leastPatch(minor int) (patch int) {
	for _, h := range holes {
		patch = max(patch, h.patches[minor])
	}
	return patch
}

// Version is an Envoy's.
type Version struct {
	Major, Minor, Patch int
	Development         bool // a build before the release of that number
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Warning says in one line what is known to be wrong with this version; "" if nothing is.
func (v Version) Warning(path string) string {
	if v.Major != 1 || v.Minor > newestMinor {
		return "" // newer than our knowledge
	}
	for _, h := range holes {
		if first, patched := h.patches[v.Minor]; patched && (v.Patch < first || v.Patch == first && v.Development) {
			return fmt.Sprintf(
				"%s is Envoy %s, which has known security holes (%s): install 1.%d.%d or later, patched versions are %s", path, v,
				h.name, v.Minor, leastPatch(v.Minor), Patched(),
			)
		}
	}
	return ""
}
