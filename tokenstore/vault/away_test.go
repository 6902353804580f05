package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
)

func TestASealedVaultFailsCallsAndServesAgainOnceUnsealed(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartRaft))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	var looks atomic.Pointer[error]
	reports := watchLooking(t, b, func(err error) { looks.Store(&err) })
	wantReport(t, reports, "a", "what was there before")
	must(t, f.Seal())
	_, _, err := b.Load(t.Context(), "a")
	wantWords(t, err, "reading account a from Vault", "sealed", "unseal it")
	_, err = b.CompareAndSwap(t.Context(), "a", sample("rt2"), v)
	wantWords(t, err, "writing account a to Vault", "sealed")
	eventually(t, "a failed look for changes", func() error {
		if err := *looks.Load(); err == nil || !strings.Contains(err.Error(), "sealed") {
			return fmt.Errorf("looking for changes: %w", err)
		}
		return nil
	})
	must(t, f.Unseal())
	v = put(t, b, "a", "rt2", v)
	wantReport(t, reports, "a", "a change after the seal")
	eventually(t, "a good look for changes", func() error { return *looks.Load() })

	must(t, f.Kill())
	_, _, err = b.Load(t.Context(), "a")
	wantWords(t, err, "connection refused")
	must(t, f.Start())
	must(t, f.Unseal())
	put(t, b, "a", "rt3", v)
	wantReport(t, reports, "a", "a change after the restart")
	wantToken(t, b, "a", "rt3")
}

func TestABackendOpensWhileVaultIsSealedAndWorksOnceItIsNot(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartRaft))
	f.appRole(t, nil)
	must(t, f.Seal())
	b, log := open(t, f.cfg)
	_, err := b.List(t.Context())
	wantWords(t, err, "logging in to Vault with AppRole", "sealed")
	must(t, f.Unseal())
	eventually(t, "the first call", func() error { _, err := b.List(t.Context()); return err })
	wantWorks(t, b)
	if log.FilterMessageSnippet("does not work").Len() != 1 {
		t.Errorf("logged %s", log.text())
	}
}

func TestAVaultThatForgotItsTokensIsLoggedInToAgain(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartRaft))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	put(t, b, "a", "rt", 0)
	must(t, f.Kill())
	must(t, f.Start())
	must(t, f.Unseal())
	f.revokeAll(t)
	wantToken(t, b, "a", "rt")
}

func TestAHangingVaultIsNotWaitedForLongerThanTheContext(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDev))
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	must(t, f.Pause())
	defer func() { must(t, f.Resume()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	var group sync.WaitGroup
	for _, call := range []func() error{
		func() error { _, err := b.List(ctx); return err },
		func() error { _, _, err := b.Load(ctx, "a"); return err },
		func() error { _, err := b.CompareAndSwap(ctx, "a", sample("rt2"), v); return err },
		func() error { return b.Delete(ctx, "a", v) },
		func() error { return b.Watch(ctx, func(tokenstore.AccountID) {}, func(error) {}) },
	} {
		group.Go(func() {
			if err := call(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's end", err)
			}
		})
	}
	group.Wait()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the calls took %v", took)
	}
	_, _, err := b.Load(t.Context(), "a") // has no deadline of its own
	wantWords(t, err, "did not answer in time")
}

func TestALostAnswerOfAWriteIsAnErrorAndTheWriteIsStored(t *testing.T) {
	f := prepare(t, server(t))
	direct, _ := open(t, f.cfg)
	lossy := lose(t, f.Server)
	f.cfg.Address = lossy.url
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	r := sample("rt2")
	r.Rotation.WriteID = "write-2"
	lossy.losing.Store(true)
	_, err := b.CompareAndSwap(t.Context(), "a", r, v)
	wantWords(t, err, "writing account a to Vault")
	if errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("the write met itself: %v", err)
	}
	lossy.losing.Store(false)
	got, at, err := direct.Load(t.Context(), "a")
	if err != nil || got.Rotation.WriteID != "write-2" || at != v+1 {
		t.Errorf("stored is write %q as version %d (%v), want write-2 as %d", got.Rotation.WriteID, at, err, v+1)
	}
	wantToken(t, b, "a", "rt2")
}

// lossy is a proxy that takes a request to Vault and, while losing, drops the connection instead of the answer to a
// PUT.
type lossy struct {
	url    string
	losing atomic.Bool
}

func lose(t *testing.T, s *vaultserver.Server) *lossy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &lossy{url: "http://" + l.Addr().String()}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { p.serve(client, strings.TrimPrefix(s.Address, "http://")) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); group.Wait() })
	return p
}

func (p *lossy) serve(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { // ends with the connections
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || p.losing.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// silent returns the URL of a listener that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String()
}
