package provider

import (
	"regexp"
	"testing"
)

// TestNamesOfCredentialsAreInTheFormThatOthersCompareThemIn: lower case, with -.
func TestNamesOfCredentialsAreInTheFormThatOthersCompareThemIn(t *testing.T) {
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, n := range append(CredentialHeaders(), CredentialQueryKeys()...) {
		if !form.MatchString(n) {
			t.Errorf("%q would never be found", n)
		}
	}
}
