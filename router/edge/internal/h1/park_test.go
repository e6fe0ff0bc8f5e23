package h1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// TestAConnectionThatParksGoesOn: nothing is asked on it for so long that its
// goroutine ends; then a request comes.
func TestAConnectionThatParksGoesOn(t *testing.T) {
	srv := &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { text(w, "hello") })}
	addr := serve(t, srv, wire.Options{Tick: 10 * time.Millisecond, ParkAfter: 20 * time.Millisecond})
	c := testkit.Dial(t, addr)
	r := bufio.NewReader(c)
	for range 3 {
		io.WriteString(c, get())
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if runtime.GOOS == "linux" {
			testkit.Within(t, testkit.Patience, "the goroutine ends", func() bool { return srv.Parked() == 1 })
		}
	}
	srv.Close()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("closed: %v", err)
	}
}

// TestACrowdParksAtOnce: who has asked once has no goroutine while it asks no more, and whoever
// asks again is answered, over TLS with what had come with the first, too.
func TestACrowdParksAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("readers park on Linux only")
	}
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			srv := &h1.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { text(w, "hello") })}
			ca := testkit.NewAuthority(t)
			server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "shop.example")}}
			client := &tls.Config{RootCAs: ca.Pool, ServerName: "shop.example"}
			addr := serveOver(t, srv, wire.Options{Tick: time.Hour, Crowd: -1}, func(c net.Conn) net.Conn {
				if secure {
					s := tls.Server(c, server)
					if err := s.Handshake(); err != nil {
						t.Error(err)
					}
					return s
				}
				return c
			})
			dial := func() net.Conn {
				c := testkit.Dial(t, addr)
				if secure {
					return tls.Client(c, client)
				}
				return c
			}
			c := dial()
			r := bufio.NewReader(c)
			answers := func(n int) {
				t.Helper()
				for range n {
					res, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, res.Body)
				}
			}
			io.WriteString(c, get()+get()) // in one record
			answers(2)
			io.WriteString(c, get())
			answers(1)
			c.Close()
			c = dial()
			r.Reset(c)
			for range 2 {
				io.WriteString(c, get())
				answers(1)
				testkit.Within(t, testkit.Patience, "the goroutine ends", func() bool { return srv.Parked() == 1 })
				time.Sleep(501 * time.Millisecond) // so that it is asked seldom
			}
		})
	}
}

// TestADrainOfACrowd begins while an answer goes out that has promised to keep its connection:
// what is asked on that at once is answered, though nobody had waited for it.
func TestADrainOfACrowd(t *testing.T) {
	for name, crowd := range map[string]int{"few": 1000, "many": -1} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				took, err := askInADrain(t, wire.Options{Tick: time.Hour, Crowd: crowd})
				if err == nil {
					return
				}
				if took < 20*time.Millisecond {
					t.Fatalf("asked after %v: %v", took, err)
				}
			} // the client itself was late, which has 50 ms
			t.Error("no client was in time")
		})
	}
}

// TestADrainEndsWhoIsSilent: connections on which nothing was ever asked, as browsers make
// them, have a second.
func TestADrainEndsWhoIsSilent(t *testing.T) {
	for name, opts := range map[string]wire.Options{"few": {ParkAfter: 300 * time.Millisecond}, "many": {Crowd: -1}} {
		t.Run(name, func(t *testing.T) {
			srv := &h1.Server{Handler: http.NotFoundHandler(), HeadTime: time.Minute}
			testkit.Dial(t, serve(t, srv, opts))
			time.Sleep(600 * time.Millisecond) // so that the sweep asks it to park
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("not after %v: %v", time.Since(began), err)
			}
		})
	}
}

// askInADrain returns how soon after an answer the next request was sent, and why it was not
// answered.
func askInADrain(t *testing.T, opts wire.Options) (took time.Duration, err error) {
	srv := new(h1.Server)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text(w, "hello")
		http.NewResponseController(w).Flush()
		srv.Shutdown(ended) // which waits for nobody
	})
	c := testkit.Dial(t, serve(t, srv, opts))
	r := bufio.NewReader(c)
	var answered time.Time
	for _, last := range []bool{false, true} {
		io.WriteString(c, get())
		if last {
			took = time.Since(answered)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return took, err
		}
		body, err := io.ReadAll(res.Body)
		if answered = time.Now(); string(body) != "hello" || err != nil || res.Close != last {
			t.Errorf("%q, %v, close %t", body, err, res.Close)
		}
		time.Sleep(2 * time.Millisecond) // the request's way
	}
	return took, nil
}

// TestAnIdleConnectionHoldsNothing of what was read or written.
func TestAnIdleConnectionHoldsNothing(t *testing.T) {
	srv := &h1.Server{Handler: http.HandlerFunc(echo)}
	addr := serve(t, srv, wire.Options{Tick: 10 * time.Millisecond, ParkAfter: 20 * time.Millisecond})
	const n = 200
	measure := func() int {
		runtime.GC()
		runtime.GC() // pools give up what nobody has used for two
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	testkit.Dial(t, addr).Close()
	before := measure()
	for range n {
		c := testkit.Dial(t, addr)
		io.WriteString(c, request("POST", "Content-Length: 5")+"hello")
		if _, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("readers park on Linux only")
	}
	testkit.Within(t, testkit.Patience, "all goroutines end", func() bool { return srv.Parked() == n })
	// The client's end is in it: its connection and the test's own memory of it.
	if each := (measure() - before) / n; each > 8<<10 {
		t.Errorf("%d bytes each", each)
	} else {
		t.Logf("%d bytes each, both ends", each)
	}
}
