package extproc

import (
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// reflected is the answer to a method whose answer would be the request, our token in it (RFC 9110 section 9.3.8). The
// generated Envoy configuration lets none come here; one that was written by hand or is older may.
var reflected = tokenstore.Refusal{
	Status: 405, Reason: "method_not_allowed", ContentType: "application/json",
	Body: []byte(`{"type":"error","error":{"type":"invalid_request_error","code":"method_not_allowed",` +
		`"message":"the gateway does not serve this method: its answer would show credentials"},` +
		`"tokenward":{"reason":"method_not_allowed"}}`),
}

// reflects reports such a method. Some servers take methods in any case.
func reflects(method string) bool {
	return strings.EqualFold(method, "TRACE") || strings.EqualFold(method, "TRACK")
}
