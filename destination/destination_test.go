package destination

import "testing"

func TestSecretsGoToHTTPSOrToThisMachine(t *testing.T) {
	for address, want := range map[string]bool{
		"https://idp.example": true, "https://idp.example:8200/x?y": true, "http://127.0.0.2:1": true,
		"http://localhost": true, "http://[::1]:1": true, "http://localhost.example": false, "http://idp.example": false,
		"http://0.0.0.0": false, "ftp://localhost": false, "//idp.example": false, "idp.example": false, "": false,
		"https://": false, "https://:443": false, "https://me@idp.example": false, "https://idp.example:0": false,
		"https://idp.example:65536": false, "https://idp.example:port": false,
	} {
		if _, got := Confidential(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

func TestTheUserAndTheQueryOfAURLAreHidden(t *testing.T) {
	for address, want := range map[string]string{
		"https://idp.example/a": "https://idp.example/a", "https://me:pw@idp.example/a": "https://[hidden]@idp.example/a",
		"me:p@w@idp.example": "[hidden]@idp.example", "https://idp.example?key=x": "https://idp.example?[hidden]",
	} {
		if got := WithoutSecrets(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
