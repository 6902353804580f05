package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// siege is a store with good tokens, good requests, and hostile ones drawn at random.
type siege struct {
	*world
	mu sync.Mutex
}

// play plays one request to its end as Envoy would, concurrently with others. It returns what the client gets.
func (s *siege) play(
	ctx context.Context, route, client, path string, took time.Duration, says func(tokenstore.Pick) tokenstore.Response,
) (status int, tried []tokenstore.AccountID) {
	var trail *tokenstore.Trail
	for {
		p, err := s.Pick(ctx, tokenstore.PickRequest{Route: route, Client: client, Path: path, Trail: trail})
		if err != nil {
			if ref, ok := errors.AsType[*tokenstore.Refusal](err); ok {
				return ref.Status, tried
			}
			return 0, tried
		}
		tried = append(tried, p.Account)
		time.Sleep(took)
		resp := says(p)
		d, err := s.Report(ctx, p, resp, trail, nil)
		p.Release()
		switch {
		case err != nil:
			return 0, tried
		case d.Action == tokenstore.Refuse:
			return d.Refusal.Status, tried
		case d.Action == tokenstore.Pass:
			return resp.Status, tried
		}
		trail = d.Trail
	}
}

func TestUnderSiegeGoodRequestsAreServedAsIfNobodyElseAsked(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			accounts := 1 + rnd.IntN(4)
			s := &siege{world: newStore(t, append(six()[:accounts], Account("spare", inPool("spare")))...)}
			s.renew()
			endpoint := rnd.IntN(5)
			s.driver.OnRefresh = func(ctx context.Context, _ tokenstore.Record) error {
				switch endpoint {
				case 1:
					time.Sleep(3 * time.Second)
				case 2:
					return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 429}
				case 3:
					return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
				case 4:
					<-ctx.Done()
					return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
				}
				return nil
			}
			slow := time.Duration(rnd.IntN(2000)) * time.Millisecond
			route := []string{"two", "two", "r"}[rnd.IntN(3)]
			for range 5 * accounts {
				s.play(t.Context(), route, "honest", "/chat", 0, always(200))
			}
			about := fmt.Sprintf("seed %d: %d accounts, endpoint %d, route %s, answers after %v", seed, accounts, endpoint, route, slow)
			end := time.Now().Add(25 * time.Minute)
			kind := rnd.IntN(4)
			var wg sync.WaitGroup
			for h := range 1 + rnd.IntN(3) {
				pause := time.Duration(1+rnd.IntN(8000)) * time.Millisecond
				took := time.Duration(rnd.IntN(1500)) * time.Millisecond
				r := rand.New(rand.NewPCG(seed, uint64(h)))
				wg.Go(func() {
					for time.Now().Before(end) {
						time.Sleep(time.Duration(r.Int64N(int64(pause) + 1)))
						path, client := "/bad", "tool"
						if kind > 0 {
							path = fmt.Sprint("/bad/", r.IntN(1000))
						}
						if kind > 1 {
							client = fmt.Sprint("tool", r.IntN(100))
						}
						code := 401
						if kind == 3 {
							code = []int{401, 402, 400, 403}[r.IntN(4)]
						}
						ctx, cancel := context.WithCancel(t.Context())
						if r.IntN(4) == 0 {
							time.AfterFunc(time.Duration(r.IntN(3000))*time.Millisecond, cancel)
						}
						s.play(ctx, route, client, path, took, always(code))
						cancel()
					}
				})
			}
			var bad, moved, waited int
			interval := time.Duration(500+rnd.IntN(4000)) * time.Millisecond
			for time.Now().Before(end) {
				time.Sleep(interval)
				wg.Go(func() {
					began := time.Now()
					status, tried := s.play(t.Context(), route, "honest", "/chat", slow, always(200))
					s.mu.Lock()
					defer s.mu.Unlock()
					if status != 200 {
						bad++
					}
					if len(tried) > 0 && tried[0] == "spare" {
						moved++
					}
					if time.Since(began) > slow+3*time.Second {
						waited++
					}
				})
			}
			wg.Wait()
			if bad+moved+waited > 0 {
				t.Errorf("%s, kind %d: %d good requests failed, %d were moved, %d waited long", about, kind, bad, moved, waited)
			}
			if n := s.driver.MostSpent(); n > 1 {
				t.Errorf("%s: a refresh token was presented %d times", about, n)
			}
			if most := 27 * (accounts + 1); endpoint < 2 && s.driver.Calls() > most {
				t.Errorf("%s: %d redemptions in 25 minutes", about, s.driver.Calls())
			}
		})
	}
}

// An account whose tokens are revoked all the time, while a bad client asks, costs good requests nothing but attempts.
func TestARevokedAccountFailsNoRequestWhileAnotherLives(t *testing.T) {
	for _, every := range []time.Duration{150 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &siege{world: newStore(t, six()[:2]...)}
			s.renew()
			s.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
				time.Sleep(200 * time.Millisecond)
				return nil
			}
			revoked := tokenstore.Generation(0)
			says := func(p tokenstore.Pick) tokenstore.Response {
				s.mu.Lock()
				defer s.mu.Unlock()
				if p.Account == "a0" && p.Generation <= revoked {
					return answer(401)
				}
				return answer(200)
			}
			var wg sync.WaitGroup
			end := time.Now().Add(5 * time.Minute)
			wg.Go(func() {
				for time.Now().Before(end) {
					time.Sleep(every)
					gen := s.status("a0").Generation
					s.mu.Lock()
					revoked = gen
					s.mu.Unlock()
				}
			})
			wg.Go(func() {
				for time.Now().Before(end) {
					time.Sleep(3 * time.Second)
					s.play(t.Context(), "r", "tool", "/bad", 50*time.Millisecond, always(401))
				}
			})
			failed := 0
			for time.Now().Before(end) {
				time.Sleep(330 * time.Millisecond)
				wg.Go(func() {
					if status, _ := s.play(t.Context(), "r", "honest", "/chat", 100*time.Millisecond, says); status != 200 {
						s.mu.Lock()
						failed++
						s.mu.Unlock()
					}
				})
			}
			wg.Wait()
			if failed > 0 {
				t.Errorf("revoked every %v: %d good requests failed", every, failed)
			}
		})
	}
}
