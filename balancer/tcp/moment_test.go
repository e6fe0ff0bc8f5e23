package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// told brings the pool what a probe of the named backend said just now.
func told(p *Pool, name, role string) {
	now := time.Now()
	if p.roles.Probed(p.view.Snap.Load().ByName(name), now, now, health.Result{State: health.Up, Role: role}, nil) {
		p.set.Refresh(now)
	}
}

// meddler picks the last candidate, after something has happened once.
type meddler struct {
	once    sync.Once
	happens func()
}

func (*meddler) Why() string { return "the last" }

func (m *meddler) Choose(_ pool.PickInfo, c pool.Candidates) int {
	m.once.Do(m.happens)
	return c.Len() - 1
}

// TestFencedBetweenPickAndConnection has a backend fenced when it has just been
// picked, and nothing is there yet that could be cut.
func TestFencedBetweenPickAndConnection(t *testing.T) {
	list := []Backend{
		{Name: "a", URL: "tcp://" + testkit.Backend(t, testkit.Echo("a"))},
		{Name: "b", URL: "tcp://" + testkit.Backend(t, testkit.Echo("b"))},
	}
	m := new(meddler)
	p := newPool(t, list, Options{Policy: Policy{m}})
	m.happens = func() { told(p, "b", health.RolePrimary) }
	told(p, "b", health.RoleReplica)
	told(p, "a", health.RolePrimary)
	told(p, "b", health.RoleReplica)
	if got := who(p); got != "a" {
		t.Errorf("connected to %q", got)
	}
}

// TestFencedWhileConnecting has a backend fenced during its TLS handshake.
func TestFencedWhileConnecting(t *testing.T) {
	ca := testkit.NewAuthority(t)
	begun, on := make(chan bool), make(chan bool)
	conf := &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			begun <- true
			<-on
			return nil, nil
		},
	}
	b := testkit.Accept(t, tls.NewListener(testkit.Listen(t), conf), testkit.Echo("b"))
	list := []Backend{{Name: "a", URL: "tcp://127.0.0.1:1"}, {Name: "b", URL: "tls://" + b}}
	p := newPool(t, list, Options{Dial: patience, TLS: &tls.Config{RootCAs: ca.Pool}})
	told(p, "b", health.RoleReplica)
	told(p, "a", health.RolePrimary)
	told(p, "b", health.RoleReplica)
	reads := p.Only("reads", Replicas(time.Second))

	dialed := make(chan net.Conn)
	go func() {
		c, err := reads.DialContext(context.Background(), "", "")
		if err != nil {
			t.Error(err)
		}
		dialed <- c
	}()
	<-begun
	told(p, "b", health.RolePrimary)
	on <- true
	if c := <-dialed; c != nil {
		defer c.Close()
		if err := readFull(c, make([]byte, 1)); !errors.Is(err, ErrMoved) {
			t.Errorf("by DialContext: %v", err)
		}
	}

	told(p, "b", health.RoleReplica)
	addr := carry(t, reads, nil)
	c := testkit.Dial(t, addr)
	<-begun
	told(p, "b", health.RolePrimary)
	on <- true
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("by Serve: a byte of a fenced backend")
	}
}

// TestAPrimaryIsToldOnceItServes: who acts on the log finds it as told.
func TestAPrimaryIsToldOnceItServes(t *testing.T) {
	var log testkit.Log
	p := newPool(t, []Backend{{Name: "a", URL: "tcp://" + testkit.Backend(t, testkit.Echo("a"))}}, Options{Logger: log.Logger()})
	now := time.Now()
	a := p.view.Snap.Load().ByName("a")
	if !p.roles.Probed(a, now, now, health.Result{State: health.Up, Role: health.RolePrimary}, nil) {
		t.Fatal("nothing has changed")
	}
	if got := log.String(); got != "" {
		t.Errorf("told before it took effect: %s", got)
	}
	p.set.Refresh(now)
	p.roles.Tell()
	log.Wants(t, "is primary", "backend=a")
}
