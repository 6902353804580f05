package extproc

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxPeek is the largest error body that is read, in bytes, as it came and at every step of its decoding.
const maxPeek = 64 << 10

// unread says why the words of an error answer are not known, for the metric unread_answers_total. "" when they are.
type unread string

const (
	unreadTooLarge unread = "too_large" // longer than maxPeek, as it came or decoded
	unreadTimeout  unread = "timeout"   // not complete within peekTimeout
	unreadEncoding unread = "encoding"  // a content-encoding that is not known, or not what the body is
	unreadCut      unread = "cut"       // provider or client left before its end
	unreadConfig   unread = "old_envoy" // of unknown length, and Envoy's configuration allows no such peek
)

var unreads = []unread{unreadTooLarge, unreadTimeout, unreadEncoding, unreadCut, unreadConfig}

// decoders undo one content coding (RFC 9110 section 8.4.1, RFC 8878). They return what they got to the first error.
var decoders = map[string]func([]byte) ([]byte, error){
	"gzip": gunzip, "x-gzip": gunzip, "deflate": inflate, "br": unbrotli, "zstd": unzstd,
}

var errTooLarge = errors.New("larger than what is read of an error answer")

// codings lists a content-encoding's codings in the order in which they were applied.
func codings(contentEncoding string) []string {
	var out []string
	for c := range strings.SplitSeq(contentEncoding, ",") {
		if c = strings.ToLower(strings.TrimSpace(c)); c != "" && c != "identity" {
			out = append(out, c)
		}
	}
	return out
}

// decodable reports whether decode knows every coding, and there are not absurdly many.
func decodable(contentEncoding string) bool {
	list := codings(contentEncoding)
	for _, c := range list {
		if decoders[c] == nil {
			return false
		}
	}
	return len(list) <= 4
}

// decode undoes the content codings of a body, so that an error can be read whatever the client accepts. What is
// returned beside a reason is a beginning, which may still tell something.
func decode(body []byte, contentEncoding string) ([]byte, unread) {
	if !decodable(contentEncoding) {
		return nil, unreadEncoding
	}
	why := unread("")
	if len(body) > maxPeek {
		body, why = body[:maxPeek], unreadTooLarge
	}
	list := codings(contentEncoding)
	for len(list) > 0 && len(body) > 0 {
		plain, err := decoders[list[len(list)-1]](body)
		switch {
		case errors.Is(err, errTooLarge):
			why = unreadTooLarge
		case err != nil && why == "":
			why = unreadEncoding
		}
		body, list = plain, list[:len(list)-1]
	}
	return body, why
}

func gunzip(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return take(z)
}

// inflate reads deflate as it is defined, in zlib's wrapping, and as many servers send it, without.
func inflate(body []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err == nil {
		var plain []byte
		if plain, err = take(z); len(plain) > 0 || err == nil {
			return plain, err
		}
	}
	return take(flate.NewReader(bytes.NewReader(body)))
}

func unbrotli(body []byte) ([]byte, error) { return take(brotli.NewReader(bytes.NewReader(body))) }

// unzstd bounds the window to the 8 MiB that RFC 9659 allows on the web. With one decoder at work there is no
// goroutine.
func unzstd(body []byte) ([]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(body),
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return take(z)
}

// take reads at most maxPeek bytes.
func take(r io.Reader) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, maxPeek+1))
	if len(plain) > maxPeek {
		return plain[:maxPeek], errTooLarge
	}
	return plain, err
}
