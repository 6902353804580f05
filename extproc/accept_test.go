package extproc

import "testing"

func TestAProviderIsAskedForWhatCanBeReadAndNothingNew(t *testing.T) {
	for accept, want := range map[string]string{
		"":                              "",
		"gzip":                          "gzip",
		"gzip, deflate, br, zstd":       "gzip, deflate, br, zstd",
		"GZIP , Br;q=0.5":               "GZIP , Br;q=0.5",
		"x-gzip":                        "x-gzip",
		"identity":                      "identity",
		"identity;q=0":                  "identity;q=0",
		"gzip;q=0":                      "gzip;q=0",
		"*;q=0":                         "*;q=0",
		"gzip, compress":                "gzip",
		"gzip, br, zstd, dcb, dcz":      "gzip, br, zstd",
		"compress;q=1.0, gzip;q=0.3":    "gzip;q=0.3",
		"compress":                      "identity",
		"compress;q=0":                  "identity",
		"dcz, gzip;q=0":                 "gzip;q=0",
		"dcz, identity;q=0":             "dcz, identity;q=0",
		"dcz, *;q=0":                    "dcz, *;q=0",
		"dcz, identity;q=0.5, *;q=0":    "identity;q=0.5, *;q=0",
		"dcz, *;q=0, identity":          "*;q=0, identity",
		"dcz, gzip;q=0, identity;q=0.0": "dcz, gzip;q=0, identity;q=0.0",
		"*":                             "gzip",
		"*;q=0.1":                       "gzip;q=0.1",
		"br, *;q=0.1":                   "br, gzip;q=0.1",
		"gzip;q=0, *":                   "gzip;q=0",
		"gzip;q=0, *, identity;q=0":     "gzip;q=0, *, identity;q=0",
		"identity;q=0, *":               "identity;q=0, gzip",
		"snappy,, gzip":                 "gzip",
		" , ":                           " , ",
		"gzip;q=":                       "gzip;q=",
		"compress;q=, gzip;level=0":     "gzip;level=0",
	} {
		if got := narrow(accept); got != want {
			t.Errorf("%q: got %q, want %q", accept, got, want)
		}
		if again := narrow(narrow(accept)); again != want {
			t.Errorf("%q: narrowed twice it is %q", accept, again)
		}
	}
}
