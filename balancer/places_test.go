package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// slow answers for /slow after a minute, or when nobody waits any more, for
// /events without an end, and else at once. It is for synctest bubbles, whose
// minutes take no time.
func slow(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/slow":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// noneHeld fails the test if p still counts something of any client.
func noneHeld(t *testing.T, p *Pool) {
	t.Helper()
	if n := p.view.Counted(); n != 0 || p.view.Waiting() != 0 {
		t.Errorf("afterwards %d are counted of clients, %d wait", n, p.view.Waiting())
	}
	for _, s := range p.Backends() {
		if s.InFlight != 0 || s.Streams != 0 {
			t.Errorf("afterwards %s has %d requests and %d streams", s.Name, s.InFlight, s.Streams)
		}
	}
}

// TestOneClientsSlowPagesLeaveThePoolToOthers: however many pages one visitor
// asks for, and wherever they are bound, others are served at once.
func TestOneClientsSlowPagesLeaveThePoolToOthers(t *testing.T) {
	bound := func(name string) func(*http.Request) { return header("Cookie", "at="+name) }
	cases := map[string]struct {
		backends int
		limit    Limits
		edit     func(*http.Request) // of the one and of the others
		most     int                 // places that the one has
	}{
		"one backend":                 {1, Limits{InFlight: 100}, nil, 88},
		"eight places":                {1, Limits{InFlight: 8}, nil, 7},
		"several":                     {3, Limits{InFlight: 16}, nil, 42},
		"several of few places":       {6, Limits{InFlight: 4}, nil, 21},
		"several of one place":        {16, Limits{InFlight: 1}, nil, 14},
		"a queue for one":             {3, Limits{InFlight: 16, Queue: 1}, nil, 42},
		"no queue":                    {3, Limits{InFlight: 16, Queue: -1}, nil, 42},
		"bound to one of several":     {3, Limits{InFlight: 16}, bound("b"), 14},
		"bound, and a queue for one":  {3, Limits{InFlight: 16, Queue: 1}, bound("b"), 14},
		"for long":                    {2, Limits{InFlight: 16, Wait: time.Hour}, nil, 28},
		"it says that it is a stream": {2, Limits{InFlight: 16, Streams: 4}, header("Accept", "text/event-stream"), 28},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handlers := make([]http.HandlerFunc, c.backends)
				for i := range handlers {
					handlers[i] = slow
				}
				p := newPool(t, here(handlers...), Options{Limits: c.limit, Affinity: cookie{}})
				if c.edit == nil {
					c.edit = func(*http.Request) {}
				}
				var one sync.WaitGroup
				for range 240 {
					one.Go(func() { get(p, "GET", "/slow", nil, from(1), c.edit) })
				}
				time.Sleep(time.Second)
				held := 0
				for _, s := range p.Backends() {
					held += s.InFlight
				}
				if held != c.most {
					t.Errorf("one client has %d places, want %d", held, c.most)
				}
				began := time.Now()
				for i := range 58 {
					if w := get(p, "GET", "/", nil, from(2+i), c.edit); w.Code != 200 {
						t.Fatalf("another client's page: %d", w.Code)
					}
				}
				if w := get(p, "GET", "/", nil, func(r *http.Request) { r.RemoteAddr = "" }); w.Code != 200 {
					t.Errorf("a page of nobody knows whom: %d", w.Code)
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("the others waited %v", d)
				}
				one.Wait()
				synctest.Wait()
				noneHeld(t, p)
			})
		})
	}
}

// TestSeveralClientsLeaveSomething too: one holds no more than seven times what
// is free.
func TestSeveralClientsLeaveSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(slow, slow, slow), Options{Limits: Limits{InFlight: 80}})
		var they sync.WaitGroup
		for i := range 2 {
			for range 240 {
				they.Go(func() { get(p, "GET", "/slow", nil, from(i)) })
			}
			synctest.Wait()
		}
		if w := get(p, "GET", "/", nil, from(9)); w.Code != 200 {
			t.Errorf("another client's page beside two who ask for all: %d", w.Code)
		}
		they.Wait()
		synctest.Wait()
		noneHeld(t, p)
	})
}

// TestOneClientsStreamsLeaveThePoolToOthers, whether they are known by their
// rule, by what they ask for, or by the answer.
func TestOneClientsStreamsLeaveThePoolToOthers(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"by the rule":    terms(transit.Terms{Streams: true}),
		"by the request": header("Accept", "text/event-stream"),
		"by the answer":  func(*http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(slow, slow), Options{Limits: Limits{Streams: 20, InFlight: 100}})
				var open []*http.Response
				ask := func(n int) error {
					r := httptest.NewRequest("GET", "/events", nil)
					from(n)(r)
					edit(r)
					res, err := p.RoundTrip(r)
					if err == nil {
						open = append(open, res)
					}
					return err
				}
				for range 60 {
					if err := ask(1); err != nil && !errors.Is(err, ErrBusy) {
						t.Fatal(err)
					}
				}
				if len(open) != 35 {
					t.Errorf("one client has %d of 40 streams", len(open))
				}
				for i := range 2 {
					if err := ask(2 + i); err != nil {
						t.Errorf("another client's stream: %v", err)
					}
				}
				for _, res := range open {
					_ = res.Body.Close()
				}
				synctest.Wait()
				noneHeld(t, p)
			})
		})
	}
}

// TestWhoHasItsShareStandsAside in the queue: those behind get what comes free, and
// it does when its own ends.
func TestWhoHasItsShareStandsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			d, _ := time.ParseDuration(r.URL.RawQuery)
			time.Sleep(d)
		}), Options{Limits: Limits{InFlight: 8, Queue: 8, Wait: 5 * time.Second}})
		type answer struct {
			who, code int
			after     time.Duration
		}
		began := time.Now()
		answers := make(chan answer, 99)
		var all sync.WaitGroup
		ask := func(who int, d string) {
			all.Go(func() {
				code := get(p, "GET", "/?"+d, nil, from(who)).Code
				answers <- answer{who, code, time.Since(began)}
			})
			synctest.Wait()
		}
		for i := range 7 {
			ask(1, fmt.Sprint(3000+i*10, "ms")) // all that one may have
		}
		ask(2, "1s") // has the last place
		for range 4 {
			ask(1, "10ms")
		}
		ask(3, "100ms") // waits for client 2's place, behind client 1's
		if n := p.view.Waiting(); n != 5 {
			t.Errorf("%d wait, want 5", n)
		}
		time.Sleep(1050 * time.Millisecond) // client 3 has what was client 2's
		if n := p.view.Waiting(); n != 4 {
			t.Errorf("%d wait, want 4", n)
		}
		time.Sleep(100 * time.Millisecond)
		ask(4, "1ms") // is not behind those who wait for their own
		all.Wait()
		close(answers)
		served := map[int]int{}
		for a := range answers {
			if a.who == 3 && (a.code != 200 || a.after != 1100*time.Millisecond) {
				t.Errorf("who stood behind: %d after %v, want 200 after 1.1s", a.code, a.after)
			}
			if a.who == 4 && (a.code != 200 || a.after != 1151*time.Millisecond) {
				t.Errorf("who came later: %d after %v, want 200 after 1.151s", a.code, a.after)
			}
			if a.code == 200 {
				served[a.who]++
			} else if a.after != 0 {
				t.Errorf("client %d: %d after %v", a.who, a.code, a.after)
			}
		}
		if served[1] != 7+4 || served[2] != 1 || served[3] != 1 {
			t.Errorf("served %v", served)
		}
		noneHeld(t, p)
	})
}

// TestTheQueueHasTurns: a client fills the queue where nobody else wants it, the
// newest of its requests make room for others', and of these none waits for more
// than one of them.
func TestTheQueueHasTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			d, _ := time.ParseDuration(r.URL.RawQuery)
			time.Sleep(d)
		}), Options{Limits: Limits{InFlight: 2, Queue: 128, Wait: time.Hour}})
		var codes [2]atomic.Int32 // 200, 503
		count := func(code int) { codes[map[bool]int{true: 0, false: 1}[code == 200]].Add(1) }
		var greedy sync.WaitGroup
		for range 400 {
			greedy.Go(func() { count(get(p, "GET", "/?1s", nil, from(1)).Code) })
		}
		synctest.Wait()
		if n := p.view.Waiting(); n != 128 || codes[1].Load() != 400-128-2 {
			t.Errorf("%d of one client wait, %d were turned away", n, codes[1].Load())
		}
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		var others sync.WaitGroup
		for i := range 32 {
			others.Go(func() {
				for range 2 {
					if code := get(p, "GET", "/?10ms", nil, from(2+i)).Code; code != 200 {
						t.Errorf("another: %d", code)
					}
				}
			})
		}
		synctest.Wait()
		if n := p.view.Waiting(); n != 128 {
			t.Errorf("%d wait, want 128", n)
		}
		others.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("others' two pages of 10 ms took %v", took)
		}
		greedy.Wait()
		if codes[0].Load() != 2+128-32 {
			t.Errorf("of the greedy client's %d were served", codes[0].Load())
		}
		noneHeld(t, p)
	})
}

// TestWhatIsCountedIsGivenBack on every way out, and an exchange counts as one,
// however often it is tried.
func TestWhatIsCountedIsGivenBack(t *testing.T) {
	var fails, stands, breaks, ok http.HandlerFunc
	fails = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	stands = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	breaks = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}
	ok = func(http.ResponseWriter, *http.Request) {}
	cases := map[string]struct {
		handlers []http.HandlerFunc
		opts     Options
		method   string
		body     io.Reader
	}{
		"served":                {handlers: []http.HandlerFunc{ok}},
		"tried again":           {handlers: []http.HandlerFunc{fails, fails, ok}},
		"failed everywhere":     {handlers: []http.HandlerFunc{fails, fails, fails}},
		"broken off":            {handlers: []http.HandlerFunc{breaks, breaks, ok}},
		"no retry left":         {handlers: []http.HandlerFunc{fails, ok}, opts: Options{Retries: Retries{Budget: 1e-9, Min: -1}}},
		"too long":              {handlers: []http.HandlerFunc{stands, stands}, opts: Options{Timeouts: Timeouts{Header: time.Second}}},
		"too long in all":       {handlers: []http.HandlerFunc{stands, stands}, opts: Options{Timeouts: Timeouts{Total: time.Second}}},
		"an order":              {handlers: []http.HandlerFunc{ok}, method: "POST", body: strings.NewReader("order")},
		"an order that breaks":  {handlers: []http.HandlerFunc{ok}, method: "POST", body: failing{io.ErrUnexpectedEOF}},
		"refused behind a base": {handlers: []http.HandlerFunc{ok}, opts: Options{Refuse: &second{}}},
		"without backends":      {},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.opts.Limits = Limits{InFlight: 8, Streams: 8}
				c.opts.Policy = RoundRobin()
				p := newPool(t, here(c.handlers...), c.opts)
				if c.method == "" {
					c.method = "GET"
				}
				for range 9 { // more than the places
					get(p, c.method, "/", c.body, from(1))
				}
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(10*time.Millisecond, cancel)
				get(p, "GET", "/", nil, from(1), func(r *http.Request) { *r = *r.WithContext(ctx) })
				synctest.Wait()
				noneHeld(t, p)
			})
		})
	}
	// Seven have all that is due to the client, and each is tried twice.
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.WriteHeader(http.StatusServiceUnavailable)
		}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }), Options{Limits: Limits{InFlight: 4}, Policy: First(), Retries: Retries{Min: 100}})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if w := get(p, "GET", "/", nil, from(1)); w.Code != 200 {
					t.Errorf("what is tried again: %d", w.Code)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		noneHeld(t, p)
	})
}

// second matches what it is asked about for the second time.
type second struct{ asked int }

func (s *second) Match(*http.Request) bool { s.asked++; return s.asked%2 == 0 }

// TestExcerptsCountTogether: one client has its share of a backend once, in
// whatever excerpts of the pool it is.
func TestExcerptsCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(slow), Options{Limits: Limits{InFlight: 16}})
		part := p.Only("part", func(Status) bool { return true })
		var one sync.WaitGroup
		for range 40 {
			one.Go(func() { get(p, "GET", "/slow", nil, from(1)) })
			one.Go(func() { get(part, "GET", "/slow", nil, from(1)) })
		}
		synctest.Wait()
		if n := p.Backends()[0].InFlight; n != 14 {
			t.Errorf("one client has %d of 16 places", n)
		}
		one.Wait()
		synctest.Wait()
		noneHeld(t, p)
	})
}
