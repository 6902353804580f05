package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is an HTTP/2 connection whose frames a test writes itself.
type frames struct {
	*http2.Framer
	conn net.Conn
	out  *bufio.Writer // so that what belongs together leaves together
	buf  bytes.Buffer
	enc  *hpack.Encoder
}

func (g *Gateway) frames() (*frames, error) {
	c, err := g.dial()
	if err != nil {
		return nil, err
	}
	f := &frames{conn: c, out: bufio.NewWriter(c)}
	f.Framer = http2.NewFramer(f.out, c)
	f.enc = hpack.NewEncoder(&f.buf)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(f.out, http2.ClientPreface)
	return f, errors.Join(err, f.WriteSettings())
}

// block encodes header fields, NAME VALUE each, which | separates.
func (f *frames) block(fields string) []byte {
	f.buf.Reset()
	for field := range strings.SplitSeq(fields, "|") {
		name, value, _ := strings.Cut(field, " ")
		_ = f.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) // to memory
	}
	return bytes.Clone(f.buf.Bytes())
}

// headers begins a stream, or ends one with trailers.
func (f *frames) headers(stream uint32, fields string, end bool) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{ // what is lost shows in the answer
		StreamID: stream, BlockFragment: f.block(fields), EndStream: end, EndHeaders: true,
	})
}

// answer sends what was written, and is how a stream ended, or the connection.
func (f *frames) answer(stream uint32) (said string, ended bool) {
	_ = f.out.Flush() // nobody may be there
	for {
		frame, err := f.ReadFrame()
		switch fr := frame.(type) {
		case *http2.MetaHeadersFrame:
			if fr.StreamID == stream {
				reason := ""
				for _, h := range fr.Fields {
					if h.Name == "tokenward-reason" {
						reason = " " + h.Value
					}
				}
				return fr.PseudoValue("status") + reason, false
			}
		case *http2.RSTStreamFrame:
			if fr.StreamID == stream {
				return fr.ErrCode.String(), false
			}
		case *http2.GoAwayFrame:
			return fr.ErrCode.String(), true
		}
		if err != nil {
			return "closed", true
		}
	}
}

// framed is one row of a table of attacks over HTTP/2.
type framed struct {
	name     string
	head     string // of block, ROW is the row's own path
	data     string
	trailers string
	want     string // as for HTTP/1
}

func (g *Gateway) tellFramed(w *wire, row string, r framed) string {
	f, err := g.frames()
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.conn.Close() }()
	fill := strings.NewReplacer("ROW", row, "SMUGGLED", "GET "+row+"/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n")
	f.headers(1, fill.Replace(r.head), r.data+r.trailers == "")
	if r.data != "" {
		_ = f.WriteData(1, r.trailers == "", []byte(fill.Replace(r.data)))
	}
	if r.trailers != "" {
		f.headers(1, fill.Replace(r.trailers), true)
	}
	said, ended := f.answer(1)
	end := "ended"
	if !ended {
		f.headers(3, ":method GET|:scheme http|:authority localhost|:path "+row+"/after", true)
		switch second, gone := f.answer(3); {
		case gone:
		case second == "200":
			end = "in step"
		default:
			end = "out of step: the second answer is " + second
		}
	}
	return w.told(row, said, end)
}

// TestNoFrameSmugglesARequest: the provider speaks HTTP/1, where what HTTP/2 may carry could become a line's end or a
// message's.
func TestNoFrameSmugglesARequest(t *testing.T) {
	w := startWire(t, nil)
	g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
	const (
		closed  = "closed, ended"
		local   = ":scheme http|:authority localhost|"
		request = ":method GET|" + local + ":path ROW/x"
		get     = "200, in step: GET /x"
		post    = "200, in step: POST /x {}"
		foreign = "403 host_refused, in step"
	)
	head := func(name, head, want string) framed { return framed{name, head, "", "", want} }
	field := func(name, field, want string) framed { return framed{name, request + "|" + field, "", "", want} }
	path := func(name, path, want string) framed {
		return head("a path "+name, ":method GET|"+local+":path "+path, want)
	}
	method := func(name, method, want string) framed {
		return head("a method "+name, ":method "+method+"|"+local+":path ROW/x", want)
	}
	place := func(name, place, want string) framed { return head(name, ":method GET|"+place+"|:path ROW/x", want) }
	body := func(name, field, data, want string) framed {
		return framed{name, ":method POST|" + local + ":path ROW/x" + field, data, "", want}
	}
	trailer := func(name, trailers, want string) framed {
		return framed{"trailers " + name, ":method POST|" + local + ":path ROW/x", "{}", trailers, want}
	}
	tunnel := func(name, head, want string) framed {
		return framed{name, ":method CONNECT|" + head, "SMUGGLED", "", want}
	}
	rows := []framed{
		head("an ordinary request", request, get),
		body("an ordinary request with a body", "", "{}", post),

		field("two methods", ":method POST", closed),
		field("two paths", ":path ROW/smuggled", closed),
		field("the same path twice", ":path ROW/x", closed),
		field("two authorities", ":authority attacker.example", closed),
		field("two schemes", ":scheme https", closed),
		field("another path, late", "a b|:path ROW/smuggled", closed),
		field("an unknown pseudo header", ":foo bar", closed),
		field("an answer's pseudo header", ":status 200", closed),
		field("a pseudo header without a name", ": x", closed),
		field(":protocol without CONNECT", ":protocol websocket", closed),
		head("a late path", ":method GET|"+local+"a b|:path ROW/x", closed),
		head("no method", local+":path ROW/x", closed),
		head("no path", ":method GET|:scheme http|:authority localhost", closed),
		place("no scheme", ":authority localhost", closed),
		place("no authority", ":scheme http", closed),
		head("a host instead", ":method GET|:scheme http|:path ROW/x|host localhost", get),
		field("another host beside", "host attacker.example", get), // the provider sees neither
		head("another authority", ":method GET|:scheme http|:authority attacker.example|:path ROW/x|host localhost", foreign),
		place("https in the clear", ":scheme https|:authority localhost", get),
		place("a URL for a scheme", ":scheme http://attacker.example/|:authority localhost", closed),
		place("a line's end in the scheme", ":scheme http\r\na: b|:authority localhost", closed),
		place("a line's end in the authority", ":scheme http|:authority localhost\r\na: b", closed),
		place("a path in the authority", ":scheme http|:authority localhost/v1", closed),
		place("a user in the authority", ":scheme http|:authority x@localhost", closed),

		path("that is empty", "", closed),
		path("without a slash", "v1/x", closed),
		path("of a star", "*", closed),
		path("that is a URL", "http://attacker.exampleROW/x", closed),
		path("with a line's end", "ROW/x HTTP/1.1\r\nhost: x\r\n\r\nSMUGGLED", closed),
		path("with a space", "ROW/x y", closed),
		path("with a fragment", "ROW/x#y", "400 bad_request, in step"),
		path("with a NUL", "ROW/\x00", closed),
		method("with a line's end", "GET ROW/smuggled HTTP/1.1\r\nhost: x\r\n\r\nGET", closed),
		method("with a space", "GET x", closed),
		method("that is empty", "", closed),
		method("of junk", "GARBAGE", "405 method_not_allowed, in step"),

		field("a line's end in a value", "a b\r\nc: d", closed),
		field("LF in a value", "a b\nc: d", closed),
		field("CR in a value", "a b\rc: d", closed),
		field("NUL in a value", "a b\x00c", closed),
		field("a line's end in a name", "a:\r\nb c", closed),
		field("a colon in a name", "a:b c", closed),
		field("a tab in a name", "transfer-encoding\t chunked", closed),
		field("no name", " c", closed),
		field("capitals in a name", "Content-Length 2", closed),
		field("connection", "connection close", closed),
		field("keep-alive", "keep-alive 5", closed),
		field("proxy-connection", "proxy-connection close", closed),
		field("upgrade", "upgrade websocket", closed),
		field("te: gzip", "te gzip", closed),
		field("te: trailers", "te trailers", get),
		field("crumbs of a cookie", "cookie a=b|cookie c=d", get),

		body("transfer-encoding: chunked", "|transfer-encoding chunked", "0\r\n\r\nSMUGGLED", closed),
		body("transfer-encoding: identity", "|transfer-encoding identity", "0\r\n\r\nSMUGGLED", closed),
		body("a length of none", "|content-length 0", "SMUGGLED", "PROTOCOL_ERROR, in step"),
		body("too short a length", "|content-length 2", "{}SMUGGLED", "PROTOCOL_ERROR, in step"),
		body("too long a length", "|content-length 200", "{}", "PROTOCOL_ERROR, in step"),
		body("a length of nothing", "|content-length 200", "", closed),
		body("the right length", "|content-length 2", "{}", post),
		body("the right length twice", "|content-length 2|content-length 2", "{}", closed),
		body("two lengths", "|content-length 2|content-length 49", "{}", closed),
		body("a list of lengths", "|content-length 2, 2", "{}", closed),
		body("a length with a plus", "|content-length +2", "{}", closed),
		body("a length below zero", "|content-length -2", "{}", closed),
		body("a length without a value", "|content-length ", "{}", closed),
		body("a length that overflows", "|content-length 18446744073709551618", "{}", closed),

		trailer("of ours", "x-api-key x|x-tokenward-cluster y", post),
		trailer("with a path", ":path ROW/smuggled", closed),
		trailer("that frame", "content-length 49|transfer-encoding chunked", closed),
		trailer("with a line's end", "a b\r\nSMUGGLED", closed),

		tunnel("CONNECT", ":authority localhost:443", "404 unknown_route, in step"),
		tunnel("CONNECT to a stranger", ":authority attacker.example:443", foreign),
		tunnel("CONNECT to a path", local+":path ROW/x", closed),
		tunnel("extended CONNECT", ":protocol websocket|"+local+":path ROW/x", closed),
		tunnel("extended CONNECT for addresses", ":protocol connect-ip|"+local+":path ROW/x", closed),
	}
	end := g.bystanders(t, w)
	var playing sync.WaitGroup
	for i, r := range rows {
		playing.Go(func() {
			if told := g.tellFramed(w, fmt.Sprintf("/v1/row%d.", i), r); told != r.want {
				t.Errorf("%s:\n got %s\nwant %s", r.name, told, r.want)
			}
			g.ordinary(t, r.name)
		})
	}
	playing.Wait()
	end()
	w.isClean(t)
}
