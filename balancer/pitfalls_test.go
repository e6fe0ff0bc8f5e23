package balancer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// What the users of other balancers were hit by, one test each. What becomes of
// connections is tested with TCP.

// Seen in caddy #5454, traefik #1008.
func TestADialErrorLeavesTheBodyToTheNext(t *testing.T) {
	var got atomic.Value
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close() // as a transport does that cannot connect
		return refused(r)
	}), inprocess.Transport{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.Store(string(b))
	})})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 200 || got.Load() != "order" {
		t.Errorf("got %d, the second backend %v", w.Code, got.Load())
	}
}

// Seen in golang/go #65123. See also TestASlowBodyDoesNotHoldUpItsRepeat.
func TestEachAttemptHasARequestOfItsOwn(t *testing.T) {
	var first *http.Request
	backends, way := ways(roundTrip(func(r *http.Request) (*http.Response, error) {
		first = r
		return refused(r)
	}), roundTrip(func(r *http.Request) (*http.Response, error) {
		if r == first || r.URL == first.URL {
			t.Error("the second attempt uses the request of the first")
		}
		return status(200).RoundTrip(r)
	}))
	get(newPool(t, backends, Options{Transport: way, Policy: RoundRobin()}), "GET", "/", nil)
}

// Seen in traefik #1007, caddy #4245.
func TestARetryGoesElsewhere(t *testing.T) {
	for range 50 {
		var tried [2]int
		backends, way := ways(
			roundTrip(func(r *http.Request) (*http.Response, error) { tried[0]++; return refused(r) }),
			roundTrip(func(r *http.Request) (*http.Response, error) { tried[1]++; return refused(r) }))
		get(newPool(t, backends, Options{Transport: way}), "GET", "/", nil)
		if tried != [2]int{1, 1} {
			t.Fatalf("tried %v", tried)
		}
	}
}

// Seen in traefik #1104.
func TestAnOrderIsNotExecutedTwice(t *testing.T) {
	var orders atomic.Int32
	execute := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		orders.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close() // and the answer is lost
		}
	})
	a, b := httptest.NewServer(execute), httptest.NewServer(execute)
	defer a.Close()
	defer b.Close()
	p := newPool(t, Backends(a.URL, b.URL), Options{})
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 502 || orders.Load() != 1 {
		t.Errorf("got %d, executed %d times", w.Code, orders.Load())
	}
}

// Seen in traefik #3237, golang/go #22158. See also package http1.
func TestAStaleConnectionIsNo502(t *testing.T) {
	// It closes each connection after one answer, and does not say so.
	url, _ := testkit.HTTPBackend(t, testkit.Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	p := newPool(t, Backends(url), Options{Retry: Retry{Max: -1}})
	for i := range 200 {
		if w := get(p, "GET", "/", nil); w.Code != 200 {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
}

// Seen in caddy #7396. See TestClientGoneIsNobodysFault for the rest.
func TestNothingIsRetriedForAClientThatLeft(t *testing.T) {
	var asked atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan bool)
	defer close(release)
	h := func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		cancel()
		<-release
	}
	p := newPool(t, here(h, h), Options{})
	w := get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if w.Code != 499 || asked.Load() != 1 {
		t.Errorf("got %d, asked %d times", w.Code, asked.Load())
	}
}

// The black hole of AWS' "Implementing health checks".
func TestFailingFastDrawsNoTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Millisecond) }
		backends, way := ways(inprocess.Transport{Handler: http.HandlerFunc(page)}, inprocess.Transport{Handler: http.HandlerFunc(page)}, status(503))
		p := newPool(t, backends, Options{Transport: way, Outlier: health.Outlier{Consecutive: -1, MinSuccess: -1}})
		for range 100 {
			get(p, "GET", "/", nil)
		}
		if n := p.Backends()[2].Requests; n > 10 {
			t.Errorf("%d of 100 requests went to the one that fails at once", n)
		}
	})
}

// Seen in traefik #12306.
func TestAnOldLatencyStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		page := func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Millisecond) }
		p := newPool(t, here(func(http.ResponseWriter, *http.Request) {
			time.Sleep(10 * time.Millisecond)
			if slow.Load() {
				time.Sleep(time.Second)
			}
		}, page, page), Options{})
		run := func(n int) uint64 {
			before := p.Backends()[0].Requests
			for range n {
				get(p, "GET", "/", nil)
			}
			return p.Backends()[0].Requests - before
		}
		run(60)
		slow.Store(true)
		if n := run(100); n > 10 {
			t.Errorf("while it is slow it gets %d of 100", n)
		}
		slow.Store(false)
		time.Sleep(20 * time.Second)
		if n := run(300); n < 60 {
			t.Errorf("when it is well again it gets %d of 300", n)
		}
	})
}

// Seen in traefik #9297.
func TestOneFailedProbeRemovesNobody(t *testing.T) {
	if got, want := (health.Schedule{}).WithDefaults().Fall, 3; got != want {
		t.Errorf("Fall is %d", got)
	}
	tr := tracker.New(health.Schedule{}, health.Outlier{}, true)
	now := time.Unix(1, 0)
	tr.Probed(now, health.Result{State: health.Up}, nil)
	for range 10 {
		tr.Probed(now, health.Result{State: health.Degraded}, nil)
		tr.Probed(now, health.Result{State: health.Degraded}, nil)
		tr.Probed(now, health.Result{State: health.Up}, nil)
	}
	if s := tr.Verdict(now).State; s != health.Up {
		t.Errorf("two bad probes in a row made it %v", s)
	}
}

// Seen in caddy #6410.
func TestWhoHasNotPassedItsFirstProbeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(servedBy("a"), servedBy("b"), servedBy("c")), Options{
			Probe: health.ProbeFunc(func(ctx context.Context, to health.Target) (health.Result, error) {
				if to.Name == "c" { // takes its time to start
					<-ctx.Done()
					return health.Result{}, ctx.Err()
				}
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		if err := p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 30 {
			if got := get(p, "GET", "/", nil).Body.String(); got == "c" {
				t.Fatal("one that has not answered its first probe gets requests beside others that have")
			}
		}
		cancel()
		<-done
	})
}

// Sequential loops in Traefik and Pingora.
func TestOneThatHangsDelaysNobodysProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{
			Probe: health.ProbeFunc(func(ctx context.Context, to health.Target) (health.Result, error) {
				if to.Name == "a" {
					<-ctx.Done()
					return health.Result{}, ctx.Err()
				}
				probes.Add(1)
				return health.Result{State: health.Up}, nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Minute)
		if n := probes.Load(); n < 10 {
			t.Errorf("%d probes in a minute, want one about every five seconds", n)
		}
		cancel()
		<-done
	})
}

// nginx' "no live upstreams".
func TestHalfOfAPoolStays(t *testing.T) {
	backends, way := ways(status(503), status(503), status(503), status(503))
	p := newPool(t, backends, Options{Transport: way})
	for i := range 200 {
		if w := get(p, "GET", fmt.Sprint("/", i%7), nil, from(i)); w.Code != 503 || w.Header().Get("X-Content-Type-Options") != "" {
			t.Fatalf("answered by the tier itself: %d %v", w.Code, w.Header())
		}
	}
	out := 0
	for _, s := range p.Backends() {
		if s.State == health.Degraded {
			out++
		}
	}
	if out != 2 {
		t.Errorf("%d of 4 are out, want half", out)
	}
}

// Seen in envoy #28304.
func TestTheDeadGetNothingWhenFewAreLeft(t *testing.T) {
	var dead atomic.Int32
	refuses := roundTrip(func(r *http.Request) (*http.Response, error) { dead.Add(1); return refused(r) })
	backends, way := ways(refuses, refuses, refuses, inprocess.Transport{Handler: servedBy("d")})
	p := newPool(t, backends, Options{Transport: way})
	for range 20 {
		get(p, "GET", "/", nil)
	}
	before := dead.Load()
	for range 100 {
		if w := get(p, "GET", "/", nil); w.Code != 200 {
			t.Fatalf("got %d", w.Code)
		}
	}
	if n := dead.Load() - before; n != 0 {
		t.Errorf("with one of four left, %d requests were tried at those that refuse", n)
	}
}

// Pingora resets the health of a server that gets a new weight.
func TestANewWeightKeepsHealth(t *testing.T) {
	backends, way := ways(refused, inprocess.Transport{Handler: servedBy("b")})
	p := newPool(t, backends, Options{Transport: way, Policy: RoundRobin()})
	for range 10 {
		get(p, "GET", "/", nil)
	}
	backends[0].Weight = 7
	if err := p.Update(backends); err != nil {
		t.Fatal(err)
	}
	if s := p.Backends()[0]; s.State != health.Down || s.Weight != 7 {
		t.Errorf("%v, weight %d", s.State, s.Weight)
	}
}

// Seen in traefik #1299. The cookie of a 101 is tested in TestWebsocket.
func TestNobodyStaysBoundToAServerThatIsGone(t *testing.T) {
	p := newPool(t, here(servedBy("a"), servedBy("b")), Options{Affinity: cookie{}})
	if err := p.Update([]Backend{{Name: "b", Handler: servedBy("b")}}); err != nil {
		t.Fatal(err)
	}
	w := get(p, "GET", "/", nil, header("Cookie", "at=a"))
	if w.Code != 200 || w.Header().Get("Set-Cookie") != "at=b" {
		t.Errorf("got %d, %q", w.Code, w.Header().Get("Set-Cookie"))
	}
}

// Seen in caddy #5471, #6420.
func TestAnUpdateCutsNoWebsocket(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		for {
			kind, msg, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, msg) != nil {
				return
			}
		}
	}))
	defer back.Close()
	p := newPool(t, Backends(back.URL), Options{})
	front := httptest.NewServer(p)
	defer front.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || string(got) != "still here" {
		t.Errorf("%q, %v", got, err)
	}
	_ = c.CloseNow()
}

// Seen in golang/go #23427. That connections are not kept for ever is tested in
// package http1: TestClosesWhatIdlesAndWhatIsOld.
func TestARemovedAddressGetsNothingMore(t *testing.T) {
	a, b := httptest.NewServer(servedBy("a")), httptest.NewServer(servedBy("b"))
	defer a.Close()
	defer b.Close()
	at := func(url string) []Backend { return []Backend{{Name: "web", URL: url}} }
	p := newPool(t, at(a.URL), Options{})
	first := get(p, "GET", "/", nil).Body.String()
	if err := p.Update(at(b.URL)); err != nil {
		t.Fatal(err)
	}
	if second := get(p, "GET", "/", nil).Body.String(); first != "a" || second != "b" {
		t.Errorf("served by %s, and after the name moved by %s", first, second)
	}
}

// Seen in golang/go #50580, CVE-2026-39825. See also TestForwarded. ReverseProxy
// drops parameters that Go cannot parse, for proxies that judge parameters; no
// rule here does, and to backends they are as good as others.
func TestAClientSmugglesNoFieldAndLosesNoQuery(t *testing.T) {
	var got *http.Request
	p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { got = r }), Options{})
	get(p, "GET", "/?a=1;b=2&c=%zz&d=4", nil, header("Connection", "X-Forwarded-For, Cookie"), header("Cookie", "cart=1"))
	if got.URL.RawQuery != "a=1;b=2&c=%zz&d=4" {
		t.Errorf("query: got %q, which nobody sent", got.URL.RawQuery)
	}
	if got.Header.Get("X-Forwarded-For") == "" {
		t.Error("Connection took X-Forwarded-For away")
	}
}

// Seen in golang/go #28239, #27816, #40747. See also TestABrokenBodyAbortsTheClient
// and TestEventsAreNotHeldBack.
func TestAnAnswerBeforeTheEndOfTheRequestArrives(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		fmt.Fprint(w, "too large")
	}))
	defer back.Close()
	front := httptest.NewServer(newPool(t, Backends(back.URL), Options{}))
	defer front.Close()
	body, feed := io.Pipe()
	go func() {
		_, _ = feed.Write(make([]byte, 1<<16)) // and it goes on for ever
	}()
	res, err := http.Post(front.URL, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_ = feed.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 413 || string(b) != "too large" {
		t.Errorf("got %d %q", res.StatusCode, b)
	}
	if !res.Close {
		t.Error("the connection goes on, with half a request on it")
	}
}

// What is left of a request that was answered early is no next request.
func TestTheRestOfARequestIsNoRequest(t *testing.T) {
	var paths atomic.Value
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths.Store(r.URL.Path)
		_ = http.NewResponseController(w).EnableFullDuplex() // to answer at once
		w.WriteHeader(http.StatusForbidden)
		_ = http.NewResponseController(w).Flush()
	}))
	defer back.Close()
	front := httptest.NewServer(newPool(t, Backends(back.URL), Options{}))
	defer front.Close()
	conn := testkit.Dial(t, front.Listener.Addr().String())
	defer conn.Close()
	_, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 403 || !res.Close {
		t.Fatalf("got %v, %v", res, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_, _ = io.WriteString(conn, "zz\r\nGET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	if rest, _ := io.ReadAll(in); len(rest) > 0 || paths.Load() != "/upload" {
		t.Errorf("then it answered %q, and the backend got %v", rest, paths.Load())
	}
}

// TestOneThatRefusedIsTriedWhenAllOthersDo: of a quick restart of both, one after
// the other, nothing is lost.
func TestOneThatRefusedIsTriedWhenAllOthersDo(t *testing.T) {
	var downA, downB atomic.Bool
	way := func(down *atomic.Bool, name string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return refused.RoundTrip(r)
			}
			return inprocess.Transport{Handler: servedBy(name)}.RoundTrip(r)
		})
	}
	backends, transport := ways(way(&downA, "a"), way(&downB, "b"))
	p := newPool(t, backends, Options{Transport: transport, Policy: RoundRobin()})
	downA.Store(true)
	for range 10 {
		if w := get(p, "POST", "/", nil); w.Body.String() != "b" {
			t.Fatalf("while a is down: %d %s", w.Code, w.Body)
		}
	}
	if s := p.Backends()[0]; s.State != health.Down {
		t.Fatalf("a is %v", s.State)
	}
	downA.Store(false)
	downB.Store(true)
	if w := get(p, "POST", "/", nil); w.Body.String() != "a" {
		t.Errorf("a is back and b down: %d %s", w.Code, w.Body)
	}
}
