package tokenstoretest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestTheScriptedDriverRefusesARefreshTokenThatWasUsed(t *testing.T) {
	d := NewDriver()
	g, err := d.Refresh(t.Context(), sample("rt-0"))
	if err != nil || g.AccessToken.Reveal() != "at-1" || g.RefreshToken.Reveal() != "rt-1" || g.ExpiresIn != time.Hour {
		t.Fatalf("first refresh: %q %q %v %v", g.AccessToken.Reveal(), g.RefreshToken.Reveal(), g.ExpiresIn, err)
	}
	if g, err = d.Refresh(t.Context(), sample("rt-1")); err != nil || g.RefreshToken.Reveal() != "rt-2" {
		t.Fatalf("second refresh: %q %v", g.RefreshToken.Reveal(), err)
	}
	_, err = d.Refresh(t.Context(), sample("rt-0"))
	var refused *tokenstore.RefreshError
	if !errors.As(err, &refused) || refused.Class != tokenstore.RefreshPermanent || refused.Code != "invalid_grant" {
		t.Errorf("reuse: %v, want a permanent invalid_grant", err)
	}
	if d.Calls() != 3 || d.MostSpent() != 2 {
		t.Errorf("%d calls, most spent %d; want 3 and 2", d.Calls(), d.MostSpent())
	}
}

func TestTheScriptedDriverTellsALostGrantFromALostAnswer(t *testing.T) {
	lost := &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
	fail := func(context.Context, tokenstore.Record) error { return lost }

	before := NewDriver()
	before.OnRefresh = fail
	if _, err := before.Refresh(t.Context(), sample("rt-0")); !errors.Is(err, lost) || before.MostSpent() != 0 {
		t.Errorf("%v with %d spent; want the scripted error and nothing spent", err, before.MostSpent())
	}
	after := NewDriver()
	after.OnAnswer = fail
	if _, err := after.Refresh(t.Context(), sample("rt-0")); !errors.Is(err, lost) || after.MostSpent() != 1 {
		t.Errorf("%v with %d spent; want the scripted error and the token spent", err, after.MostSpent())
	}
}

func TestTheScriptedDriverClassifiesByStatus(t *testing.T) {
	d := NewDriver()
	for _, c := range []struct {
		resp tokenstore.Response
		want tokenstore.Class
		wait time.Duration
	}{
		{resp: tokenstore.Response{Status: 200}, want: tokenstore.ClassOK},
		{resp: tokenstore.Response{Status: 400}, want: tokenstore.ClassRequestFault},
		{resp: tokenstore.Response{Status: 401}, want: tokenstore.ClassTokenRejected},
		{resp: tokenstore.Response{Status: 403}, want: tokenstore.ClassForbidden},
		{resp: tokenstore.Response{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, want: tokenstore.ClassRateLimited, wait: 7 * time.Second},
		{resp: tokenstore.Response{Status: 429, Header: http.Header{}}, want: tokenstore.ClassRateLimited},
		{resp: tokenstore.Response{Status: 500}, want: tokenstore.ClassProviderFault},
		{resp: tokenstore.Response{Status: 503}, want: tokenstore.ClassOverloaded},
		{resp: tokenstore.Response{Status: 529}, want: tokenstore.ClassOverloaded},
		{resp: tokenstore.Response{Status: 503, Local: true, NotSent: true}, want: tokenstore.ClassUnreachable},
		{resp: tokenstore.Response{Status: 503, Local: true}, want: tokenstore.ClassProviderFault},
		{resp: tokenstore.Response{Status: 504, Local: true}, want: tokenstore.ClassProviderFault},
	} {
		if v := d.Classify(c.resp); v.Class != c.want || v.Wait != c.wait {
			t.Errorf("status %d, local %t, not sent %t: %v, wait %v; want %v, wait %v", c.resp.Status, c.resp.Local,
				c.resp.NotSent, v.Class, v.Wait, c.want, c.wait)
		}
	}
}

func TestTheScriptedDriverShapesRefusalsAsJSON(t *testing.T) {
	_, body := NewDriver().Shape(tokenstore.Refusal{Reason: tokenstore.ReasonAllCooling, Message: "a\x00 \"b\"\a\xff"})
	var got struct{ Reason, Message string }
	if err := json.Unmarshal(body, &got); err != nil || got.Reason != "all_cooling" {
		t.Errorf("%v: %s", err, body)
	}
}
