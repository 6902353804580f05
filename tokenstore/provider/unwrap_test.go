package provider

import (
	"net/http"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAnErrorIsUnderstoodWhateverIsAroundIt(t *testing.T) {
	const object = `{"error":{"type":"billing_error","message":"no credit"}}`
	for name, body := range map[string]string{
		"nothing":        object,
		"spaces":         " \r\n" + object + "\n\n",
		"a mark":         "\ufeff" + object,
		"a list":         "[" + object + "\n]",
		"an event":       "event: error\ndata: " + object + "\n\n",
		"a bare event":   "data: " + object + "\n\ndata: [DONE]\n\n",
		"CRLF":           "event: error\r\ndata: " + object + "\r\n\r\n",
		"a marked event": "\ufeffdata:" + object,
	} {
		for _, driver := range Names() {
			v := mustDriver(t, Settings{Driver: driver}).Classify(tokenstore.Response{
				Status: 429, Header: http.Header{}, Body: []byte(body), BodyRead: true,
			})
			if v.Code != "billing_error" || v.Message != "no credit" {
				t.Errorf("%s, %s: code %q, message %q", name, driver, v.Code, v.Message)
			}
		}
	}
	for _, body := range []string{"", "[", "[]", "data:", "event: x", "<html>", "null"} {
		_ = mustDriver(t, Settings{Driver: driverAPIKey}).Classify(tokenstore.Response{
			Status: 429, Header: http.Header{}, Body: []byte(body), BodyRead: true,
		})
	}
}
