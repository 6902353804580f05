package provider

import (
	"regexp"
	"slices"
	"testing"
)

func TestTheNamesOfCredentialsAreOneListForHeadersAndQuery(t *testing.T) {
	for _, n := range []string{"jwt", "accesstoken", "authtoken"} { // x-jwt, ?accessToken=
		if !slices.Contains(CredentialHeaders(), n) || !slices.Contains(CredentialQueryKeys(), n) {
			t.Errorf("%s goes through", n)
		}
	}
}

// TestNamesOfCredentialsAreInTheFormThatOthersCompareThemIn: lower case, with -.
func TestNamesOfCredentialsAreInTheFormThatOthersCompareThemIn(t *testing.T) {
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, n := range append(RemovedHeaders(), CredentialQueryKeys()...) {
		if !form.MatchString(n) {
			t.Errorf("%q would never be found", n)
		}
	}
}
