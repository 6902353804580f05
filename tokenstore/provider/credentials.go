package provider

import "slices"

// Credentials are what clients of a driver's provider send as credentials of their own, or to choose who pays. None of
// it may reach a provider beside our token: it would be judged there, or pay there. All names are in lower case, with
// -.
type Credentials struct {
	Headers   []string // request headers, besides those that are removed for every provider
	QueryKeys []string // query keys besides the names of the headers; case, _ for -, and a $ in front make no difference
	// Protocols are WebSocket subprotocols in which browsers send a key: with a dot at the end it begins the value,
	// without one the value comes next in the list.
	Protocols []string
	// Payers are request headers that choose whose organisation, project or account is billed. An answer's are hidden.
	Payers        []string
	Organisations []string // further headers of answers that name whose account served
}

// What clients of any provider, and of gateways, send. Headers also stand for every name that ends in -NAME, and for
// spellings with _ instead of -: x-goog-api-key, xi-api-key and X_API_KEY are an api-key too.
var anyCredentials = Credentials{
	Headers: []string{
		"authorization", "proxy-authorization", "x-authorization", "authorization-auxiliary", "authorization-token", "auth",
		"api-key", "x-api-key", "apikey", "api-token", "api-secret", "x-key", "x-token",
		"access-key", "access-token", "auth-key", "auth-token", "x-auth-token", "bearer-token", "id-token", "refresh-token",
		"security-token", "session-token", "user-token", "github-token", "private-token",
		"accesstoken", "authtoken", "jwt",
		"client-secret", "proxy-secret", "secret-key", "virtual-key", "rapidapi-key", "jwt-assertion", "password",
		"subscription-key", "subscription-token", "functions-key", "sas-key", "sas-token",
		"cookie", "cookie2",
	},
	QueryKeys: []string{"key", "token", "oauth-token", "single-use-token"},
	Protocols: []string{"token", "bearer", "authorization"},
	Organisations: []string{
		"x-organization-id", "x-org-id", "x-project-id", "x-account-id", "x-user-id",
	},
}

// compatibleCredentials are those of the providers that oauth2 and api_key reach: OpenAI, Google, Azure, AWS,
// ElevenLabs, Hugging Face, Groq.
var compatibleCredentials = Credentials{
	QueryKeys: []string{
		"ocp-apim-subscription-key", "x-goog-api-key", "xi-api-key",
		"x-amz-credential", "x-amz-security-token", "x-amz-signature", "user-project",
	},
	Protocols: []string{"openai-insecure-api-key.", "openai-organization.", "openai-project."},
	Payers: []string{
		"openai-organization", "openai-project", "chatgpt-account-id",
		"x-goog-user-project", "x-goog-iam-authority-selector", "x-hf-bill-to",
	},
	Organisations: []string{
		"openai-organization-id", "openai-project-id", "x-openai-organization", "x-openai-project",
		"x-groq-organization-id", "x-goog-project-id", "x-ms-subscription-id", "x-ms-tenant-id", "x-hf-account-id",
	},
}

// steeringHeaders are how a proxy tells the server behind it who asks, for which host and which path. A server that
// believes them takes the request for another's, or for another path than the gateway looked at. They also stand for
// names that end in -NAME: client-ip is true-client-ip and x-cluster-client-ip too.
var steeringHeaders = []string{
	// Who asks: RFC 7239, and what was there before and beside it. x-forwarded-* go by their prefix.
	"forwarded", "forwarded-for", "forward-for",
	"real-ip", "client-ip", "clientip", "connecting-ip", "connecting-ipv6", "pseudo-ipv4", "socketip", "user-ip",
	"remote-ip", "remote-addr", "remote-host", "remote-user", "originating-ip", "proxyuser-ip",
	// RFC 9440, and the words of proxies that end TLS or sign in.
	"client-cert", "client-cert-chain", "ssl-client-verify", "ssl-client-s-dn", "authenticated-user", "webauth-user",
	"client-principal", "client-principal-id", "client-principal-name", "authenticated-user-email",
	"authenticated-user-id", "auth-request-user", "auth-request-email", "oidc-identity", "oidc-data",
	// Another host, scheme or path than the request's own.
	"original-url", "original-uri", "original-path", "original-host", "rewrite-url", "x-host", "host-override",
	"destinationurl", "url-scheme", "x-scheme", "front-end-https", "middleware-subrequest",
}

// CredentialHeaders lists the request headers in which clients send credentials, or choose who pays.
func CredentialHeaders() []string {
	return union(union(anyCredentials.Headers, func(s Spec) []string { return s.Credentials.Headers }), payers)
}

// RemovedHeaders lists the request headers that are removed from what clients send; names that end in -NAME and
// spellings with _ are meant too. A driver's own headers are set later and stay.
func RemovedHeaders() []string { return slices.Concat(CredentialHeaders(), steeringHeaders) }

// OrganisationHeaders lists the answers' headers that say whose account served. They do not concern clients.
func OrganisationHeaders() []string {
	return union(union(anyCredentials.Organisations, func(s Spec) []string { return s.Credentials.Organisations }), payers)
}

func payers(s Spec) []string { return s.Credentials.Payers }

// CredentialQueryKeys lists the query keys that are removed from what clients send: in lower case, with -.
func CredentialQueryKeys() []string {
	keys := slices.Concat(CredentialHeaders(), anyCredentials.QueryKeys)
	return union(keys, func(s Spec) []string { return s.Credentials.QueryKeys })
}

// CredentialProtocols lists the WebSocket subprotocols that are removed from what clients offer. One that ends in a
// dot is the beginning of a value; after the others the next value is removed as well.
func CredentialProtocols() []string {
	return union(anyCredentials.Protocols, func(s Spec) []string { return s.Credentials.Protocols })
}
