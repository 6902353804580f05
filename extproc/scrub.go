package extproc

import (
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// scrub takes a client's own credentials out of where Envoy cannot: the query, and the offered WebSocket
// subprotocols.
type scrub struct {
	query     map[string]bool
	longest   int // of the query keys
	protocols []string
}

func newScrub(query, protocols []string) *scrub {
	s := &scrub{query: make(map[string]bool, len(query)), protocols: protocols}
	for _, k := range query {
		s.query[k] = true
		s.longest = max(s.longest, len(k))
	}
	return s
}

// path returns the path without the credentials in its query. Every other byte stays, in its order. Some servers take
// ; for a separator too.
func (s *scrub) path(path string) string {
	question := strings.IndexByte(path, '?')
	if question < 0 {
		return path
	}
	kept := make([]byte, 0, len(path))
	kept = append(kept, path[:question]...)
	removed := false
	for at := question; at < len(path); { // at the separator before a pair
		end := len(path)
		if n := strings.IndexAny(path[at+1:], "&;"); n >= 0 {
			end = at + 1 + n
		}
		switch pair := path[at+1 : end]; {
		case s.secret(pair):
			removed = true
		case removed && len(kept) == question: // it is the first now
			kept = append(append(kept, '?'), pair...)
		default:
			kept = append(kept, path[at:end]...)
		}
		at = end
	}
	if !removed {
		return path
	}
	return string(kept)
}

// secret reports whether a pair of a query is a credential.
func (s *scrub) secret(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	if len(name) > 3*(s.longest+8) { // even if it is all percent-encoded; a few bytes for spaces
		return false
	}
	var buf [128]byte
	b := buf[:0]
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '%' && i+2 < len(name) && hex(name[i+1]) >= 0 && hex(name[i+2]) >= 0:
			c = byte(hex(name[i+1])<<4 | hex(name[i+2])) //nolint:gosec // two hex digits
			i += 2
		case c == '+':
			c = ' '
		}
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		if c > ' ' && (c != '$' || len(b) > 0) { // Google takes $key for key; spaces around a name are dropped by some
			b = append(b, c)
		}
	}
	return s.query[string(b)]
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// offered returns the subprotocols that a client offers without the credentials among them.
func (s *scrub) offered(list string) string {
	var kept []string
	removed, next := false, false // the value after this one is a credential
	for p := range strings.SplitSeq(list, ",") {
		secret := next
		next = false
		for _, known := range s.protocols {
			name := strings.ToLower(strings.TrimSpace(p))
			if strings.HasSuffix(known, ".") {
				secret = secret || strings.HasPrefix(name, known)
			} else if name == known && !secret {
				secret, next = true, true
			}
		}
		if removed = removed || secret; !secret {
			kept = append(kept, p)
		}
	}
	if !removed {
		return list
	}
	return strings.TrimSpace(strings.Join(kept, ","))
}

// clean adds what must change of the request's own headers.
func (s *scrub) clean(f requestFacts, m *extprocv3.HeaderMutation) {
	if path := f.headers.Get(":path"); path != "" {
		if cleaned := s.path(path); cleaned != path {
			m.SetHeaders = append(m.SetHeaders, set(":path", cleaned))
		}
	}
	list := f.headers.Get(headerProtocols)
	switch cleaned := s.offered(list); cleaned {
	case list:
	case "":
		m.RemoveHeaders = append(m.RemoveHeaders, headerProtocols)
	default:
		m.SetHeaders = append(m.SetHeaders, set(headerProtocols, cleaned))
	}
}
