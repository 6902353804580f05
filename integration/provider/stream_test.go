package provider_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

func TestTheFirstEventIsReadableWhileTheSecondIsHeldBack(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resp := open(ctx, t, c, p.URL(), p.Create("a", time.Hour).AccessToken, "events=2; pause=1h", http.NoBody)
		expect(t, "content type", resp.Header.Get("Content-Type"), "text/event-stream")
		lines := bufio.NewScanner(resp.Body)
		for _, want := range []string{"event: content_block_delta", `data: {"index":0,"account":"a"}`, ""} {
			if !lines.Scan() {
				t.Fatalf("the first event did not arrive before the second: %v", lines.Err())
			}
			expect(t, "line", lines.Text(), want)
		}
	})
}

func TestAStreamHasAsManyEventsAsAskedFor(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		got := ask(t, c, p, p.Create("a", time.Hour).AccessToken, "", "events=5; pause=1ms")
		expect(t, "error", got.err, nil)
		expect(t, "events", strings.Count(got.body, "event: content_block_delta\n"), 5)
	})
}

func TestACutStreamEndsInAnErrorAfterTheEventsBefore(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		got := ask(t, c, p, p.Create("a", time.Hour).AccessToken, "", "events=3; cut=1")
		expect(t, "status", got.status, 200)
		expect(t, "cut", got.err != nil, true)
		expect(t, "events", strings.Count(got.body, "data: "), 1)
	})
}

func TestAStreamCutAtOnceHasNoAnswer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		got := ask(t, c, p, p.Create("a", time.Hour).AccessToken, "", "events=1; cut=0")
		expect(t, "dropped", got.err != nil, true)
		expect(t, "status", got.status, 0)
	})
}

func TestAnEarlyRefusalArrivesBeforeTheBodyHasEnded(t *testing.T) {
	for name, sim := range map[string]string{"asked for": "early; status=413", "of an unknown token": "early"} {
		t.Run(name, func(t *testing.T) {
			// A client of its own: the provider may close the connection under the rest of the body.
			bothProtocols(t, func(t *testing.T, c *http.Client) {
				p := start(t)
				token, want := p.Create("a", time.Hour).AccessToken, 413
				if sim == "early" {
					token, want = "guessed", 401
				}
				body, upload := io.Pipe()
				// the client waits for the upload even when the answer is lost
				giveUp := time.AfterFunc(patience, func() { _ = upload.Close() })
				defer giveUp.Stop()
				defer func() { _ = upload.Close() }()
				go func() { _, _ = io.WriteString(upload, "the first half") }() // ends at upload.Close or when it was read
				began := time.Now()
				resp := open(t.Context(), t, c, p.URL(), token, sim, body)
				expect(t, "status", resp.StatusCode, want)
				expect(t, "before the body's end", time.Since(began) < patience, true)
			})
		})
	}
}

func TestEarlyHintsComeBeforeTheAnswer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		hints := make(chan int, 1)
		ctx := httptrace.WithClientTrace(
			t.Context(),
			&httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
				hints <- code
				return nil
			}},
		)
		resp := open(ctx, t, c, p.URL(), p.Create("a", time.Hour).AccessToken, "hints", http.NoBody)
		select {
		case code := <-hints:
			expect(t, "hint", code, http.StatusEarlyHints)
		default:
			t.Error("the answer came without early hints")
		}
		expect(t, "status", resp.StatusCode, 200)
	})
}

func TestAWebSocketEchoesIfItsTokenIsValid(t *testing.T) {
	p := start(t)
	access := p.Create("a", time.Hour).AccessToken
	dial := func(token string) (*websocket.Conn, error) {
		config, err := websocket.NewConfig("ws"+strings.TrimPrefix(p.URL(), "http")+"/ws", p.URL())
		if err != nil {
			t.Fatal(err)
		}
		config.Header.Set("Authorization", "Bearer "+token)
		return config.DialContext(t.Context())
	}
	if c, err := dial("guessed"); err == nil {
		_ = c.Close()
		t.Error("an unknown token was upgraded")
	}
	c, err := dial(access)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"one", "two"} {
		if err := websocket.Message.Send(c, message); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := websocket.Message.Receive(c, &got); err != nil {
			t.Fatal(err)
		}
		expect(t, "echo", got, message)
	}
}

// open sends a request and returns when the answer's headers are there.
func open(ctx context.Context, t *testing.T, c *http.Client, base, token, sim string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/messages", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("x-sim", sim)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}
