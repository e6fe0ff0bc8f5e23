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
		p := newPool(t, nil, Options{Source: dns{"http://apps.internal:8080", 30 * time.Second, server}})
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
		kept := p.snap.Load().byName["10.0.0.1:8080"].member
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
		want("a change", "10.0.0.1:8080*1/0 10.0.0.3:8080*1/0")
		if p.snap.Load().byName["10.0.0.1:8080"].member != kept {
			t.Error("a backend that stayed was forgotten")
		}
		if server.asked != 4 {
			t.Errorf("asked %d times in a minute and a half", server.asked)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDNSOfServices(t *testing.T) {
	server := &nameServer{srv: []*net.SRV{
		{Target: "b.internal.", Port: 81, Priority: 20, Weight: 0},
		{Target: "a.internal.", Port: 80, Priority: 10, Weight: 5},
	}}
	got, err := dns{"h2c+srv://_http._tcp.apps.internal/shop", 0, server}.look(context.Background())
	if err != nil || len(got) != 2 || got[0].URL != "h2c://a.internal:80/shop" || got[0].Weight != 5 || got[0].Tier != 0 ||
		got[1].URL != "h2c://b.internal:81/shop" || got[1].Weight != 1 || got[1].Tier != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if d := DNS("http://web", 0).(dns); d.every != 30*time.Second {
		t.Errorf("looked up every %v", d.every)
	}
}
