package extproc

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const words = `{"error":{"message":"This organization has been disabled."}}`

// encode applies codings in order; raw is deflate without its wrapping.
func encode(t testing.TB, body string, codings ...string) []byte {
	t.Helper()
	out := []byte(body)
	for _, c := range codings {
		var b bytes.Buffer
		var z io.WriteCloser
		var err error
		switch c {
		case "gzip":
			z = gzip.NewWriter(&b)
		case "deflate":
			z = zlib.NewWriter(&b)
		case "raw":
			z, err = flate.NewWriter(&b, flate.BestCompression)
		case "br":
			z = brotli.NewWriter(&b)
		case "zstd":
			z, err = zstd.NewWriter(&b)
		default:
			t.Fatalf("no coding %s", c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(out); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		out = b.Bytes()
	}
	return out
}

func TestABodyIsReadWhateverItsCoding(t *testing.T) {
	for _, c := range []struct {
		encoding string
		body     []byte
		want     string
		why      unread
	}{
		{"", []byte(words), words, ""},
		{"identity", []byte(words), words, ""},
		{"gzip", encode(t, words, "gzip"), words, ""},
		{"X-GZIP", encode(t, words, "gzip"), words, ""},
		{"deflate", encode(t, words, "deflate"), words, ""},
		{"deflate", encode(t, words, "raw"), words, ""},
		{"br", encode(t, words, "br"), words, ""},
		{"zstd", encode(t, words, "zstd"), words, ""},
		{"zstd", append(encode(t, words[:9], "zstd"), encode(t, words[9:], "zstd")...), words, ""},
		{"gzip, br", encode(t, words, "gzip", "br"), words, ""},
		{"deflate , identity,zstd", encode(t, words, "deflate", "zstd"), words, ""},
		{"gzip,gzip,gzip,gzip", encode(t, words, "gzip", "gzip", "gzip", "gzip"), words, ""},
		{"gzip", nil, "", ""},
		{"br", []byte{}, "", ""},

		{"compress", []byte(words), "", unreadEncoding},
		{"gzip, dcz", encode(t, words, "gzip"), "", unreadEncoding},
		{"gzip,gzip,gzip,gzip,gzip", encode(t, words, "gzip"), "", unreadEncoding},
		{"gzip", []byte(words), "", unreadEncoding},
		{"br", []byte("\xff\xff" + words), "", unreadEncoding},
		{"zstd", []byte(words), "", unreadEncoding},
		{"deflate", []byte(words), "", unreadEncoding},
		{"gzip", encode(t, words, "gzip")[:30], words[:10], unreadEncoding},
	} {
		got, why := decode(c.body, c.encoding)
		begins := strings.HasPrefix(string(got), c.want[:min(len(got), len(c.want))])
		if why != c.why || !begins || (why == "" && len(got) != len(c.want)) {
			t.Errorf("%q of %d bytes: %q, %q; want %q, %q", c.encoding, len(c.body), got, why, c.want, c.why)
		}
	}
}

func TestWhatIsReadIsBounded(t *testing.T) {
	large := words + strings.Repeat(" ", 2<<20)
	for _, coding := range []string{"gzip", "deflate", "raw", "br", "zstd"} {
		name := strings.Replace(coding, "raw", "deflate", 1)
		for encoding, body := range map[string][]byte{
			name: encode(t, large, coding), name + ", gzip": encode(t, large, coding, "gzip"),
		} {
			got, why := decode(body[:min(len(body), maxPeek)], encoding)
			if why != unreadTooLarge || len(got) > maxPeek || !strings.HasPrefix(string(got), words) {
				t.Errorf("%s: %d bytes, %q", encoding, len(got), why)
			}
		}
	}
	if got, why := decode([]byte(large), ""); why != unreadTooLarge || len(got) != maxPeek {
		t.Errorf("plain: %d bytes, %q", len(got), why)
	}
}

func FuzzDecode(f *testing.F) {
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(encode(f, words, coding), coding)
		f.Add(encode(f, words, coding, "gzip"), coding+", gzip")
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		got, why := decode(body, encoding)
		if len(got) > maxPeek || why == unreadTimeout {
			t.Fatalf("%d bytes, %q", len(got), why)
		}
	})
}
