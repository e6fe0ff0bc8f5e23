package balancer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// The frames of RFC 9113, section 6, that these tests send.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7
	endStream, endHeaders, ack                                      = 1, 4, 1
)

func frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func resets(code byte) func(uint32) []byte {
	return func(stream uint32) []byte { return frame(frameReset, 0, stream, 0, 0, 0, code) }
}

// goesAway says that streams up to that one before it were processed.
func goesAway(before uint32, code byte) func(uint32) []byte {
	return func(stream uint32) []byte {
		return frame(frameGoAway, 0, 0, append(binary.BigEndian.AppendUint32(nil, stream-before), 0, 0, 0, code)...)
	}
}

func answersOK(stream uint32) []byte { return frame(frameHeaders, endStream|endHeaders, stream, 0x88) }

// rawHTTP2 is a server of HTTP/2 without TLS that answers the nth request, once
// it is whole, with what says[n] sends, and all after these with 200. An empty
// answer ends the connection.
func rawHTTP2(t *testing.T, says ...func(stream uint32) []byte) (addr string, bodies func() []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	reply := func(stream uint32, body string) []byte {
		mu.Lock()
		defer mu.Unlock()
		n := len(got)
		got = append(got, body)
		if n < len(says) {
			return says[n](stream)
		}
		return answersOK(stream)
	}
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		if _, err := r.Discard(24); err != nil { // the preface
			return
		}
		if _, err := c.Write(frame(frameSettings, 0, 0)); err != nil {
			return
		}
		body := map[uint32]string{}
		for {
			var head [9]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			stream := binary.BigEndian.Uint32(head[5:])
			var out []byte
			switch kind, flags := head[3], head[4]; {
			case kind == frameSettings && flags&ack == 0:
				out = frame(frameSettings, ack, 0)
			case kind == frameData || kind == frameHeaders:
				if kind == frameData {
					body[stream] += string(payload)
				}
				if flags&endStream == 0 {
					continue
				}
				if out = reply(stream, body[stream]); out == nil {
					return
				}
			}
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
			t.Cleanup(func() { _ = c.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
	})
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// What a backend over HTTP/2 provably did not process is sent again whatever
// its method, and nothing else is.
func TestUnprocessedOverHTTP2IsSentAgain(t *testing.T) {
	never := terms(transit.Terms{Retry: transit.RetryNever})
	hangsUp := func(uint32) []byte { return nil }
	cases := map[string]struct {
		says   []func(uint32) []byte
		method string
		edit   func(*http.Request)
		status int
		asked  int
	}{
		"refused stream":                 {[]func(uint32) []byte{resets(7)}, "POST", nil, 200, 2},
		"refused stream, twice":          {[]func(uint32) []byte{resets(7), resets(7)}, "POST", nil, 200, 3},
		"refused stream, no repeats":     {[]func(uint32) []byte{resets(7)}, "POST", never, 200, 2},
		"refused stream, no body":        {[]func(uint32) []byte{resets(7)}, "DELETE", nil, 200, 2},
		"refused stream, GET":            {[]func(uint32) []byte{resets(7)}, "GET", nil, 200, 2},
		"goaway below the stream":        {[]func(uint32) []byte{goesAway(1, 0)}, "POST", nil, 200, 2},
		"goaway below, with an error":    {[]func(uint32) []byte{goesAway(1, 11)}, "POST", nil, 200, 2},
		"goaway below, no body":          {[]func(uint32) []byte{goesAway(1, 0)}, "DELETE", nil, 200, 2},
		"goaway below, later":            {[]func(uint32) []byte{answersOK, goesAway(2, 0)}, "POST", nil, 200, 3},
		"goaway below, later, error":     {[]func(uint32) []byte{answersOK, goesAway(2, 2)}, "PATCH", nil, 200, 3},
		"goaway with the stream, answer": {[]func(uint32) []byte{func(s uint32) []byte { return append(goesAway(0, 0)(s), answersOK(s)...) }}, "POST", nil, 200, 1},
		"goaway with the stream, reset":  {[]func(uint32) []byte{func(s uint32) []byte { return append(goesAway(0, 0)(s), resets(8)(s)...) }}, "POST", nil, 502, 1},
		"protocol error, POST":           {[]func(uint32) []byte{resets(1)}, "POST", nil, 502, 1},
		"protocol error, DELETE":         {[]func(uint32) []byte{resets(1)}, "DELETE", nil, 502, 1},
		"cancelled":                      {[]func(uint32) []byte{resets(8)}, "POST", nil, 502, 1},
		"internal error":                 {[]func(uint32) []byte{resets(2)}, "POST", nil, 502, 1},
		"hung up":                        {[]func(uint32) []byte{hangsUp}, "POST", nil, 502, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr, bodies := rawHTTP2(t, c.says...)
			p := newPool(t, Backends("h2c://"+addr), Options{})
			edit := c.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			status := 0
			for range max(1, c.asked-1) {
				var body io.Reader
				if c.method != "GET" && c.method != "DELETE" {
					body = io.MultiReader(strings.NewReader("order=1")) // of no known length
				}
				if status = get(p, c.method, "/", body, edit).Code; len(bodies()) >= c.asked {
					break
				}
			}
			if status != c.status || len(bodies()) != c.asked {
				t.Errorf("got %d and asked %d times, want %d and %d", status, len(bodies()), c.status, c.asked)
			}
			for i, body := range bodies() {
				if want := map[bool]string{true: "order=1"}[c.method != "GET" && c.method != "DELETE"]; body != want {
					t.Errorf("request %d arrived with %q", i, body)
				}
			}
		})
	}
}

// What one backend refuses for good, another takes; also over a user's own
// transport, which does not send a body again.
func TestUnprocessedOverHTTP2GoesElsewhere(t *testing.T) {
	refuses := make([]func(uint32) []byte, 50)
	for i := range refuses {
		refuses[i] = resets(7)
	}
	for name, transport := range map[string]func(Backend) http.RoundTripper{"ours": nil, "a user's": usersHTTP2} {
		t.Run(name, func(t *testing.T) {
			full, refused := rawHTTP2(t, refuses...)
			fine, took := rawHTTP2(t)
			scheme := "h2c"
			if transport != nil {
				scheme = "http"
			}
			p := newPool(t, Backends(scheme+"://"+full, scheme+"://"+fine), Options{Policy: First(), Transport: transport})
			for i := range 3 {
				if w := get(p, "POST", "/", strings.NewReader("order=1")); w.Code != 200 {
					t.Errorf("order %d: %d", i, w.Code)
				}
			}
			if len(took()) != 3 || len(refused()) < 3 {
				t.Errorf("refused %d, taken %d", len(refused()), len(took()))
			}
		})
	}
}

// A rolling restart of backends over HTTP/2 loses no order, and none is placed
// twice.
func TestRollingRestartOverHTTP2LosesNothing(t *testing.T) {
	// Go's server closes a connection 250 ms after its GOAWAY, and the reset that
	// whoever writes then is answered with takes the GOAWAY away. Where this process
	// has stood still for as long, a lost order says nothing of the pool; nor does one
	// alone that was reset, since a thread may have, which nobody sees. A pool that does
	// not send again what was not processed loses some each time, and says why.
	const grace, tries = 200 * time.Millisecond, 5
	before := int32(0)
	for range tries {
		still := make(chan time.Duration)
		stop := make(chan struct{})
		go func() { still <- longestPause(stop) }()
		lost, placed, reset := rollingRestart(t)
		close(stop)
		pause := <-still
		if placed == 0 {
			t.Error("no order was placed")
		}
		if lost == 0 || t.Failed() {
			return
		}
		if pause < grace && (lost > 1 || before > 0 || !reset) {
			t.Fatalf("of %d orders %d were lost, and %d the time before", placed, lost, before)
		}
		before = lost
		t.Logf("of %d orders %d were lost, and the process has stood still for %v", placed, lost, pause)
	}
	t.Error("the machine is too busy to tell")
}

// longestPause returns for how long this process stood still at most until stop.
func longestPause(stop <-chan struct{}) (longest time.Duration) {
	const every = 5 * time.Millisecond
	for last := time.Now(); ; {
		select {
		case <-stop:
			return longest
		case <-time.After(every):
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
	}
}

// rollingRestart places orders while two backends are restarted in turn, and
// returns how many were lost, of how many, and whether what was lost was reset.
func rollingRestart(t *testing.T) (lost, placed int32, reset bool) {
	t.Helper()
	var taken sync.Map
	var twice, failed atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if _, again := taken.LoadOrStore(string(b), true); again || err != nil {
			twice.Add(1)
		}
	})
	start := func(addr string) *http.Server {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: h, Addr: l.Addr().String(), Protocols: new(http.Protocols)}
		srv.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = srv.Serve(l) }()
		return srv
	}
	a, b := start("127.0.0.1:0"), start("127.0.0.1:0")
	p := newPool(t, Backends("h2c://"+a.Addr, "h2c://"+b.Addr), Options{
		Probe:    health.TCP(),
		Schedule: health.Schedule{Every: 20 * time.Millisecond, Changing: 5 * time.Millisecond},
		Error: func(w http.ResponseWriter, _ *http.Request, err error) {
			t.Log(err)
			if !errors.Is(err, syscall.ECONNRESET) {
				failed.Add(1)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	})
	probing := make(chan error, 1)
	go func() { probing <- p.Run(t.Context()) }()
	stop, each := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	var gone, all atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				order := strings.Repeat("x", i+1) + time.Now().String()
				r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(order)))
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				all.Add(1)
				select {
				case each <- struct{}{}:
				default:
				}
				if _, ok := taken.Load(order); w.Code != 200 || !ok {
					gone.Add(1)
					if w.Code == 200 { // and nobody has it
						failed.Add(1)
					}
				}
			}
		})
	}
	for range 3 {
		for _, srv := range []**http.Server{&a, &b} {
			for range 50 {
				<-each
			}
			if err := (*srv).Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			*srv = start((*srv).Addr)
			for up := false; !up; { // before the next one goes, as whoever restarts them would wait
				changed := p.view.Change()
				if up = !slices.ContainsFunc(p.Backends(), func(s Status) bool { return s.State != health.Up }); !up {
					<-changed
				}
			}
		}
	}
	close(stop)
	wg.Wait()
	_, _, _ = a.Close(), b.Close(), p.Close()
	if err := <-probing; err != nil {
		t.Error(err)
	}
	if n := twice.Load(); n != 0 {
		t.Errorf("%d orders were placed twice, or came in part", n)
	}
	return gone.Load(), all.Load(), failed.Load() == 0
}

// A backend that has begun to answer has looked at the request, whatever it says
// afterwards.
func TestWhatWasAnsweredWasProcessed(t *testing.T) {
	begins := func(stream uint32) []byte { return frame(frameHeaders, endHeaders, stream, 0x88) }
	for name, then := range map[string]func(uint32) []byte{
		"refused stream": resets(7),
		"goaway below":   goesAway(1, 2),
	} {
		for method, want := range map[string]int{"POST": 502, "GET": 200} {
			t.Run(name+", "+method, func(t *testing.T) {
				bad, _ := rawHTTP2(t, func(stream uint32) []byte { return append(begins(stream), then(stream)...) })
				good, asked := rawHTTP2(t)
				p := newPool(t, Backends("h2c://"+bad, "h2c://"+good), Options{Policy: First()})
				var body io.Reader
				if method == "POST" {
					body = strings.NewReader("order=1")
				}
				if got := get(p, method, "/", body).Code; got != want || (len(asked()) == 1) != (want == 200) {
					t.Errorf("got %d and asked the other %d times, want %d", got, len(asked()), want)
				}
			})
		}
	}
}
