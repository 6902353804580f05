package extproc

import (
	"strconv"
	"strings"
)

// narrow takes out of a client's accept-encoding (RFC 9110 section 12.5.3) what decode cannot undo, so that no provider
// sends an error that way. It adds nothing that the client does not take: of "*" it leaves gzip. A client that takes
// nothing readable keeps what it asked for.
func narrow(accept string) string {
	if readable(accept) {
		return accept
	}
	var kept []string
	anything, named, coded, refusesRest, plain := "", false, false, false, ""
	for item := range strings.SplitSeq(accept, ",") {
		item = strings.TrimSpace(item)
		name, refused := coding(item)
		named = named || name == "gzip"
		switch {
		case name == "*" && !refused:
			anything = "gzip" + item[1:]
			continue
		case name == "*":
			refusesRest = true
		case name == "identity":
			plain = map[bool]string{true: "no", false: "yes"}[refused]
		case decoders[name] == nil:
			continue
		case !refused:
			coded = true
		}
		kept = append(kept, item)
	}
	if anything != "" && !named {
		kept, coded = append(kept, anything), true
	}
	switch {
	case !coded && (plain == "no" || plain == "" && refusesRest):
		return accept
	case len(kept) == 0:
		return "identity"
	}
	return strings.Join(kept, ", ")
}

// readable reports whether everything that a client takes can be read, which is nearly always so.
func readable(accept string) bool {
	for item := range strings.SplitSeq(accept, ",") {
		name, refused := coding(strings.TrimSpace(item))
		if name != "" && name != "identity" && decoders[name] == nil && (name != "*" || !refused) {
			return false
		}
	}
	return true
}

// coding splits an item such as "gzip;q=0", which refuses.
func coding(item string) (name string, refused bool) {
	name, weight, weighted := strings.Cut(item, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	if !weighted {
		return name, false
	}
	k, v, _ := strings.Cut(weight, "=")
	q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	return name, strings.EqualFold(strings.TrimSpace(k), "q") && err == nil && q == 0
}
