package provider

// The driver for static keys, sent as bearer tokens. With a token_url it refreshes as oauth2 does.
var apiKeySpec = Spec{
	Name: "api_key", Kinds: plainKinds, Shows: everyoneShows, Credentials: compatibleCredentials, New: newPlain,
}
