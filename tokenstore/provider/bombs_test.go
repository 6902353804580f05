package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// mostMemory is what one grant request may allocate in all, both ends together: they share this process.
const mostMemory = 64 << 20

// The begin of an HTTP/1.1 answer.
const ok, chunked = "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n\r\n"

// speaker answers each grant with f, over HTTP/1.1 or HTTP/2, and returns a driver for it.
func speaker(t *testing.T, h2 bool, f http.HandlerFunc) tokenstore.Driver {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		f(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of headers that no client takes
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, CAFile: ca})
}

// say answers with a text.
func say(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, p := range parts {
			_, _ = io.WriteString(w, p)
		}
	}
}

// again writes start, and then what is repeated, until n bytes are written or nobody reads; n 0: for ever.
func again(start, repeated string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(repeated), max(1, (32<<10)/len(repeated)))
		written, err := io.WriteString(w, start)
		for at := written; err == nil && (n == 0 || at < n); at += len(chunk) {
			_, err = w.Write(chunk)
		}
	}
}

// encoded answers with a coding and a body in it.
func encoded(coding string, body []byte, times int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", coding)
		var err error
		for i := 0; err == nil && i < times; i++ {
			_, err = w.Write(body)
		}
	}
}

// zipped compresses a text, and much of one byte after it.
func zipped(t *testing.T, text string, fill byte, bytesOfIt int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	chunk := bytes.Repeat([]byte{fill}, 1<<20)
	for range bytesOfIt / len(chunk) {
		_, _ = w.Write(chunk)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// raw answers with bytes of its own on an HTTP/1.1 connection, until they end or nobody reads.
func raw(start, repeated string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		chunk := []byte(strings.Repeat(repeated, 1000))
		_, err = io.WriteString(c, start)
		for at := 0; err == nil && at < n; at += len(chunk) {
			_, err = c.Write(chunk)
		}
	}
}

// names are header lines that are all different: each costs more memory than it has bytes.
func names(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strconv.Itoa(i) + ":\r\n")
	}
	return b.String()
}

// A token endpoint, or who stands before it, may answer with anything. It costs one refresh, a bounded amount of memory
// and, where the grant can be read all the same, nothing.
func TestABombFromTheTokenEndpointCostsOneRefreshAndLittleMemory(t *testing.T) {
	const granted, unknown = tokenstore.RefreshClass(""), tokenstore.RefreshUnknown
	const mega = 1 << 20
	zeros := zipped(t, "", 0, 8*mega)
	spaces := zipped(t, "", ' ', 8*mega)
	deep, up := strings.Repeat("[", 200_000), strings.Repeat("]", 200_000)
	zippedGrant := append(zipped(t, goodAnswer, 0, 0), bytes.Repeat(spaces, 64)...)
	digits, keys := strings.Repeat("9", mega/2), strings.Repeat(`,"a":{}`, 100_000)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   tokenstore.RefreshClass
		only1  bool // HTTP/2 has no such bytes
	}{
		"64 MB of nothing":               {again("", " ", 64*mega), unknown, false},
		"64 MB after a grant":            {again(goodAnswer, " ", 64*mega), granted, false},
		"64 MB in a string":              {again(`{"access_token":"`, "a", 64*mega), unknown, false},
		"an endless page":                {again("<html>", "<p>", 0), unknown, false},
		"an endless list":                {again(`{"a":[`, "1,", 0), unknown, false},
		"4 GB of zeros, compressed":      {encoded("gzip", zeros, 512), unknown, false},
		"a grant and 4 GB, compressed":   {encoded("gzip", zippedGrant, 8), granted, false},
		"a bomb in a bomb":               {encoded("gzip, gzip", zipped(t, string(zeros), 0, 0), 1), unknown, false},
		"a coding that nobody asked for": {encoded("br", []byte(goodAnswer)[:9], 1), unknown, false},
		"a gzip that is none":            {encoded("gzip", []byte(goodAnswer), 1), unknown, false},
		"a gzip that is cut":             {encoded("gzip", zipped(t, goodAnswer, ' ', mega)[:60], 1), unknown, false},
		"200,000 levels":                 {say(deep), unknown, false},
		"200,000 levels in a key":        {say(`{"access_token":"new","a":`, deep, up, "}"), unknown, false},
		"200,000 levels of objects":      {say(strings.Repeat(`{"error":`, 200_000)), unknown, false},
		"200,000 levels in the error":    {say(`{"error":`, deep, up, "}"), unknown, false},
		"a lifetime that is no number":   {say(`{"access_token":"new","expires_in":NaN}`), unknown, false},
		"NaN in words":                   {say(`{"access_token":"new","expires_in":"NaN"}`), granted, false},
		"infinity in words":              {say(`{"access_token":"new","expires_in":"-Infinity"}`), granted, false},
		"a lifetime of a million digits": {say(`{"access_token":"new","expires_in":`, digits, "}"), granted, false},
		"a doubled key":                  {say(`{"access_token":"old","access_token":"new","expires_in":60}`), granted, false},
		"a hundred thousand keys":        {say(`{"access_token":"new"`, keys, `}`), granted, false},
		"a page":                         {say("<!doctype html><title>Sign in</title>"), unknown, false},
		"4 MB of headers":                {wide(4), unknown, false},
		"64 MB of one header":            {raw(ok+"X-A: ", "a", 64*mega), unknown, true},
		"64 MB of header lines":          {raw(ok, names(1000), 64*mega), unknown, true},
		"4 MB of header names":           {raw(ok+names(500_000)+"\r\n"+goodAnswer, " ", 0), unknown, true},
		"64 MB of a status line":         {raw("HTTP/1.1 200 ", "a", 64*mega), unknown, true},
		"64 MB of interim answers":       {raw("", "HTTP/1.1 103 Early Hints\r\n\r\n", 64*mega), unknown, true},
		"64 MB of a chunk's extension":   {raw(ok+chunked+"1;", "a", 64*mega), unknown, true},
		"64 MB of trailers":              {raw(ok+chunked+"0\r\n", "x: y\r\n", 64*mega), unknown, true},
		"two lengths":                    {raw(ok+"Content-Length: 5\r\nContent-Length: 38\r\n\r\n", "{}", 0), unknown, true},
		"a length that is a lie":         {raw(ok+"Content-Length: 9223372036854775807\r\n\r\n", "{", 0), unknown, true},
	} {
		for _, h2 := range []bool{false, true} {
			if h2 && c.only1 {
				continue
			}
			t.Run(fmt.Sprintf("%s, HTTP/%d", name, map[bool]int{false: 1, true: 2}[h2]), func(t *testing.T) {
				d := speaker(t, h2, c.answer)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				g, e := redeem(t, d, fullRecord())
				runtime.ReadMemStats(&after)
				if used := after.TotalAlloc - before.TotalAlloc; used > mostMemory {
					t.Errorf("it took %d MB of memory", used>>20)
				}
				switch {
				case c.want == granted && (e != nil || !g.AccessToken.Equal(tokenstore.NewSecret("new")) || g.ExpiresIn < 0):
					t.Errorf("got %v, lifetime %v, want the grant", e, g.ExpiresIn)
				case c.want != granted && (e == nil || e.Class != c.want || len(e.Message) > 256):
					t.Errorf("got %+v, want class %s", e, c.want)
				}
			})
		}
	}
}

// wide answers with a grant and megabytes of headers.
func wide(megabytes int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		value := strings.Repeat("a", 1<<20)
		for range megabytes {
			w.Header().Add("X-A", value)
		}
		_, _ = io.WriteString(w, goodAnswer)
	}
}

// What drips never ends by itself; the deadline ends it, wherever it has got to.
func TestAnEndpointThatDripsIsLeftAtTheDeadline(t *testing.T) {
	for name, start := range map[string]string{
		"the status":     "HTTP/1.1 2",
		"the headers":    "HTTP/1.1 200 OK\r\nX-A: ",
		"interim answer": "HTTP/1.1 103 Early Hints\r\n\r\n",
		"the body":       "HTTP/1.1 200 OK\r\n\r\n" + goodAnswer,
		"a chunk":        ok + chunked + "5\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, start)
				cancel(context.DeadlineExceeded)
				_, _ = io.Copy(io.Discard, c) // until it is left
			}))
			defer s.Close() // waits for the handler
			_, err := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}).Refresh(ctx, fullRecord())
			var e *tokenstore.RefreshError
			if !errors.As(err, &e) || e.Class != tokenstore.RefreshUnknown {
				t.Errorf("got %v", err)
			}
		})
	}
}
