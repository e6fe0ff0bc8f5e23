//go:build cost

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// What a hostile request may cost: as much as so many plain ones, or so much
// time, whichever is more.
const (
	maxRatio = 10
	maxTime  = 300 * time.Microsecond
)

// TestNoFieldBuysWork sends the longest target and header that are taken, filled
// with members of lists, of queries and of paths, through the whole chain in
// process, and compares what that takes with a plain request; likewise what it takes
// to explain it. Least times count, on both sides, since the machine may be busy, and
// what it does in 300 µs when it is not is measured too; one that is too slow is tried
// again.
func TestNoFieldBuysWork(t *testing.T) {
	origin := costBackend(t)
	for name, flags := range map[string][]string{
		"plain":    nil,
		"all":      {"-origin", origin, "-sticky", "pin", "-cache-ttl", "60s", "-cache-devices", "-cache-bypass-cookie", "cart,wordpress_logged_in_*", "-via", "off"},
		"fields":   {"-cache-fields", "X-Shop-*", "-streams", "/live/*", "-trust", "192.0.2.1"},
		"no cache": {"-cache", "0", "-sticky", "pin"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(append([]string{"-listen", "127.0.0.1:0", "-backends", origin, "-log", "off"}, flags...), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c.stickyKey = make([]byte, minStickyKey)
			tier, err := build(c, sockets{main: testkit.Listen(t)}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer tier.Close()
			defer tier.srv.Close()
			for what, do := range map[string]func(*http.Request){
				"served":    func(r *http.Request) { tier.srv.ServeHTTP(httptest.NewRecorder(), r) },
				"explained": func(r *http.Request) { tier.srv.Explain(r) },
			} {
				t.Run(what, func(t *testing.T) { buysNoWork(t, do) })
			}
		})
	}
}

// buysNoWork compares what do takes with hostile requests and with plain ones.
func buysNoWork(t *testing.T, do func(*http.Request)) {
	for _, path := range []string{"/hit", "/miss"} {
		usual := costOf(t, do, path)
		passed := costOf(t, do, "/miss")
		hostiles := testkit.Hostiles(path)
		if path == "/miss" { // what it stands for is never stored
			hostiles["path of readings"] = testkit.HostileReadings
		}
		for what, h := range hostiles {
			plain, large := usual.plain, usual.large
			if passes(h) {
				plain, large = passed.plain, passed.large
			}
			bound := max(maxTime, maxRatio*plain, yardstick(), 4*large)
			took := least(t, do, h, 4)
			for range 10 {
				if took <= bound {
					break
				}
				bound = max(bound, yardstick())
				time.Sleep(time.Millisecond) // whoever else is busy may be done
				took = min(took, least(t, do, h, 20))
			}
			if took > bound {
				t.Errorf("%s, %s: %v, a plain one %v, a large one %v", path, what, took, plain, large)
			}
		}
	}
}

// passes reports whether the cache asks the backend whatever it holds.
func passes(h testkit.Hostile) bool {
	for _, name := range []string{"Authorization", "If-Match", "If-Unmodified-Since"} {
		if h.Header[name] != nil {
			return true
		}
	}
	return false
}

// costs are what honest requests take: a plain one, and one that is as large as
// the hostile ones and holds nothing to take apart.
type costs struct{ plain, large time.Duration }

func costOf(t *testing.T, do func(*http.Request), path string) costs {
	t.Helper()
	return costs{
		least(t, do, testkit.Hostile{Path: path}, 30),
		least(t, do, testkit.Hostile{Path: path + "/" + testkit.Fill("a", testkit.HostileTarget), Header: http.Header{"X-Custom": {testkit.Fill("a", testkit.HostileHeader)}}}, 40),
	}
}

// yardstick is how long some 300 µs of work take here and now.
func yardstick() time.Duration {
	best := time.Duration(1 << 62)
	for range 5 {
		began := time.Now()
		sum := uint64(14695981039346656037)
		for i := range 250_000 {
			sum = (sum ^ uint64(i&0xff)) * 1099511628211
		}
		took := time.Since(began)
		if sum != 0 {
			best = min(best, took)
		}
	}
	return best
}

// least is the least time that do takes with h in n times.
func least(t *testing.T, do func(*http.Request), h testkit.Hostile, n int) time.Duration {
	t.Helper()
	best := time.Duration(1 << 62)
	for i := range n {
		r := h.Request(context.WithValue(t.Context(), http.ServerContextKey, &http.Server{}))
		began := time.Now()
		do(r)
		took := time.Since(began)
		if i > 0 || n == 1 { // the first may fill the cache
			best = min(best, took)
		}
	}
	return best
}

// costBackend answers with a small page, which may be stored unless its path
// begins with /miss, and looks at nothing else, so that its own work does not
// count.
func costBackend(t *testing.T) (url string) {
	t.Helper()
	return "http://" + testkit.Backend(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Time{}) // it is measured for longer
		in := bufio.NewReaderSize(c, 64<<10)
		for {
			line, err := in.ReadSlice('\n')
			control := "max-age=600"
			if strings.Contains(string(line[:min(len(line), 12)]), "/miss") {
				control = "no-store"
			}
			for err == nil && len(line) > 2 {
				line, err = in.ReadSlice('\n')
			}
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: %s\r\nVary: Accept-Encoding\r\nContent-Length: 4\r\n\r\npage", control)
		}
	})
}
