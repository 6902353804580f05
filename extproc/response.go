package extproc

import (
	"context"
	"strconv"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tokenward/tokenward/tokenstore"
)

// responseFacts is what an attempt's response headers tell.
type responseFacts struct {
	tokenstore.Response
	mode   filterv3.ProcessingMode_BodySendMode // how to ask for the body, when it is Peekable
	unread unread                               // why an error's body cannot be asked for
}

// readResponse reads the response headers of a stream, whose context tells what may be asked for. blind: no body is any
// more.
func readResponse(
	ctx context.Context, h *extprocv3.HttpHeaders, attributes map[string]*structpb.Struct, blind bool,
) responseFacts {
	m := headerMap{h.GetHeaders().GetHeaders()}
	code, _ := strconv.Atoi(m.Get(":status"))
	r := responseFacts{Response: tokenstore.Response{Status: code, Header: m}}
	for _, set := range attributes {
		if v := set.GetFields()[attributeDetails]; v != nil {
			r.Detail = v.GetStringValue()
		}
		if v := set.GetFields()[attributeFlags]; v != nil {
			r.NotSent = uint64(v.GetNumberValue())&flagsNotSent != 0
		}
	}
	r.Local = r.Detail != "" && r.Detail != viaUpstream
	r.NotSent = r.NotSent && r.Local
	if !r.Local && !h.GetEndOfStream() && peekable(code) {
		r.mode, r.unread = bodyMode(m)
		switch {
		case blind && r.mode != filterv3.ProcessingMode_NONE:
			r.mode, r.unread = filterv3.ProcessingMode_NONE, unreadTimeout
		case r.mode == filterv3.ProcessingMode_BUFFERED_PARTIAL && !mayPeekPartially(ctx):
			r.mode, r.unread = filterv3.ProcessingMode_NONE, unreadConfig
		}
		r.Peekable = r.mode != filterv3.ProcessingMode_NONE
	}
	return r
}

func peekable(code int) bool {
	switch code {
	case 400, 401, 402, 403, 429:
		return true
	}
	return false
}

// bodyMode is how Envoy may be asked for an answer's body. One of known length is held until it is there. Of unknown
// length may be more than Envoy holds, and more might never come: then it sends what it has.
func bodyMode(h headerMap) (filterv3.ProcessingMode_BodySendMode, unread) {
	length := h.Get("content-length")
	n, err := strconv.ParseInt(length, 10, 64)
	switch {
	case err == nil && n == 0:
		return filterv3.ProcessingMode_NONE, ""
	case !decodable(h.Get("content-encoding")):
		return filterv3.ProcessingMode_NONE, unreadEncoding
	case length == "":
		return filterv3.ProcessingMode_BUFFERED_PARTIAL, ""
	case err != nil || n < 0 || n > maxPeek:
		return filterv3.ProcessingMode_NONE, unreadTooLarge
	}
	return filterv3.ProcessingMode_BUFFERED, ""
}

// readBody adds the body, and tells what kept it from being understood.
func (r *responseFacts) readBody(b *extprocv3.HttpBody) unread {
	body, why := decode(b.GetBody(), r.Header.Get("content-encoding"))
	r.Body, r.BodyRead, r.Peekable = body, true, false
	return why
}
