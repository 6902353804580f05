package provider

import "github.com/tokenward/tokenward/tokenstore"

// The driver for any token endpoint of RFC 6749. Errors are read in the shapes of RFC 6749, RFC 6750 and OpenAI's API.
var oauth2Spec = Spec{
	Name: "oauth2", Kinds: plainKinds, Shows: everyoneShows, Credentials: compatibleCredentials,
	Needs: func(s Settings) *SettingError {
		if s.TokenURL == "" {
			return &SettingError{"token_url", "must be given for the oauth2 driver"}
		}
		return nil
	},
	New: newPlain,
}

// plainKinds are the record types that belong to no provider.
var plainKinds = []Kind{
	{Name: tokenstore.KindOAuthRefresh, Needs: []string{"refresh_token"}, OrToken: true, Grant: "refresh_token"},
	{Name: tokenstore.KindClientCredentials, Needs: []string{"client_id", "client_secret"}, Grant: "client_credentials"},
	{Name: tokenstore.KindAPIKey, Needs: []string{"api_key"}},
}

var plainDialect = newDialect(errorOf, openAIShape, tables{})

func newPlain(s Settings) (tokenstore.Driver, error) {
	return newDriver(s, plainKinds, plainDialect, showBearer)
}
