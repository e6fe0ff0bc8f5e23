package balancer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/health"
)

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
