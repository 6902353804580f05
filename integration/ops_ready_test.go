package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readyStatus asks /readyz for the status in words and the reasons.
func (g *Gateway) readyStatus(t *testing.T) (code int, status, reasons string) {
	t.Helper()
	resp, err := http.Get(g.AdminURL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Status  string
		Reasons []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body.Status, strings.Join(body.Reasons, "; ")
}

func TestReadyMeansThatAnAccountCouldServe(t *testing.T) {
	g := startWith(t, nil, nil)
	code, status, why := g.readyStatus(t)
	if code != 503 || status != "not_ready" || !strings.Contains(why, "there is no account: add one") {
		t.Errorf("without an account: %d %s %s", code, status, why)
	}
	if out, err := g.CLI("", "status", "--ready"); err == nil || !strings.Contains(out, "there is no account") {
		t.Errorf("status --ready: %v: %s", err, out)
	}
	if err := g.Add("claude-1", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(
		t,
		5*time.Second,
		"it is ready",
		func() bool { code, status, _ = g.readyStatus(t); return code == 200 && status == "ready" },
	)
	served(t, g.post(t, ""), "")
	g.Provider.Kill("claude-1")
	if out, err := g.CLI("", "accounts", "refresh", "claude-1", "--force"); err == nil {
		t.Errorf("refreshed: %s", out)
	}
	g.cli(t, "accounts", "pause", "claude-1")
	eventually(t, 5*time.Second, "it says that nobody can serve", func() bool {
		code, status, why = g.readyStatus(t)
		return code == 200 && status == "degraded" && strings.Contains(why, "none of 1 accounts can serve now (1 paused)")
	})
	_ = g.Service().Process.Signal(terminate)
	if err := g.Service().Wait(); err != nil {
		t.Fatal(err)
	}
	g.accounts = 0 // it is not to be ready
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if code, status, why = g.readyStatus(t); code != 503 || status != "not_ready" || !strings.Contains(why, "(1 paused)") {
		t.Errorf("after a restart: %d %s %s", code, status, why)
	}
}

func TestRecordsOfAnotherKeyMakeNothingReadyAndNothingValid(t *testing.T) {
	g := startWith(t, apart, one)
	g.damage(t, "claude-1")
	_ = g.Service().Process.Signal(terminate)
	_ = g.Service().Wait()
	g.accounts = 0
	if err := errors.Join(g.StartService(), g.ready()); err != nil {
		t.Fatal(err)
	}
	if code, status, why := g.readyStatus(t); code != 503 || status != "not_ready" ||
		!strings.Contains(why, "1 config_error") {
		t.Errorf("got %d %s %s", code, status, why)
	}
	out, err := g.CLI("", "check", "--online")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 4 || !strings.Contains(out, "claude-1") ||
		!strings.Contains(out, "config_error") {
		t.Errorf("check --online: %v: %s", err, out)
	}
}

func TestCheckOnlineIsNotContentWithATokenURLThatLeadsNowhere(t *testing.T) {
	g := startWith(t, nil, one)
	out := g.cli(t, "check", "--online")
	for _, want := range []string{"is open", "1, nothing is wrong", "can be written", "/v1/oauth/token answers", "the configuration is valid"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	nothing := httptest.NewServer(http.NotFoundHandler())
	defer nothing.Close()
	g.replace(t, g.Provider.URL()+"/v1/oauth/token", nothing.URL+"/v1/oauth/token")
	out, err := g.CLI("", "check", "--online")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "answers 404") ||
		strings.Contains(out, "is valid") {
		t.Errorf("got %v: %s", err, out)
	}
}

func TestTheLogTellsARequestsStoryUnderTheIdThatItsClientGot(t *testing.T) {
	g := start(t, apart)
	a := g.post(t, "status=401")
	served(t, a, "")
	id := a.Header.Get("x-request-id")
	var told []string
	for line := range strings.Lines(g.Log.String()) {
		var e struct {
			TS, Msg, Event string
			RequestID      string `json:"request_id"`
			Attempt        int
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.Event == "" {
			continue
		}
		if _, err := time.Parse(time.RFC3339, e.TS); err != nil {
			t.Errorf("the time of a record: %v", err)
		}
		if e.Msg == e.Event || !strings.Contains(e.Msg, " ") {
			t.Errorf("%s says %q", e.Event, e.Msg)
		}
		if e.RequestID == id && id != "" {
			told = append(told, fmt.Sprint(e.Event, " ", e.Attempt))
		}
	}
	if got := strings.Join(told, ", "); !strings.Contains(got, "upstream_classified 1") ||
		!strings.Contains(got, "retry_decided 1") {
		t.Errorf("of request %s the log tells: %s", id, got)
	}
	if strings.Contains(g.Log.String(), `"expires_at":-`) {
		t.Error("an instant is told as a negative number")
	}
}

func TestCountersOfWhatHasNotHappenedYetAreThere(t *testing.T) {
	g := start(t, nil)
	m := g.metrics(t)
	for _, want := range []string{
		`tokenward_requests_total{result="failed",route="messages"} 0`, `tokenward_attempts_total{route="messages",upstream="backup",verdict="token_rejected"} 0`,
		`tokenward_refreshes_total{class="refused_permanent",provider="sim",result="failed",trigger="response"} 0`,
		`tokenward_account_attempts_total{account="claude-1"} 0`, `tokenward_account_failovers_total{account="backup-1"} 0`, `tokenward_build_info{commit=`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("%s is missing", want)
		}
	}
	served(t, g.post(t, ""), "")
	sum := g.gauge(
		t,
		`tokenward_account_attempts_total{account="claude-1"}`,
	) + g.gauge(
		t,
		`tokenward_account_attempts_total{account="claude-2"}`,
	)
	expect(t, "attempts of both accounts", sum, 1)
}

// terminal is a pseudo terminal: what is written at the one end is read at the other.
func terminal(t *testing.T) (screen, end *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	end, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, end
}

func TestRunAtATerminalSaysWhereEverythingIsAndItsLogShowsNoToken(t *testing.T) {
	g := start(t, nil)
	if !strings.Contains(g.Log.String(), `"gateway":"`+g.URL+`"`) || strings.Contains(g.Log.String(), g.Token) {
		t.Errorf("without a terminal the log says where: %s", g.Log)
	}
	_ = g.Service().Process.Signal(terminate)
	_ = g.Service().Wait()
	screen, end := terminal(t)
	g.service = exec.Command(g.Opts.Binary, "run", "--envoy", g.Opts.Envoy, "-c", g.config())
	g.service.Stdout, g.service.Stderr = end, g.Log
	if err := g.service.Start(); err != nil {
		t.Fatal(err)
	}
	_ = end.Close()
	shown := &Output{}
	go func() { _, _ = io.Copy(shown, screen) }()
	for _, want := range []string{"gateway  " + g.URL, "page     " + g.AdminURL + "/#token=" + g.Token, "try      curl -i "} {
		eventually(t, 15*time.Second, want, func() bool { return strings.Contains(shown.String(), want) })
	}
	line := regexp.MustCompile(`try +(curl .*)\r\n`).FindStringSubmatch(shown.String())
	if line == nil {
		t.Fatal(shown)
	}
	out, err := exec.Command("sh", "-c", line[1]+" -s -o "+filepath.Join(t.TempDir(), "x")+" -w '%{http_code}'").Output()
	if err != nil || len(out) != 3 || strings.HasPrefix(string(out), "5") {
		t.Errorf("%s: %s %v", line[1], out, err)
	}
}
