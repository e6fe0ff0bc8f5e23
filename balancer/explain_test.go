package balancer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
)

// Explain tells what serving then does: who answers, or with what status, at
// once or after a wait.
func TestExplainAgreesWithServing(t *testing.T) {
	const long = time.Hour
	at := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "at", Value: name}) }
	}
	guard := func(path string) func(*Pool) { return func(p *Pool) { p.opts.Refuse = onPath(path) } }
	cases := map[string]struct {
		limit  Limits
		busy   []string    // backends that have a request in hand, each once more for each time
		opts   func(*Pool) // changes it
		edit   func(*http.Request)
		want   string // Explain's verdict; a name is who answers, and a number the status
		why    string // a part of it
		waited time.Duration
	}{
		"bound":                                {limit: Limits{InFlight: 1}, edit: at("b"), want: "b", why: "bound"},
		"bound to a full one":                  {limit: Limits{InFlight: 1, Wait: time.Second}, busy: []string{"b"}, edit: at("b"), want: "waits", why: "bound to b, which has 1 of 1", waited: time.Second},
		"bound to a full one, without a queue": {limit: Limits{InFlight: 1, Queue: -1}, busy: []string{"b"}, edit: at("b"), want: "503", why: "bound to b"},
		"the other is full":                    {limit: Limits{InFlight: 1}, busy: []string{"b"}, want: "a", why: "only one"},
		"all are full":                         {limit: Limits{InFlight: 1, Wait: time.Second}, busy: []string{"a", "b"}, want: "waits", why: "full", waited: time.Second},
		"all are full, without a queue":        {limit: Limits{InFlight: 1, Queue: -1}, busy: []string{"a", "b"}, want: "503", why: "full"},
		"an upgrade where streams are full":    {limit: Limits{Streams: 1}, busy: []string{"sa", "sb"}, edit: header("Accept", "text/event-stream"), want: "503", why: "streams"},
		"a page where streams are full":        {limit: Limits{Streams: 1}, busy: []string{"sa", "sb", "b"}, want: "a"},
		"has its share of all":                 {limit: Limits{InFlight: 8, Wait: time.Second}, busy: times(7, "a", "b"), want: "waits", why: "share of the places in all: it holds 14, and the 2", waited: time.Second},
		"has its share of one":                 {limit: Limits{InFlight: 8}, busy: times(7, "b"), want: "a"},
		"has its share where it is bound":      {limit: Limits{InFlight: 8, Wait: time.Second}, busy: times(7, "b"), edit: at("b"), want: "waits", why: "places at b, to which it is bound: it holds 7, and the 1", waited: time.Second},
		"has its share, without a queue":       {limit: Limits{InFlight: 8, Queue: -1}, busy: times(7, "a", "b"), want: "503", why: "share of the places"},
		"another has its share":                {limit: Limits{InFlight: 8}, busy: times(7, "a"), edit: func(r *http.Request) { from(9)(r); at("a")(r) }, want: "a"},
		"nobody makes room for the same":       {limit: Limits{InFlight: 1, Queue: 2}, busy: []string{"a", "b", "a", "a"}, want: "503", why: "the queue is full, with 2 of 2"},
		"one makes room for another":           {limit: Limits{InFlight: 1, Queue: 2, Wait: time.Second}, busy: []string{"a", "b", "a", "a"}, edit: from(9), want: "waits", why: "behind 2", waited: time.Second},
		"has its share of the streams":         {limit: Limits{Streams: 8}, busy: times(7, "sa", "sb"), edit: header("Accept", "text/event-stream"), want: "503", why: "own streams"},
		"refused":                              {opts: guard("/page"), want: "refused"},
		"refused behind the base path":         {opts: guard("/base/page"), want: "refused", why: "would get"},
		"refused for what the pool writes":     {opts: func(p *Pool) { p.opts.Refuse = onField("X-Forwarded-Proto") }, want: "refused"},
		"refused once it is rewritten": {opts: func(p *Pool) {
			p.opts.Refuse = onPath("/rewritten")
			p.opts.Rewrite = func(pr *httputil.ProxyRequest) { pr.Out.URL.Path = "/rewritten" }
		}, want: "refused"},
		"not refused for what goes no further": {busy: []string{"b"}, opts: func(p *Pool) { p.opts.Refuse = onField("X-Guarded") }, edit: func(r *http.Request) {
			r.Header.Set("Connection", "X-Guarded")
			r.Header.Set("X-Guarded", "1")
		}, want: "a"},
		"an upgrade to what is no name": {edit: func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "\x80")
		}, want: "502", why: "invalid protocol"},
		"closed": {opts: func(p *Pool) { _ = p.Close() }, want: "503", why: "closed"},
		"in maintenance": {opts: func(p *Pool) {
			_, _ = p.SetMode("a", Maintenance), p.SetMode("b", Maintenance)
		}, want: "none", why: "no backend"},
		"bound to one in maintenance": {opts: func(p *Pool) { _ = p.SetMode("b", Maintenance) }, edit: at("b"), want: "a", why: "not to be had"},
		"a loop":                      {edit: func(r *http.Request) { r.Header.Set("Via", "1.1 self") }, want: "508"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/base/slow" {
						if r.Header["Accept"] != nil {
							w.Header().Set("Content-Type", "text/event-stream")
							_ = http.NewResponseController(w).Flush()
						}
						select {
						case <-r.Context().Done():
						case <-time.After(long):
						}
					}
				}
				rts := []http.RoundTripper{inprocess.Transport{Handler: http.HandlerFunc(serve)}, inprocess.Transport{Handler: http.HandlerFunc(serve)}}
				backends, way := ways(rts...)
				for i := range backends {
					backends[i].URL += "/base"
				}
				p := newPool(t, backends, Options{Limits: c.limit, Affinity: cookie{}, Policy: LeastInFlight(), Transport: way, Via: "self"})
				for _, who := range c.busy {
					r := httptest.NewRequest("GET", "/slow", nil)
					if name, ok := strings.CutPrefix(who, "s"); ok {
						who = name
						r.Header.Set("Accept", "text/event-stream")
					}
					at(who)(r)
					go func() {
						res, err := p.RoundTrip(r)
						if err == nil {
							_, _ = io.Copy(io.Discard, res.Body)
							_ = res.Body.Close()
						}
					}()
					synctest.Wait()
				}
				if c.opts != nil {
					c.opts(p)
				}
				r := httptest.NewRequest("GET", "/page", nil)
				if c.edit != nil {
					c.edit(r)
				}
				d := p.Explain(r)
				if d.Verdict != c.want || !strings.Contains(d.Why, c.why) {
					t.Errorf("Explain: %s (%s), want %s (%s)", d.Verdict, d.Why, c.want, c.why)
				}
				before := map[string]uint64{}
				for _, s := range p.Backends() {
					before[s.Name] = s.Requests
				}
				began := time.Now()
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				got := fmt.Sprint(w.Code)
				for _, s := range p.Backends() {
					if s.Requests > before[s.Name] {
						got = s.Name
					}
				}
				got = map[bool]string{true: "waits", false: got}[time.Since(began) > 0]
				served := map[string]string{"none": "503", "refused": "403"}[c.want]
				if served == "" {
					served = c.want
				}
				if c.want == "refused" { // by a guard behind the pick, too
					got = fmt.Sprint(w.Code)
				}
				if got != served || time.Since(began) != c.waited {
					t.Errorf("serving: %s after %v, want %s after %v", got, time.Since(began), served, c.waited)
				}
				time.Sleep(2 * long) // all end
			})
		})
	}
}

// That an answer is a stream shows when it comes: what becomes of it where there is
// no place for one more is told beforehand.
func TestExplainTellsWhatAStreamWouldGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" {
				w.Header().Set("Content-Type", "text/event-stream")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-end:
				case <-r.Context().Done():
				}
			}
		}), Options{Limits: Limits{Streams: 1}})
		const note = "503 if its answer turns out to be a stream"
		get := func(path string) (told bool, status int) {
			r := httptest.NewRequest("GET", path, nil)
			told = strings.Contains(p.Explain(r).Why, note)
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			return told, w.Code
		}
		if told, status := get("/page"); told || status != 200 {
			t.Errorf("no stream: told %t, %d", told, status)
		}
		go p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/events", nil))
		synctest.Wait()
		if told, status := get("/page"); !told || status != 200 {
			t.Errorf("a page beside a stream: told %t, %d", told, status)
		}
		if told, status := get("/events"); !told || status != 503 {
			t.Errorf("a stream beside a stream: told %t, %d", told, status)
		}
		close(end)
	})
}

// Who is bound to a backend that is free does not wait with those who are not, but
// has to get into the queue.
func TestExplainsAPlaceBesideAQueue(t *testing.T) {
	for queue, want := range map[int]string{1: "503", 2: "b"} {
		synctest.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			backends := here(func(http.ResponseWriter, *http.Request) { <-end }, func(http.ResponseWriter, *http.Request) {})
			backends[1].Tier = 1
			p := newPool(t, backends, Options{Affinity: cookie{}, Limits: Limits{InFlight: 1, Queue: queue, Wait: time.Second}})
			for range 2 {
				go p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				synctest.Wait()
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(&http.Cookie{Name: "at", Value: "b"})
			d, began, w := p.Explain(r), time.Now(), httptest.NewRecorder()
			p.ServeHTTP(w, r)
			served := map[int]string{200: "b", 503: "503"}[w.Code]
			if d.Verdict != want || served != want || time.Since(began) > 0 {
				t.Errorf("a queue of %d: explained %s (%s), served %s after %v, want %s", queue, d.Verdict, d.Why, served, time.Since(began), want)
			}
			close(end)
		})
	}
}

// times returns n times each of names.
func times(n int, names ...string) (out []string) {
	for _, name := range names {
		out = append(out, slices.Repeat([]string{name}, n)...)
	}
	return out
}

// onField is a guard of requests with a field.
type onField string

func (f onField) Match(r *http.Request) bool { return r.Header[string(f)] != nil }

// onPath is a guard of one path.
type onPath string

func (p onPath) Match(r *http.Request) bool { return r.URL.Path == string(p) }
