package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/testkit"
)

// nameServer is one without a network.
type nameServer struct {
	mu    sync.Mutex
	addrs []string
	srv   []*net.SRV
	err   error
	asked int
}

func (n *nameServer) LookupHost(context.Context, string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.addrs, n.err
}

func (n *nameServer) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return "", n.srv, n.err
}

func (n *nameServer) set(err error, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.addrs = err, addrs
}

func listed(p *Pool) string {
	var out []string
	for _, s := range p.Backends() {
		out = append(out, fmt.Sprintf("%s*%d/%d", s.Name, s.Weight, s.Tier))
	}
	return strings.Join(out, " ")
}

func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameServer{addrs: []string{"10.0.0.2", "10.0.0.1", "2001:db8::1"}}
		p := newPool(t, nil, Options{Source: source{pool.DNS{URL: "http://apps.internal:8080", Schemes: schemes, Every: 30 * time.Second, Resolver: server}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		want := func(what, backends string) {
			t.Helper()
			synctest.Wait()
			if got := listed(p); got != backends {
				t.Errorf("%s: got %s, want %s", what, got, backends)
			}
		}
		const all = "10.0.0.1:8080*1/0 10.0.0.2:8080*1/0 [2001:db8::1]:8080*1/0"
		want("at once", all)
		kept := p.view.Snap.Load().ByName("10.0.0.1:8080").Member
		for what, fails := range map[string]func(){
			"an error":        func() { server.set(errors.New("no server")) },
			"an empty answer": func() { server.set(nil) },
		} {
			fails()
			time.Sleep(31 * time.Second)
			want(what, all)
		}
		server.set(nil, "10.0.0.1", "10.0.0.3")
		time.Sleep(31 * time.Second)
		want("a change", "10.0.0.1:8080*1/0 10.0.0.2:8080*1/0 10.0.0.3:8080*1/0 [2001:db8::1]:8080*1/0")
		time.Sleep(60 * time.Second)
		want("a change that lasts", "10.0.0.1:8080*1/0 10.0.0.3:8080*1/0")
		if p.view.Snap.Load().ByName("10.0.0.1:8080").Member != kept {
			t.Error("a backend that stayed was forgotten")
		}
		if server.asked != 6 {
			t.Errorf("asked %d times in two and a half minutes", server.asked)
		}
		server.set(nil, "10.0.0.8", "10.0.0.9")
		time.Sleep(31 * time.Second)
		want("a move", "10.0.0.8:8080*1/0 10.0.0.9:8080*1/0")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDNSTellsAFewOfMany holds that answers that name three of six in turn throw
// nobody's state away.
func TestDNSTellsAFewOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameServer{addrs: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}}
		p := newPool(t, nil, Options{Source: source{pool.DNS{URL: "http://apps.internal:8080", Schemes: schemes, Every: 30 * time.Second, Resolver: server}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		before := p.view.Snap.Load().All
		for i := range 10 {
			n := i % 2 * 3
			server.set(nil, fmt.Sprintf("10.0.0.%d", n+1), fmt.Sprintf("10.0.0.%d", n+2), fmt.Sprintf("::ffff:10.0.0.%d", n+3))
			time.Sleep(30 * time.Second)
			synctest.Wait()
			for _, e := range before {
				if now := p.view.Snap.Load().ByName(e.Name); now == nil || now.Member != e.Member {
					t.Fatalf("after answer %d %s is another", i, e.Name)
				}
			}
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if got := len(p.Backends()); got != 3 {
			t.Errorf("%d are left of what was told for long, want 3", got)
		}
		cancel()
		<-done
	})
}

// TestFirstLookupFails holds that a name server that comes up a little later
// costs a little.
func TestFirstLookupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &nameServer{err: errors.New("no server")}
		p := newPool(t, nil, Options{Source: source{pool.DNS{URL: "http://apps.internal:8080", Schemes: schemes, Every: 30 * time.Second, Resolver: server}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(2 * time.Second)
		server.set(nil, "10.0.0.1")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := listed(p); got != "10.0.0.1:8080*1/0" {
			t.Errorf("four seconds later: %q", got)
		}
		server.set(errors.New("no server"))
		synctest.Wait()
		server.mu.Lock()
		before := server.asked
		server.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		server.mu.Lock()
		if n := server.asked - before; n > 2 {
			t.Errorf("asked %d times a minute, with backends in hand", n)
		}
		server.mu.Unlock()
		cancel()
		<-done
	})
}

// TestDNSLeavesOutWhatIsWrong holds that one target that cannot be used does not
// cost the others, and that capitals make no other backend.
func TestDNSLeavesOutWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testkit.Log
		good := &net.SRV{Target: "a.internal.", Port: 80, Priority: 10, Weight: 5}
		server := &nameServer{srv: []*net.SRV{good}}
		p := newPool(t, nil, Options{Logger: log.Logger(), Source: source{pool.DNS{URL: "http+srv://_http._tcp.apps.internal", Schemes: schemes, Every: 30 * time.Second, Resolver: server}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		before := p.view.Snap.Load().ByName("a.internal:80").Member
		for what, srv := range map[string][]*net.SRV{
			"capitals":            {{Target: "A.Internal.", Port: 80, Priority: 10, Weight: 5}},
			"a name that is none": {good, {Target: "b c.internal.", Port: 80, Priority: 10}},
			"nobody":              {good, {Target: ".", Port: 0, Priority: 20}},
			"no port":             {good, {Target: "b.internal.", Port: 0, Priority: 10}},
			"escapes":             {good, {Target: "%zz.internal.", Port: 80, Priority: 10}},
			"twice":               {good, {Target: "A.internal.", Port: 80, Priority: 10, Weight: 5}},
		} {
			server.mu.Lock()
			server.srv = srv
			server.mu.Unlock()
			time.Sleep(31 * time.Second)
			synctest.Wait()
			if got := listed(p); got != "a.internal:80*5/0" || p.view.Snap.Load().ByName("a.internal:80").Member != before {
				t.Errorf("%s: got %s", what, got)
			}
		}
		// As package net does it with an invalid name.
		server.mu.Lock()
		server.srv, server.err = []*net.SRV{good, {Target: "b.internal.", Port: 80, Priority: 10, Weight: 5}}, &net.DNSError{Err: "SRV target is invalid", Name: "x"}
		server.mu.Unlock()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := listed(p); got != "a.internal:80*5/0 b.internal:80*5/0" {
			t.Errorf("records beside an error: got %s", got)
		}
		if told := log.String(); !strings.Contains(told, "left out") || !strings.Contains(told, "SRV target is invalid") || !strings.Contains(told, "nobody is there") {
			t.Errorf("the log says %s", told)
		}
		cancel()
		<-done
	})
}

// TestCapitalsAreNoOtherBackend holds the same for [Pool.Update].
func TestCapitalsAreNoOtherBackend(t *testing.T) {
	p := newPool(t, Backends("http://Web1.internal:8080/Shop"), Options{})
	before := p.Backends()[0].Name
	member := p.view.Snap.Load().ByName(before).Member
	if err := p.Update(Backends("http://web1.INTERNAL:8080/Shop")); err != nil {
		t.Fatal(err)
	}
	if e := p.view.Snap.Load().ByName("web1.internal:8080"); before != "web1.internal:8080" || e == nil || e.Member != member {
		t.Errorf("%s became another: %v", before, listed(p))
	}
	if err := p.Update(Backends("http://web1.internal:8080/shop")); err != nil {
		t.Fatal(err)
	}
	if p.view.Snap.Load().ByName("web1.internal:8080").Member == member {
		t.Error("another path is the same backend")
	}
}

func TestDNSOfServices(t *testing.T) {
	server := &nameServer{srv: []*net.SRV{
		{Target: "b.internal.", Port: 81, Priority: 20, Weight: 0},
		{Target: "a.internal.", Port: 80, Priority: 10, Weight: 5},
	}}
	got, err := source{pool.DNS{URL: "h2c+srv://_http._tcp.apps.internal/shop", Schemes: schemes, Every: 0, Resolver: server}}.Look(context.Background())
	if err != nil || len(got) != 2 || got[0].URL != "h2c://a.internal:80/shop" || got[0].Weight != 5 || got[0].Tier != 0 ||
		got[1].URL != "h2c://b.internal:81/shop" || got[1].Weight != 1 || got[1].Tier != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if d := DNS("http://web", 0).(source); d.Every != 30*time.Second {
		t.Errorf("looked up every %v", d.Every)
	}
}
