package provider

import (
	"bytes"
	"encoding/json"

	"github.com/tokenward/tokenward/tokenstore"
)

// unwrap takes an error object out of what some servers put around it: a byte order mark, the list in which Google
// answers requests for a stream, or the server-sent event in which others do.
func unwrap(resp tokenstore.Response) tokenstore.Response {
	body := bytes.TrimSpace(bytes.TrimPrefix(resp.Body, []byte("\xef\xbb\xbf")))
	if bytes.HasPrefix(body, []byte("event:")) || bytes.HasPrefix(body, []byte("data:")) {
		_, body, _ = bytes.Cut(body, []byte("data:"))
		body, _, _ = bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	}
	var list []json.RawMessage
	if bytes.HasPrefix(body, []byte("[")) && json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	resp.Body = body
	return resp
}
