package integration

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tokenward/tokenward/integration/provider"
)

// A real browser on the gateway's host opens a stranger's page, which tries every door that the web leaves open.

// attack tries each door on a path of its own, and ends when the browser has done what it does.
const attack = `(async gateway => {
  const add = (tag, fields) => new Promise(done => {
    const e = Object.assign(document.createElement(tag), fields, { onload: done, onerror: done });
    document.body.append(e);
  });
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: gateway + "/v1/form", target: "frame", enctype: "text/plain" });
  const frame = Object.assign(document.createElement("iframe"), { name: "frame" });
  document.body.append(frame, form);
  const submitted = new Promise(done => { frame.onload = done; });
  form.submit();
  navigator.sendBeacon(gateway + "/v1/beacon", "{}");
  const simple = { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: "{}" };
  const headers = { "content-type": "application/json", authorization: "Bearer x" };
  await Promise.allSettled([
    submitted,
    fetch(gateway + "/v1/simple", simple),
    fetch(gateway + "/v1/preflighted", { method: "POST", headers, body: "{}" }),
    fetch(gateway + "/v1/get", { mode: "no-cors" }),
    fetch(gateway + "/v1/quiet", { mode: "no-cors", referrerPolicy: "no-referrer" }),
    fetch(gateway.replace("127.0.0.1", "localhost") + "/v1/localhost", simple),
    add("img", { src: gateway + "/v1/img" }),
    add("script", { src: gateway + "/v1/script" }),
    add("link", { rel: "stylesheet", href: gateway + "/v1/style" }),
    add("iframe", { src: gateway + "/v1/frame" }),
    add("iframe", { sandbox: "allow-scripts", srcdoc:
      "<script>fetch('" + gateway + "/v1/null', { method: 'POST', mode: 'no-cors', body: '{}' })</" + "script>" }),
    new Promise(done => {
      const socket = new WebSocket(gateway.replace("http", "ws") + "/v1/socket");
      socket.onopen = () => { socket.close(); done(); };
      socket.onerror = done;
    }),
  ]);
})`

// doors are the paths that an attack asks for, but for the socket's: no route need serve upgrades.
var doors = []string{
	"beacon", "form", "frame", "get", "img", "localhost", "null", "preflighted", "quiet", "script", "simple", "style",
}

// webPage serves an empty page to whoever asks, under any name that the browser is told to find here.
func webPage(t *testing.T) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>page</title><body>page</body>"))
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// strange is a browser in whose world all of .example is on this host.
func strange(t *testing.T) context.Context {
	t.Helper()
	return chromium(t, chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"))
}

// run evaluates a function's call in the open page, and waits for its promise.
func run(ctx context.Context, t *testing.T, call string, result any) {
	t.Helper()
	do(ctx, t, chromedp.Evaluate(call, result, await))
}

func await[P interface{ WithAwaitPromise(wait bool) P }](p P) P { return p.WithAwaitPromise(true) }

// reached are the doors at which something came through to the provider.
func (g *Gateway) reached() (found []string) {
	for _, s := range g.Provider.Seen("") {
		if d := strings.TrimPrefix(s.Path, "/v1/"); !slices.Contains(found, d) {
			found = append(found, d)
		}
	}
	slices.Sort(found)
	return found
}

// withClients gives the gateway a clients section; it stands at the end of the file.
func withClients(clients string) func(o *Options) {
	return func(o *Options) { o.Route = "clients: " + clients }
}

// readable is a provider that lets every page read its answers.
func (g *Gateway) readable() {
	g.Provider.Script("claude-1", provider.Script{Status: 200, Body: `{"account":"claude-1"}`, Headers: map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Content-Type": "application/json",
	}})
}

func TestAStrangersPageReachesNoProvider(t *testing.T) {
	port := webPage(t)
	ctx := strange(t)
	for _, host := range []string{"attacker.example", "localhost", "127.0.0.1"} {
		page := "http://" + host + ":" + port
		g := startWith(t, nil, one)
		g.readable()
		var nothing any
		do(ctx, t, chromedp.Navigate(page))
		run(ctx, t, attack+`("`+g.URL+`")`, &nothing)
		eventually(t, 10*time.Second, "the gateway refuses at every door", func() bool {
			return strings.Count(g.Log.String(), "rbac_access_denied_matched_policy[origin]") >= len(doors)
		})
		if got := g.reached(); len(got) > 0 {
			t.Errorf("a page of %s reached the provider by %s", page, got)
		}
	}
}

// TestTheAttackIsReal: without the checks the same page comes through every door.
func TestTheAttackIsReal(t *testing.T) {
	g := startWith(t, withClients(`{ anonymous: always, origins: ["*"] }`), one)
	ctx := strange(t)
	var nothing any
	do(ctx, t, chromedp.Navigate("http://attacker.example:"+webPage(t)))
	run(ctx, t, attack+`("`+g.URL+`")`, &nothing)
	eventually(t, 10*time.Second, "all doors are open", func() bool {
		open := g.reached()
		return !slices.ContainsFunc(doors, func(d string) bool { return !slices.Contains(open, d) })
	})
}

// rebound is what the page of a name that leads here now can do: for the browser it asks its own server.
const rebound = `(async () => {
  const a = await fetch("/v1/rebound", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  const b = await fetch("/v1/rebound");
  return [a, b].map(r => r.status + " " + r.headers.get("tokenward-reason")).join(", ");
})()`

func TestANameThatIsReboundToTheGatewayIsNotServed(t *testing.T) {
	ctx := strange(t)
	for clients, want := range map[string]string{
		"{}":                                    "403 host_refused, 403 host_refused",
		`{ anonymous: always, origins: ["*"] }`: "200 null, 200 null", // so the attack is real
	} {
		g := startWith(t, withClients(clients), one)
		_, port, _ := net.SplitHostPort(g.Opts.Gateway)
		var got string
		do(ctx, t, chromedp.Navigate("http://attacker.example:"+port+"/v1/opened"))
		run(ctx, t, rebound, &got)
		expect(t, "the answers with "+clients, got, want)
		if reached := g.reached(); (len(reached) > 0) != strings.HasPrefix(want, "200") {
			t.Errorf("with %s the provider was reached by %s", clients, reached)
		}
	}
}

// ask is what an application in a page does.
const ask = `(async gateway => {
  try {
    const headers = { "content-type": "application/json", authorization: "Bearer x", "x-stainless-lang": "js" };
    const a = await fetch(gateway + "/v1/messages", { method: "POST", headers, body: "{}" });
    return a.status + " " + (await a.json()).account + " " + (a.headers.get("x-request-id") !== null);
  } catch (e) {
    return "nothing";
  }
})`

// asked is what an application in a page reads of a refusal.
const asked = `(async (url, init) => {
  try {
    const a = await fetch(url, Object.assign({ headers: { "content-type": "application/json" } }, init));
    return a.status + " " + a.headers.get("tokenward-reason") + " " + (await a.json()).error.code;
  } catch (e) {
    return "nothing";
  }
})`

// TestAPageThatIsNamedReadsWhyItIsRefused: also where no route is, which a preflight asks about first.
func TestAPageThatIsNamedReadsWhyItIsRefused(t *testing.T) {
	port := webPage(t)
	g := startWith(t, func(o *Options) {
		o.Prefix = "/v1/, hosts: [127.0.0.1]"
		o.Route = "    methods: [GET]\n    websocket: true\nclients: { origins: [\"http://app.example:" + port + "\", \"http://other.example\"] }"
	}, one)
	ctx := strange(t)
	for _, page := range []string{"http://app.example:", "http://attacker.example:"} {
		do(ctx, t, chromedp.Navigate(page+port))
		for call, want := range map[string]string{
			`/elsewhere", { method: "POST", body: "{}" }`: "404 unknown_route unknown_route",
			`/elsewhere", {}`:                        "404 unknown_route unknown_route",
			`/v1/x", { method: "POST", body: "{}" }`: "405 method_not_allowed method_not_allowed",
			`/v1/a%2Fb", { headers: {} }`:            "400 bad_request bad_request", // simple: a preflight has the same path
		} {
			if page != "http://app.example:" {
				want = "nothing"
			}
			var got string
			run(ctx, t, asked+`("`+g.URL+call+`)`, &got)
			expect(t, page+" reads of "+call, got, want)
		}
	}
	expect(t, "requests at the provider", len(g.Provider.Seen("")), 0)
}

func TestAPageThatIsNamedCallsAndReadsTheAnswer(t *testing.T) {
	port := webPage(t)
	g := startWith(t, withClients(`{ origins: ["http://app.example:`+port+`"] }`), one)
	g.readable()
	ctx := strange(t)
	for _, tt := range []struct{ page, want string }{
		{"http://app.example:", "200 claude-1 true"},
		{"http://attacker.example:", "nothing"},
		{"http://localhost:", "nothing"},
	} {
		var got string
		do(ctx, t, chromedp.Navigate(tt.page+port))
		run(ctx, t, ask+`("`+g.URL+`")`, &got)
		expect(t, tt.page+" reads", got, tt.want)
	}
	expect(t, "requests at the provider, without preflights", len(g.Provider.Seen("")), 1)
}
