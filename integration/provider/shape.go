package provider

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Shape is how a scripted body travels. The zero Shape is plain, with its length announced.
type Shape struct {
	Codings []string      `json:"codings,omitempty"` // in their order: gzip, deflate, raw (deflate unwrapped), br, zstd
	Chunked bool          `json:"chunked,omitempty"` // the length is not announced
	Close   bool          `json:"close,omitempty"`   // over HTTP/1.1 the end of the connection is the body's end
	Trailer bool          `json:"trailer,omitempty"` // a trailer follows; needs Chunked
	Pad     int           `json:"pad,omitempty"`     // so many spaces follow the body, before it is encoded
	Stall   int           `json:"stall,omitempty"`   // after so many bytes nothing comes any more
	Cut     int           `json:"cut,omitempty"`     // after so many bytes the connection dies
	Pace    time.Duration `json:"pace,omitempty"`    // between two bytes
	Endless bool          `json:"endless,omitempty"` // the body begins anew when it ends
}

// answer is what the script says.
func (s Script) answer(w http.ResponseWriter, r *http.Request) {
	body := []byte(s.Body + strings.Repeat(" ", s.Shape.Pad))
	var named []string
	for _, c := range s.Shape.Codings {
		body = encode(c, body)
		named = append(named, map[bool]string{true: "deflate", false: c}[c == "raw"])
	}
	h := w.Header()
	for k, v := range s.Headers {
		h.Set(k, v)
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if len(named) > 0 {
		h.Set("Content-Encoding", strings.Join(named, ", "))
	}
	if s.Shape.Close && s.untilClosed(w, body) {
		return
	}
	if s.Shape.Trailer {
		h.Set("Trailer", "x-sim-trailer")
		defer h.Set("x-sim-trailer", "1")
	}
	if !s.Shape.Chunked && s.Status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(s.Status)
	if s.Shape.Chunked {
		_ = http.NewResponseController(w).Flush()
	}
	s.Shape.send(w, r, body)
}

// untilClosed answers without a length at all. HTTP/2 cannot.
func (s Script) untilClosed(w http.ResponseWriter, body []byte) bool {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 %d Simulated\r\nConnection: close\r\n", s.Status)
	_ = w.Header().Write(rw)
	_, _ = fmt.Fprintf(rw, "\r\n%s", body)
	_ = errors.Join(rw.Flush(), c.Close()) // whoever has gone misses it
	return true
}

// send writes the body as the shape tells.
func (s Shape) send(w http.ResponseWriter, r *http.Request, body []byte) {
	flush := http.NewResponseController(w).Flush
	switch {
	case s.Stall > 0:
		_, _ = w.Write(body[:min(s.Stall, len(body))])
		_ = flush()
		<-r.Context().Done()
	case s.Cut > 0:
		_, _ = w.Write(body[:min(s.Cut, len(body))])
		_ = flush()
		panic(http.ErrAbortHandler)
	case s.Pace > 0:
		for i := 0; (i < len(body) || s.Endless) && r.Context().Err() == nil; i++ {
			_, _ = w.Write(body[i%len(body):][:1])
			_ = flush()
			time.Sleep(s.Pace)
		}
	case s.Endless:
		for r.Context().Err() == nil {
			_, _ = w.Write(body)
		}
	default:
		_, _ = w.Write(body)
	}
}

func encode(coding string, body []byte) []byte {
	var out bytes.Buffer
	var z io.WriteCloser
	switch coding {
	case "gzip":
		z = gzip.NewWriter(&out)
	case "deflate":
		z = zlib.NewWriter(&out)
	case "raw":
		z, _ = flate.NewWriter(&out, flate.BestCompression) // the level exists
	case "br":
		z = brotli.NewWriter(&out)
	case "zstd":
		z, _ = zstd.NewWriter(&out) // without options nothing can be wrong with them
	default:
		return body // named, but not done
	}
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
