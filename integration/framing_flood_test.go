package integration

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// most is how many frames a flood sends, if it is let.
const most = 20_000

const flooding = ":method POST|:scheme http|:authority localhost|:path /v1/flood"

// nth is the stream of a request.
func nth(i int) uint32 { return uint32(2*i + 1) }

// floods write the next frames of a connection. Nothing is written when the other side is gone.
var floods = map[string]func(f *frames, i int) error{
	"rapid resets": func(f *frames, i int) error {
		f.headers(nth(i), flooding, true)
		return f.WriteRSTStream(nth(i), http2.ErrCodeCancel)
	},
	"rapid resets of uploads": func(f *frames, i int) error {
		f.headers(nth(i), flooding, false)
		_ = f.WriteData(nth(i), false, []byte("x"))
		return f.WriteRSTStream(nth(i), http2.ErrCodeCancel)
	},
	"more requests than may be": func(f *frames, i int) error { f.headers(nth(i), flooding, false); return nil },
	"settings":                  func(f *frames, _ int) error { return f.WriteSettings() },
	"settings that change": func(f *frames, i int) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: nth(i)})
	},
	"pings": func(f *frames, _ int) error { return f.WritePing(false, [8]byte{}) },
	"priorities": func(f *frames, i int) error {
		return f.WritePriority(nth(i), http2.PriorityParam{Weight: 1})
	},
	"window updates": func(f *frames, i int) error {
		if i == 0 {
			f.headers(1, flooding, false)
		}
		return f.WriteWindowUpdate(1, 1)
	},
	"empty data": func(f *frames, i int) error {
		if i == 0 {
			f.headers(1, flooding, false)
		}
		return f.WriteData(1, false, nil)
	},
	"continuations": func(f *frames, i int) error {
		if i == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(flooding)})
		}
		return f.WriteContinuation(1, false, f.block("a "+strings.Repeat("b", 100)))
	},
	"empty continuations": func(f *frames, i int) error {
		if i == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(flooding)})
		}
		return f.WriteContinuation(1, false, nil)
	},
}

// TestAFloodOfFramesIsEndedAndHarmsNobodyElse: all at once, each on a connection of its own, beside answers to other
// clients.
func TestAFloodOfFramesIsEndedAndHarmsNobodyElse(t *testing.T) {
	w := startWire(t, nil)
	g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
	g.ordinary(t, "nothing")
	before := g.gauge(t, "go_goroutines")
	end := g.bystanders(t, w)

	open := func() *frames {
		f, err := g.frames()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.conn.Close() })
		return f
	}
	var playing sync.WaitGroup
	for name, flood := range floods {
		f := open()
		playing.Go(func() {
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, f.conn)
				ended <- err
			}()
			var err error
			for i := 0; i < most && err == nil; i++ {
				err = flood(f, i)
			}
			_ = f.out.Flush()
			if err := <-ended; err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: the connection was not ended", name)
			}
			g.ordinary(t, name)
		})
	}
	playing.Go(func() { // each request is let begin
		f := open()
		resets, ended := 0, false
		for ; resets < most && !ended; resets++ {
			f.headers(nth(resets), flooding, true)
			_ = f.WriteRSTStream(nth(resets), http2.ErrCodeCancel)
			ended = !f.pinged()
		}
		if resets > 1000 {
			t.Errorf("%d requests were given up one by one, and the connection ended: %t", resets, ended)
		}
		g.ordinary(t, "resets one by one")
	})
	for name, fields := range map[string]string{
		"2,000 headers":       strings.Repeat("|a b", 2000),
		"a head that unpacks": strings.Repeat("|a "+strings.Repeat("b", 3000), 50), // after the first it is a byte each
	} {
		f := open()
		f.headers(1, flooding+fields, true)
		said, _ := f.answer(1)
		f.headers(3, flooding, true)
		next, _ := f.answer(3)
		expect(t, name, said+", "+next, "INTERNAL_ERROR, 200")
	}
	playing.Wait()
	end()

	eventually(t, 10*time.Second, "no stream and no goroutine is left", func() bool {
		return g.gauge(t, "tokenward_streams") == 0 && g.gauge(t, "go_goroutines") <= before+20
	})
	eventually(t, 10*time.Second, "no request is left in Envoy", func() bool {
		stats := g.envoyStats(t)
		for _, listener := range []string{"llm", "attempt"} {
			if !strings.Contains(stats, fmt.Sprintf("downstream_rq_active{envoy_http_conn_manager_prefix=%q} 0\n", listener)) {
				return false
			}
		}
		return true
	})
}

// pinged sends what was written with a ping, and reports whether it is answered.
func (f *frames) pinged() bool {
	_ = f.WritePing(false, [8]byte{})
	_ = f.out.Flush() // nobody may be there
	for {
		frame, err := f.ReadFrame()
		if p, ok := frame.(*http2.PingFrame); ok && p.IsAck() {
			return true
		}
		if err != nil {
			return false
		}
	}
}
