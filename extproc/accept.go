package extproc

import (
	"strconv"
	"strings"
)

// narrow takes out of a client's accept-encoding (RFC 9110 section 12.5.3) what decode cannot undo, so that no provider
// sends an error that way. It adds nothing that the client does not take: of "*" it leaves gzip. A client that takes
// nothing readable keeps what it asked for.
func narrow(accept string) string {
	var kept []string
	named := map[string]bool{}
	anything, dropped, coded, refusesRest, plain := "", false, false, false, ""
	for item := range strings.SplitSeq(accept, ",") {
		item = strings.TrimSpace(item)
		name, weight, weighted := strings.Cut(item, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		refused := weighted && isZero(weight)
		named[name] = true
		switch {
		case name == "":
			continue
		case name == "identity":
			plain = map[bool]string{true: "no", false: "yes"}[refused]
		case name == "*" && refused:
			refusesRest = true
		case name == "*":
			anything, dropped = "gzip"+strings.TrimPrefix(item, "*"), true
			continue
		case decoders[name] == nil:
			dropped = true
			continue
		case !refused:
			coded = true
		}
		kept = append(kept, item)
	}
	if anything != "" && !named["gzip"] {
		kept, coded = append(kept, anything), true
	}
	switch {
	case !dropped, !coded && (plain == "no" || plain == "" && refusesRest):
		return accept
	case len(kept) == 0:
		return "identity"
	}
	return strings.Join(kept, ", ")
}

// isZero reports whether a weight, "q=0.000", refuses.
func isZero(weight string) bool {
	k, v, _ := strings.Cut(weight, "=")
	q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	return strings.EqualFold(strings.TrimSpace(k), "q") && err == nil && q == 0
}
