package fcgi

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
)

// TestHalfAPageIsNoPage: wherever an answer is cut off, it is an error, or was whole.
func TestHalfAPageIsNoPage(t *testing.T) {
	body := strings.Repeat("<p>", 50)
	for name, answer := range map[string]string{
		"without a length": stdout("Content-Type: text/html\r\n\r\n"+body[:70]) + stderr("note") + stdout(body[70:]) + end,
		"with a length":    stdout("Content-Length: 150\r\n\r\n") + stdout(body) + end,
		"in many records":  stdout("X: 1\n") + stdout("\n"+body[:1]) + stdout(body[1:2]) + stdout(body[2:]) + end,
	} {
		var cut atomic.Int64
		f := newFake(t, func(r *taken) { io.WriteString(r, answer[:cut.Load()]) })
		site, err := New("/var/www/shop", Options{Remote: true, Logger: new(testkit.Log).Logger()})
		if err != nil {
			t.Fatal(err)
		}
		rt := site.Transport(balancer.Backend{URL: f.url()})
		whole := 0
		for i := range len(answer) + 1 {
			cut.Store(int64(i))
			got, err := readAll(rt, "/")
			switch {
			case err == nil && got != body:
				t.Errorf("%s, cut at %d of %d: %q looks whole", name, i, len(answer), got)
			case err == nil:
				whole++
			case i == len(answer):
				t.Errorf("%s: all of it: %v", name, err)
			}
		}
		if whole == 0 || whole > len(end)+1 {
			t.Errorf("%s: whole from %d bytes before its end", name, whole)
		}
	}
}

// readAll returns an answer's body.
func readAll(rt http.RoundTripper, path string) (string, error) {
	res, err := rt.RoundTrip(httptest.NewRequest("GET", "http://shop.example"+path, http.NoBody))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// A hostile is a server that breaks what it would say.
type hostile struct{ seed atomic.Uint64 }

// serve answers, or something like it.
func (h *hostile) serve(r *taken) {
	rnd := rand.New(rand.NewPCG(1, h.seed.Add(1)))
	if rnd.IntN(4) > 0 {
		if _, err := r.body(); err != nil {
			return
		}
	}
	var b strings.Builder
	for range rnd.IntN(3) {
		b.WriteString(stderr(strings.Repeat("\x00\xff\n", rnd.IntN(2000))))
	}
	head := [...]string{page, "Status: 200\n\n", "Status: 99999\n\n", "Location: /\n\n", "Content-Length: 10\n\n", "\n", "HTTP/1.1 200 OK\n\n", "X: \x00\n\n", "Content-Length: -1\n\n", "Status: 304\n\n", "Transfer-Encoding: chunked\n\n"}
	b.WriteString(stdout(head[rnd.IntN(len(head))]))
	for range rnd.IntN(20) {
		b.WriteString(stdout(strings.Repeat("x", rnd.IntN(9000))))
	}
	b.WriteString(end)
	answer := []byte(b.String())
	for range rnd.IntN(4) {
		switch at := rnd.IntN(len(answer)); rnd.IntN(5) {
		case 0:
			answer[at] ^= 1 << rnd.IntN(8)
		case 1:
			answer = answer[:at+1]
		case 2:
			answer = append(answer[:at:at], append([]byte(end), answer[at:]...)...)
		case 3:
			answer = append(answer, answer[at:]...)
		}
	}
	for len(answer) > 0 {
		n := min(len(answer), 1+rnd.IntN(5000))
		if _, err := r.Write(answer[:n]); err != nil {
			return
		}
		answer = answer[n:]
	}
	if rnd.IntN(8) == 0 {
		_, _ = io.Copy(io.Discard, r.in) // and waits
	}
}

// TestHostileServers: whatever two of three servers send, a client gets an answer or an
// error, soon, and nothing is left of it. FORETIER_SOAK=10m has it go on for so long.
func TestHostileServers(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("FORETIER_SOAK"))
	if err != nil {
		long = time.Second
	}
	var h hostile
	one, two, good := newFake(t, h.serve), newFake(t, h.serve), says(t, stdout(page)+end)
	log := new(testkit.Log)
	_, pool := poolOf(t, "/var/www/shop", Options{Remote: true, Logger: log.Logger()}, balancer.Options{
		Logger: log.Logger(), Timeouts: balancer.Timeouts{Header: 50 * time.Millisecond, Idle: 50 * time.Millisecond}, Policy: balancer.RoundRobin(),
	}, one.url(), two.url(), good.url())
	srv := httptest.NewUnstartedServer(pool)
	srv.Config.ErrorLog = slog.NewLogLogger(log.Logger().Handler(), slog.LevelError)
	srv.Start()
	defer srv.Close()
	var whole, broken atomic.Int64
	var wg sync.WaitGroup
	until := time.Now().Add(long)
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, uint64(i)))
			for time.Now().Before(until) {
				ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
				if rnd.IntN(10) == 0 { // who does not wait
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rnd.IntN(20))*time.Millisecond)
				}
				method := [...]string{"GET", "HEAD", "POST"}[rnd.IntN(3)]
				var body io.Reader
				if method == "POST" {
					body = strings.NewReader(strings.Repeat("b", rnd.IntN(100_000)))
				}
				r, err := http.NewRequestWithContext(ctx, method, srv.URL, body)
				if err != nil {
					t.Error(err)
				}
				res, err := http.DefaultClient.Do(r)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if err == nil {
					whole.Add(1)
				} else {
					broken.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	testkit.Within(t, testkit.Patience, "nothing is in hand", func() bool {
		for _, b := range pool.Backends() {
			if b.InFlight > 0 || b.Streams > 0 {
				return false
			}
		}
		return true
	})
	if whole.Load() == 0 {
		t.Errorf("%d answers, %d errors", whole.Load(), broken.Load())
	}
	t.Logf("%d answers, %d errors", whole.Load(), broken.Load())
	if strings.Contains(log.String(), "panic") {
		t.Error("somebody panicked")
	}
}
