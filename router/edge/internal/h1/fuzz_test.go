package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// acts are what handlers do with a request. Each says in s what its client has to
// get.
var acts = []func(w http.ResponseWriter, r *http.Request, s *seen){
	func(w http.ResponseWriter, r *http.Request, s *seen) { // reads, then answers
		s.read(r, -1)
		s.write(w, s.body)
	},
	func(w http.ResponseWriter, _ *http.Request, s *seen) { s.write(w, "unread") },
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.read(r, 7)
		s.write(w, "in part")
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) { // answers, then reads
		s.write(w, "early")
		w.(http.Flusher).Flush()
		s.read(r, -1)
		s.write(w, s.body)
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) { // answers while it reads
		for !s.ended && !s.failed {
			before := len(s.body)
			s.read(r, 1000)
			if len(s.body) == before && !s.failed {
				s.read(r, -1)
			}
			s.write(w, "piece")
		}
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.read(r, -1)
		w.Header().Set("Content-Length", "100000")
		s.write(w, strings.Repeat("l", 100_000))
	},
	func(http.ResponseWriter, *http.Request, *seen) {},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.read(r, -1)
		s.status = []int{http.StatusNoContent, http.StatusNotModified, http.StatusTeapot}[len(s.body)%3]
		w.WriteHeader(s.status)
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		w.WriteHeader(http.StatusContinue)
		w.WriteHeader(http.StatusEarlyHints)
		s.read(r, -1)
		w.Header().Set("Trailer", "T")
		s.write(w, s.body)
		w.Header().Set("T", "x")
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.read(r, 3)
		s.silent = true
		panic(http.ErrAbortHandler)
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.cut = true
		s.write(w, "broken")
		if r.ContentLength == 0 {
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.read(r, -1)
		w.Header().Set("Content-Length", "10")
		s.cut = r.Method != http.MethodHead
		s.write(w, "short")
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		s.silent = true
		runtime.Goexit()
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) { // interrupts its own reading
		http.NewResponseController(w).SetReadDeadline(time.Now())
		s.read(r, -1)
		s.write(w, "interrupted")
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) { // takes its time
		time.Sleep(time.Duration(len(r.RequestURI)) * 10 * time.Millisecond)
		s.write(w, "late")
	},
	func(w http.ResponseWriter, r *http.Request, s *seen) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		s.taken = true
		c.SetReadDeadline(time.Now().Add(time.Second))
		b, _ := io.ReadAll(rw)
		s.rest, s.answer = string(b), "taken"
		if r.Method == http.MethodHead {
			s.answer = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nN: %s\r\nContent-Length: 5\r\n\r\n%s", w.Header().Get("N"), s.answer)
	},
}

// write writes text, which the client has to get.
func (s *seen) write(w http.ResponseWriter, text string) {
	_, err := io.WriteString(w, text)
	s.answer += text
	s.cut = s.cut || err != nil
}

// A visit is one client's stream of requests, and what has become of it.
type visit struct {
	t     *testing.T
	text  string
	how   uint64 // whatever is left to chance
	plain bool   // handlers do the first of acts
	size  int    // of the pieces in which the text comes; 0: any, with pauses
	leave leaving

	mu      sync.Mutex
	seen    []*seen
	refused []int // statuses of what no handler has seen
	output  bytes.Buffer
	ended   bool // the server has closed the connection while its client waited
}

// A leaving is how a client ends.
type leaving int

const (
	waits   leaving = iota // for the server to close
	halves                 // closes its direction once all is sent
	rests                  // closes when nothing happens any more
	leaves                 // closes once all is sent
	ignores                // reads nothing before all is sent
	drains                 // waits, while the server is told to end
	leavings
)

// Begun, Unread and Hijacked serve [h1.Owner].
func (v *visit) Begun() (time.Duration, bool) { return time.Minute, true }
func (v *visit) Hijacked()                    {}
func (v *visit) Unread(status int, cause, line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refused = append(v.refused, status)
}

// ServeHTTP does one of acts.
func (v *visit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &seen{status: http.StatusOK}
	v.mu.Lock()
	n := len(v.seen)
	v.seen = append(v.seen, s)
	v.mu.Unlock()
	w.Header().Set("N", fmt.Sprint(n))
	act := 0
	if !v.plain {
		act = v.chance(2+n).IntN(len(acts)+4) % len(acts) // most read all, or nothing
	}
	s.note(r)
	acts[act](w, r, s)
}

// chance decides for one of those who run side by side.
func (v *visit) chance(who int) *rand.Rand { return rand.New(rand.NewPCG(v.how, uint64(who))) }

// send sends the text, in pieces.
func (v *visit) send(c io.Writer) {
	rest, chance := v.text, v.chance(0)
	for len(rest) > 0 {
		n, pause := min(len(rest), v.size), -1
		if v.size == 0 {
			n, pause = min(len(rest), 1+chance.IntN(1<<chance.IntN(16))), chance.IntN(16)
		}
		if _, err := io.WriteString(c, rest[:n]); err != nil {
			return
		}
		rest = rest[n:]
		switch pause {
		case 0:
			time.Sleep(time.Millisecond)
		case 1:
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// run has the client send its text to a server of its own.
func (v *visit) run() {
	began := time.Now()
	srv := &h1.Server{Handler: v, HeadTime: 10 * time.Second, BodyStall: 30 * time.Second, UpgradeIdle: time.Minute, Panicked: func(p any) { v.t.Errorf("panic: %v", p) }}
	srv.Head = http1.Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}
	client, server := newDuplex()
	set := wire.NewSet(wire.Options{WriteStall: 2 * time.Minute})
	defer set.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		w := set.Add(server)
		srv.Serve(context.WithValue(context.Background(), http.ServerContextKey, new(http.Server)), w, w, v)
	})
	sent := make(chan bool)
	wg.Go(func() {
		defer close(sent)
		v.send(client)
		switch v.leave {
		case halves:
			client.CloseWrite()
		case leaves:
			client.Close()
		}
	})
	wg.Go(func() {
		if v.leave == ignores {
			<-sent
		}
		_, err := io.Copy(&v.output, client)
		v.ended = err == nil
		client.Close()
	})
	switch v.leave {
	case rests:
		<-sent
		time.Sleep(45 * time.Second) // longer than the server waits for the rest of a request
		client.Close()
	case drains:
		time.Sleep(time.Duration(v.chance(1).IntN(200)) * time.Millisecond)
		if err := srv.Shutdown(context.Background()); err != nil {
			v.t.Error(err)
		}
	}
	wg.Wait()
	if err := srv.Shutdown(context.Background()); err != nil {
		v.t.Error(err)
	}
	if took := time.Since(began); took > 15*time.Minute {
		v.t.Errorf("it took %v", took)
	}
}

// judge holds that no handler has seen what the stream does not say, and that the
// client has its answers.
func (v *visit) judge() {
	t, model := v.t, modelOf(v.text)
	if len(v.seen) > len(model) {
		t.Fatalf("%d requests were seen, of %d", len(v.seen), len(model))
	}
	for i, s := range v.seen {
		s.same(t, &model[i])
	}
	if len(v.refused) > 1 {
		t.Errorf("refused: %v", v.refused)
	}
	out := bufio.NewReader(&v.output)
	closed := false
	for i, s := range v.seen {
		if closed {
			t.Fatalf("request %d was seen behind an answer that closes", i)
		}
		res := v.response(out, &s.request)
		if res == nil {
			if !s.silent && !s.cut && v.gets() {
				t.Fatalf("request %d of %d has no answer: %+v", i, len(v.seen), s)
			}
			closed = true
			continue
		}
		if res.Header.Get("N") != fmt.Sprint(i) || res.StatusCode != s.status || s.silent {
			t.Fatalf("answer %d: %v", i, res)
		}
		want := s.answer
		if s.request.Method == http.MethodHead {
			want = ""
		}
		b, err := io.ReadAll(res.Body)
		switch whole := err == nil && string(b) == want; {
		case s.cut && whole && s.request.Method != http.MethodHead && res.ContentLength >= 0 && s.status == http.StatusOK:
			t.Errorf("answer %d, which was cut off, is whole", i)
		case !strings.HasPrefix(want, string(b)), !whole && !s.cut && v.gets():
			t.Errorf("answer %d: %.200q, %v, want %.200q", i, b, err, want)
		}
		if s.answer == "unread" && s.request.Header.Get("Expect") != "" && s.request.ProtoMinor > 0 && s.request.ContentLength != 0 && !res.Close {
			t.Errorf("answer %d: its client sends the body or not, and nobody can tell", i)
		}
		closed = res.Close || err != nil || s.cut || s.taken
	}
	v.refusal(out, closed)
	if len(v.seen) < len(model) && !closed && len(v.refused) == 0 && v.gets() && v.leave != drains {
		if n := len(v.seen); n == 0 || v.seen[n-1].ended {
			t.Errorf("%d requests of %d were seen, and nothing says why", n, len(model))
		}
	}
}

// gets reports whether the client stays to get all answers.
func (v *visit) gets() bool { return v.leave != leaves && v.leave != ignores }

// response reads the final response to r; nil: there is none.
func (v *visit) response(out *bufio.Reader, r *http.Request) *http.Response {
	continues := 0
	for {
		if _, err := out.Peek(1); err != nil {
			return nil
		}
		res, err := http.ReadResponse(out, r)
		if err != nil {
			if v.gets() {
				v.t.Fatalf("unreadable: %v", err)
			}
			return nil
		}
		if res.StatusCode == http.StatusContinue {
			if continues++; continues > 1 {
				v.t.Error("100 twice")
			}
		}
		if res.StatusCode >= 200 {
			return res
		}
		if r.ProtoMinor == 0 {
			v.t.Errorf("HTTP/1.0 got %d", res.StatusCode)
		}
	}
}

// refusal reads what comes behind all answers: why something was not read.
func (v *visit) refusal(out *bufio.Reader, closed bool) {
	if _, err := out.Peek(1); err != nil {
		if len(v.refused) > 0 && v.refused[0] != 0 && v.gets() {
			v.t.Errorf("nobody was told %v", v.refused)
		}
		return
	}
	res, err := http.ReadResponse(out, nil)
	if err != nil || closed || len(v.refused) == 0 || res.StatusCode != v.refused[0] || !res.Close || res.Header.Get("N") != "" {
		v.t.Fatalf("behind the answers: %v, %v, closed %t, refused %v", res, err, closed, v.refused)
	}
	io.Copy(io.Discard, res.Body)
	if rest, _ := io.ReadAll(out); len(rest) > 0 {
		v.t.Errorf("behind the refusal: %.200q", rest)
	}
}

// visitOnce has a client of the kind that how says send the text of script.
func visitOnce(t *testing.T, script string, how uint64) {
	text := streamOf(script)
	defer func() {
		if t.Failed() {
			t.Logf("how %d, text %.2000q", how, text)
		}
	}()
	visit := func(plain bool, size int, leave leaving) string {
		v := &visit{t: t, text: text, how: how, leave: leave, plain: plain, size: size}
		synctest.Test(t, func(*testing.T) { v.run() })
		got := changing.ReplaceAllString(v.output.String(), "")
		v.judge()
		return got
	}
	kind := how / uint64(leavings)
	size := 0
	if kind%4 == 0 {
		size = len(text)
	}
	if visit(false, size, leaving(how%uint64(leavings))); kind%8 == 1 && len(text) < 20_000 {
		n := 1 + int(kind/8%3)
		whole, pieces := visit(true, len(text), waits), visit(true, n, waits)
		if whole != pieces {
			t.Errorf("%d bytes at once:\n%.2000s\nall of it:\n%.2000s", n, pieces, whole)
		}
	}
}

// seeds are scripts that lead into corners, and hows.
var seeds = []struct {
	script string
	how    uint64
}{
	{"\x80\x81\x88\x80", 0},
	{"\x80\xae\xae\x80\x80", 54},    // empty lines in front of requests
	{"\x8c\x92\x93\x97\x80", 2},     // chunks, extensions, trailers, and a request behind them
	{"\x8e\x92\x95\x8d\x91\x80", 5}, // bodies that wait
	{"\x80\x8f\x91\x91", 31},        // what is sent behind an upgrade
	{"\xc3\xc0\x80\xff\x07", 7},     // large bodies, and one that is cut off
	{"\x9a\x9c\xa3\x9f\xae\x80", 1}, // a head of lines, one of them wrong
}

// FuzzServer sends streams of requests, right and wrong ones, in all pieces, to
// handlers of all kinds: they see what net/http's would see of the same bytes, or
// less where something is refused; the answers are whole and in order; and nothing
// is left.
func FuzzServer(f *testing.F) {
	for _, s := range seeds {
		f.Add(s.script, s.how)
	}
	f.Fuzz(func(t *testing.T, script string, how uint64) {
		if len(script) < 1<<10 {
			visitOnce(t, script, how)
		}
	})
}

// TestRandomStreams is a part of that which is the same each time.
func TestRandomStreams(t *testing.T) {
	for seed := range uint64(3000) {
		script := randomScript(rand.New(rand.NewPCG(seed, 0)))
		if visitOnce(t, script, seed); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// randomScript returns a script in which pieces stand side by side that fit, now
// and then.
func randomScript(r *rand.Rand) string {
	var b []byte
	for range 1 + r.IntN(8) {
		switch r.IntN(8) {
		case 0:
			b = append(b, byte(r.IntN(256)), 0x80+byte(r.IntN(len(pieces))))
		case 1:
			b = append(b, 0xff, byte(r.IntN(40)))
		case 2: // a head of lines
			b = append(b, 0x80+26+byte(r.IntN(2)))
			for range r.IntN(6) {
				b = append(b, 0x80+28+byte(r.IntN(18)))
			}
			b = append(b, 0x80+46)
		case 3, 4: // a body in chunks
			b = append(b, 0x80+[]byte{11, 12, 14}[r.IntN(3)])
			for range r.IntN(6) {
				b = append(b, 0x80+17+byte(r.IntN(9)))
			}
			b = append(b, 0x80+21+byte(r.IntN(4)))
		default:
			b = append(b, 0x80+byte(r.IntN(17)))
		}
	}
	return string(b)
}
