package extproc

// The wire contract with the Envoy configuration that `tokenward envoy` generates.
const (
	headerID      = "x-tokenward-id"
	headerRoute   = "x-tokenward-route"
	headerTenant  = "x-tokenward-tenant"
	headerClient  = "x-tokenward-client"
	headerRequest = "x-request-id" // Envoy's own, which the client gets too
	headerAttempt = "x-envoy-attempt-count"
	headerCluster = "x-tokenward-cluster"
	headerRetry   = "x-tokenward-retry"
	headerAfter   = "x-tokenward-after"
	headerStatus  = "x-tokenward-status"
	headerAccept  = "accept-encoding"

	headerProtocols = "sec-websocket-protocol"

	metadataPeek = "x-tokenward-peek" // of the stream: how Envoy may be asked for a body, besides BUFFERED
	peekPartial  = "partial"

	headerReason   = "tokenward-reason"   // to the client, on refusals of ours
	headerAttempts = "tokenward-attempts" // to the client, where the route reveals it

	// headerShouldRetry is what the libraries of Anthropic and OpenAI obey before they look at the status.
	headerShouldRetry = "x-should-retry"

	metadataNamespace = "tokenward"

	attributeDetails = "response.code_details"
	attributeFlags   = "response.flags"
	viaUpstream      = "via_upstream" // code details of a provider's own answer

	// Envoy's response flags, as bits, of local replies to requests that surely never left: no healthy host, connection
	// failure, overflow of a circuit breaker, no such cluster.
	flagsNotSent = 1<<1 | 1<<5 | 1<<7 | 1<<24
)
