package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/internal/testkit"
)

// ask returns what h answers, as to a browser at http://localhost.
func ask(h http.Handler, method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestPage: it may run its own script and style, and nothing that a part reports.
func TestPage(t *testing.T) {
	h := mustNew(t, nil, status.Options{Name: "gw<1>"})
	w := ask(h, "GET", "http://localhost/", nil)
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q has no %s", policy, want)
		}
	}
	body := w.Body.String()
	if w.Code != 200 || !strings.Contains(body, "<title>gw&lt;1&gt;</title>") {
		t.Errorf("%d %.300s", w.Code, body)
	}
	for _, never := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		if strings.Contains(body, never) {
			t.Errorf("it has %s, by which a report could become more than text", never)
		}
	}
	for _, path := range []string{"/", "/events", "/status.json"} {
		if w := ask(h, "GET", "http://stranger.example"+path, nil); w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%s under a stranger's name: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/explain?url=http://a/", "/metrics", "/nothing"} {
		if w := ask(h, "GET", "http://localhost"+path, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := ask(h, "POST", "http://localhost/act", url.Values{}); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("an order that nobody may give: %d", w.Code)
	}
}

// nextEvent reads the next event, that of plots aside, and returns its name.
func nextEvent(t *testing.T, in *bufio.Scanner, data any) (name string) {
	t.Helper()
	for in.Scan() {
		if after, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			name = after
		}
		text, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		if name == "plots" {
			name = ""
			continue
		}
		if err := json.Unmarshal([]byte(text), data); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return name
	}
	t.Fatal("no more events")
	return ""
}

func TestEvents(t *testing.T) {
	h := mustNew(t, []health.Reporter{part{Kind: "cache", Name: "pages", State: health.Up}}, status.Options{})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close) // once nobody reads any more
	open := func() *http.Response {
		res, err := http.Get(srv.URL + "/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	res := open()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
	in := bufio.NewScanner(res.Body)
	for range 2 {
		var got struct{ Parts []struct{ Name string } }
		if name := nextEvent(t, in, &got); name != "" || len(got.Parts) != 1 || got.Parts[0].Name != "pages" {
			t.Errorf("%s %+v", name, got)
		}
	}
	for range 15 {
		if res := open(); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	if res := open(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one page too many: %s", res.Status)
	}
}

// front tells what it is asked.
type front struct{ http.Handler }

func (front) Explain(r *http.Request) health.Decision {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return health.Decision{Part: "front", Verdict: r.Method + " " + scheme + " " + r.Host + " " + r.RequestURI, Why: r.RemoteAddr + " " + r.Header.Get("Cookie") + " " + r.Header.Get("Accept")}
}

func TestExplain(t *testing.T) {
	h := mustNew(t, nil, status.Options{Explain: front{}})
	for query, want := range map[string]string{
		"method=PURGE&url=https://shop.example/a%3Fb%3Dc%23d&client=2001:db8::1&cookie=sid%3D1&header=Accept:+text/html": "PURGE https shop.example /a?b=c | [2001:db8::1]:1 sid=1 text/html",
		"url=http://u:p@shop.example":         "GET http shop.example / | 127.0.0.1:1  ",
		"url=/a":                              "400 want one such as",
		"url=ftp://a/":                        "400 want one such as",
		"url=http://a/&client=web1":           "400 want an address",
		"url=http://a/&header=Accept":         "400 want a field",
		"url=http://a/&header=A:+b%0d%0ac:+d": "400 want a field",
		"method=A+B&url=http://a/":            "400 no request",
		"url=http://a%00/":                    "400 no request",
		"url=http://a/&method=":               "GET http a / | 127.0.0.1:1  ",
		"url=" + url.QueryEscape("http://a/"+strings.Repeat("x", 100)): "GET http a /" + strings.Repeat("x", 100) + " | 127.0.0.1:1  ",
	} {
		w := ask(h, "GET", "http://localhost/explain?"+query, nil)
		var d health.Decision
		got := w.Body.String()
		if w.Code == 200 {
			if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
				t.Error(err)
			}
			got = d.Verdict + " | " + d.Why
		}
		if status, words, bad := strings.Cut(want, "400 "); bad && status == "" {
			if w.Code != 400 || !strings.Contains(got, words) {
				t.Errorf("%s: %d %s", query, w.Code, got)
			}
		} else if got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	if _, err := status.New(nil, status.Options{Explain: (*front)(nil)}); err == nil {
		t.Error("a nil front is taken")
	}
}

// A crew is a pool that notes what it is told.
type crew struct {
	mu   sync.Mutex
	told []string // guarded by mu
}

func (c *crew) Report() health.Report {
	return health.Report{Kind: "pool", Name: "apps", Parts: []health.Report{{Kind: "backend", Name: "web1", Verbs: []string{"drain"}}}}
}

func (c *crew) Act(_ context.Context, part, verb, arg string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, verb+" "+part+" "+arg)
	if arg == "no" {
		return errors.New("pool: not now")
	}
	return nil
}

func TestAct(t *testing.T) {
	var log testkit.Log
	pool := new(crew)
	h := mustNew(t, []health.Reporter{pool}, status.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Act: func(r *http.Request) error {
		if r.Header.Get("Authorization") != "yes" {
			return errors.New("who are you?")
		}
		if name := r.Header.Get("User"); name != "" {
			r.RemoteAddr = name
		}
		return nil
	}})
	order := func(kind, name, part, verb, arg string) url.Values {
		return url.Values{"kind": {kind}, "name": {name}, "part": {part}, "verb": {verb}, "arg": {arg}}
	}
	for _, c := range []struct {
		form   url.Values
		header []string
		status int
	}{
		{order("pool", "apps", "web1", "drain", ""), nil, 403},
		{order("pool", "apps", "web1", "drain", ""), []string{"Authorization", "yes", "Origin", "http://stranger.example"}, 403},
		{order("pool", "apps", "web1", "drain", ""), []string{"Authorization", "yes", "Sec-Fetch-Site", "cross-site"}, 403},
		{order("pool", "apps", "web1", "drain", ""), []string{"Authorization", "yes", "Host", "stranger.example"}, 200}, // the recorder's Host is the URL's
		{order("pool", "apps", "web2", "drain", ""), []string{"Authorization", "yes"}, 409},
		{order("pool", "apps", "web1", "stop", ""), []string{"Authorization", "yes"}, 409},
		{order("cache", "apps", "web1", "drain", ""), []string{"Authorization", "yes"}, 409},
		{order("pool", "apps", "web1", "drain", "no"), []string{"Authorization", "yes", "User", "anna"}, 409},
		{order("pool", "apps", "web1", "drain", strings.Repeat("x", 17<<10)), []string{"Authorization", "yes"}, 400},
	} {
		if w := ask(h, "POST", "http://localhost/act", c.form, c.header...); w.Code != c.status {
			t.Errorf("%v %v: %d %s", c.form, c.header, w.Code, w.Body)
		}
	}
	if w := ask(h, "POST", "http://stranger.example/act", order("pool", "apps", "web1", "drain", ""), "Authorization", "yes"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("under a stranger's name: %d", w.Code)
	}
	if got := strings.Join(pool.told, ", "); got != "drain web1 , drain web1 no" {
		t.Errorf("told %q", got)
	}
	for _, want := range []string{`msg=act verb=drain pool=apps of=web1`, `from=anna cause="pool: not now"`, `level=WARN`, `it does drain"`, `msg="act refused" from=192.0.2.1:1234 cause="who are you?"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log: %s", want, log.String())
		}
	}
	if strings.Count(log.String(), "act refused") != 1 {
		t.Errorf("logged %s", log.String())
	}
	// What was ordered is told as well, and no more than a page shows.
	var told []string
	for _, e := range h.Report().Events {
		told = append(told, e.Text)
	}
	if want := []string{
		"drain web1 of pool apps, by 192.0.2.1:1234",
		`drain web2 of pool apps, by 192.0.2.1:1234, refused: status: pool "apps" does no "drain" to "web2": it does nothing`,
		`stop web1 of pool apps, by 192.0.2.1:1234, refused: status: pool "apps" does no "stop" to "web1": it does drain`,
		`drain web1 of cache apps, by 192.0.2.1:1234, refused: status: there is no cache "apps": /status.json lists all parts, with their verbs`,
		"drain web1 no of pool apps, by anna, refused: pool: not now",
	}; !slices.Equal(told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	for range 60 {
		ask(h, "POST", "http://localhost/act", order("pool\xff", "", strings.Repeat("x", 1000), "\x00", "<b>"), "Authorization", "yes")
	}
	if events := h.Report().Events; len(events) != 50 || len(events[49].Text) > 2000 || !utf8.ValidString(events[49].Text) {
		t.Errorf("%d events, %q", len(events), events[len(events)-1].Text)
	}
	for range 20 {
		ask(h, "POST", "http://localhost/act", order("pool", "apps", "web1", "drain", ""))
	}
	if n := strings.Count(log.String(), "act refused"); n > 7 {
		t.Errorf("a stranger has had %d lines written", n)
	}
}

// TestServer serves until its context ends, pages that are open too.
func TestServer(t *testing.T) {
	l := testkit.Listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- status.Server{Listener: l, Handler: mustNew(t, nil, status.Options{})}.Run(ctx) }()
	res, err := http.Get("http://" + l.Addr().String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // which ends, however
}
