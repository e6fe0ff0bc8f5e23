package edge_test

import (
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// soaked is what the clients of the soak ask for. Each answer says how it must
// look.
func soaked(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/pool") {
	case "/page":
		io.WriteString(w, pageText)
	case "/large":
		w.Header().Set("Content-Length", fmt.Sprint(largePage))
		for range largePage / 10_000 {
			if _, err := w.Write([]byte(strings.Repeat("l", 10_000))); err != nil {
				return
			}
		}
	case "/echo":
		if !strings.HasPrefix(r.URL.Path, "/pool") { // net/http's server cannot do both at once
			if _, err := io.Copy(w, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
			return
		}
		if b, err := io.ReadAll(r.Body); err == nil {
			w.Write(b)
		}
	case "/unread":
		io.WriteString(w, "not read")
	case "/late": // somebody reads the body after the handler has returned
		go io.Copy(io.Discard, r.Body)
		io.WriteString(w, "late")
	case "/stream":
		for range 20 {
			io.WriteString(w, "event\n")
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	case "/hang":
		<-r.Context().Done()
	case "/panic":
		panic(http.ErrAbortHandler)
	case "/upgrade":
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		rw.Flush()
		io.Copy(c, rw)
	}
}

const largePage = 2_000_000 // bytes: more than the sockets on the way hold

var (
	pageText   = strings.Repeat("page", 300)
	streamText = strings.Repeat("event\n", 20)
)

// A soak is what a server is tried with.
type soak struct {
	name    string
	opts    edge.Options
	client  *tls.Config // nil: plain
	proxied bool        // clients are announced by the PROXY protocol, or what stands for it
}

// TestSoak has clients of all kinds ask for a while, FORETIER_SOAK or two seconds:
// what is answered is right, and in the end nothing is in hand.
func TestSoak(t *testing.T) {
	long := 2 * time.Second
	if s := os.Getenv("FORETIER_SOAK"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS() // for its certificate
	defer certificates.Close()
	var log testkit.Log
	before := inHand()
	soaks := []soak{
		{name: "plain"},
		{name: "half-closed", opts: edge.Options{HalfClosed: true}},
		{name: "announced", opts: edge.Options{Wrap: func(l net.Listener) net.Listener { return announced{l} }}, proxied: true},
		{name: "TLS", opts: edge.Options{TLS: &tls.Config{Certificates: certificates.TLS.Certificates}},
			client: &tls.Config{InsecureSkipVerify: true}}, // it is the test's own
	}
	for _, s := range soaks {
		s.opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		s.opts.NoAccessLog = true
		s.opts.PlainHTTP2 = true
		t.Run(s.name, func(t *testing.T) { s.run(t, long/time.Duration(len(soaks)), seed) })
	}
	var after hand
	testkit.Within(t, testkit.Patience, "no goroutine, no descriptor and no memory is left", func() bool {
		after = inHand()
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.memory < before.memory+8<<20
	})
	t.Logf("in hand: before %+v, after %+v", before, after)
	if strings.Contains(log.String(), "panic") {
		t.Errorf("%.3000s", log.String())
	}
}

// A tally is how often visitors have asked in each of their manners, so far.
type tally []atomic.Int64

// rare is how often they ask in a manner that they have the least of at least.
const rare = 2

// lacks returns in how many manners they have asked too rarely.
func (asked tally) lacks() (n int) {
	for i := range asked {
		if asked[i].Load() < rare {
			n++
		}
	}
	return n
}

// run has clients ask for so long, and until they have asked in all their manners:
// how much a machine does in a while says nothing.
func (s *soak) run(t *testing.T, long time.Duration, seed uint64) {
	backend := httptest.NewServer(http.HandlerFunc(soaked))
	defer backend.Close()
	pool, err := balancer.New(balancer.Backends(backend.URL), balancer.Options{Logger: s.opts.Logger})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/pool/") {
			pool.ServeHTTP(w, r)
			return
		}
		soaked(w, r)
	})
	srv := serve(t, h, s.opts)
	asked := make(tally, len(manners)+len(manners2))
	bound := time.Now().Add(long + 2*testkit.Patience)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			v := &visitor{t: t, soak: s, addr: srv.Addr().String(), rand: rand.New(rand.NewPCG(seed, uint64(i))), asked: asked[:len(manners)]}
			for end := time.Now().Add(long); time.Now().Before(end) || asked.lacks() > 0 && time.Now().Before(bound); {
				v.once()
			}
		})
	}
	for i := range 4 { // each asks for up to eight things at once
		wg.Go(func() {
			v := &visitor2{t: t, soak: s, addr: srv.Addr().String(), rand: rand.New(rand.NewPCG(seed, 100+uint64(i))), asked: asked[len(manners):]}
			for end := time.Now().Add(long); time.Now().Before(end) || asked.lacks() > 0 && time.Now().Before(bound); {
				v.once()
			}
		})
	}
	wg.Wait()
	all := int64(0)
	for i := range asked {
		all += asked[i].Load()
	}
	t.Logf("%d requests", all)
	if n := asked.lacks(); n > 0 {
		t.Errorf("in %d manners of %d they have hardly asked", n, len(asked))
	}
	testkit.Within(t, testkit.Patience, "nothing is in hand", func() bool {
		n := 0.0
		for _, m := range srv.Report().Metrics {
			switch m.Name {
			case "requests_in_flight", "connections_open", "connections_upgraded", "streams_upgraded":
				n += m.Value
			}
		}
		return n == 0
	})
}

// hand is what a process has in hand.
type hand struct{ goroutines, descriptors, memory int }

func inHand() hand {
	runtime.GC()
	runtime.GC() // pools give up what nobody has used for two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, _ := os.ReadDir("/proc/self/fd") // none on other systems
	return hand{runtime.NumGoroutine(), len(open), int(m.HeapAlloc)}
}
