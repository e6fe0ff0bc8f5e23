package edge_test

import (
	"bufio"
	"crypto/tls"
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

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// soaked is what the clients of the soak ask for. Each answer says how it must
// look.
func soaked(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/page":
		io.WriteString(w, strings.Repeat("page", 300))
	case "/large":
		w.Header().Set("Content-Length", "300000")
		for range 30 {
			if _, err := w.Write([]byte(strings.Repeat("l", 10_000))); err != nil {
				return
			}
		}
	case "/echo":
		io.Copy(w, r.Body)
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
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		io.Copy(c, c)
	}
}

// A soaker is a client that behaves as clients do, and as they should not.
type soaker struct {
	t     *testing.T
	addr  string
	tls   *tls.Config
	rand  *rand.Rand
	asked *atomic.Int64
}

// once has one connection, on which it asks a few times.
func (s *soaker) once() {
	nc, err := net.DialTimeout("tcp", s.addr, testkit.Patience)
	if err != nil {
		return // the server has closed the listener
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testkit.Patience))
	var c net.Conn = nc
	if s.tls != nil {
		if s.rand.IntN(8) == 0 { // another protocol
			io.WriteString(c, "GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
			s.asked.Add(1)
			return
		}
		c = tls.Client(nc, s.tls)
	}
	r := bufio.NewReader(c)
	for range s.rand.IntN(8) + 1 {
		if !s.ask(nc, c, r) {
			return
		}
	}
}

// ask asks once, and reports whether the connection goes on.
func (s *soaker) ask(nc, c net.Conn, r *bufio.Reader) bool {
	s.asked.Add(1)
	body := strings.Repeat("b", s.rand.IntN(40_000))
	request := func(method, path, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	}
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	send := func(text string) { go io.WriteString(c, text) } // the answer may come before all is sent
	wants := func(want string) bool {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return false // the server may close, at the end
		}
		got, err := io.ReadAll(res.Body)
		if err == nil && string(got) != want {
			s.t.Errorf("got %d bytes, want %d: %.60q", len(got), len(want), got)
		}
		return err == nil && !res.Close
	}
	switch s.rand.IntN(12) {
	case 0:
		send(get("/page"))
		return wants(strings.Repeat("page", 300))
	case 1: // pipelined
		send(get("/page") + get("/stream") + get("/page"))
		return wants(strings.Repeat("page", 300)) && wants(strings.Repeat("event\n", 20)) && wants(strings.Repeat("page", 300))
	case 2:
		if _, err := io.WriteString(c, request("POST", "/echo", body)); err != nil {
			return false
		}
		return wants(body)
	case 3: // in pieces
		text := get("/page")
		for len(text) > 0 {
			n := min(len(text), s.rand.IntN(20)+1)
			if _, err := io.WriteString(c, text[:n]); err != nil {
				return false
			}
			text = text[n:]
			runtime.Gosched()
		}
		return wants(strings.Repeat("page", 300))
	case 4: // a part of the answer, and away
		send(get("/large"))
		io.CopyN(io.Discard, r, int64(s.rand.IntN(200_000)))
	case 5: // a part of the request, and away
		text := request("POST", "/echo", body)
		io.WriteString(c, text[:s.rand.IntN(len(text))])
	case 6: // reset
		send(get("/large"))
		r.ReadByte()
		nc.(*net.TCPConn).SetLinger(0)
	case 7:
		send(get("/hang"))
	case 8:
		send(request("POST", []string{"/unread", "/late"}[s.rand.IntN(2)], body))
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return false
		}
		io.Copy(io.Discard, res.Body)
	case 9:
		send(get("/panic"))
		if _, err := r.ReadByte(); err == nil {
			return false // 502 of the tier's own
		}
	case 10:
		send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			return false
		}
		io.WriteString(c, " and late")
		b := make([]byte, len("early and late"))
		if _, err := io.ReadFull(r, b); err == nil && string(b) != "early and late" {
			s.t.Errorf("upgraded: %q", b)
		}
	case 11:
		send([]string{"GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", request("POST", "/echo", "")[:30] + "\x00\r\n\r\n"}[s.rand.IntN(3)])
		res, err := http.ReadResponse(r, nil)
		if err == nil && res.StatusCode != http.StatusBadRequest {
			s.t.Errorf("malformed: %s", res.Status)
		}
	}
	return false
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
	before := runtime.NumGoroutine()
	var log testkit.Log
	for _, secure := range []bool{false, true} {
		opts := edge.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})), NoAccessLog: true}
		var client *tls.Config
		if secure {
			opts.TLS = &tls.Config{Certificates: certificates.TLS.Certificates}
			client = &tls.Config{InsecureSkipVerify: true} // it is the test's own
		}
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			var asked atomic.Int64
			srv := serve(t, http.HandlerFunc(soaked), opts)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					s := &soaker{t, srv.Addr().String(), client, rand.New(rand.NewPCG(seed, uint64(i))), &asked}
					for end := time.Now().Add(long / 2); time.Now().Before(end); {
						s.once()
					}
				})
			}
			wg.Wait()
			if asked.Load() < 100 {
				t.Errorf("only %d requests", asked.Load())
			}
			testkit.Within(t, testkit.Patience, "nothing is in hand", func() bool {
				hand := 0.0
				for _, m := range srv.Report().Metrics {
					switch m.Name {
					case "requests_in_flight", "connections_open", "connections_upgraded":
						hand += m.Value
					}
				}
				return hand == 0
			})
		})
	}
	testkit.Within(t, testkit.Patience, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if strings.Contains(log.String(), "panic") {
		t.Errorf("%.3000s", log.String())
	}
}
