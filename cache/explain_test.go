package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// TestExplainSaysWhatServingDoes: over what may be stored, demanded and wrong
// with the backend, the decision that is explained is the one that is served.
func TestExplainSaysWhatServingDoes(t *testing.T) {
	stored := map[string]http.Header{ // by what is stored under the URL
		"nothing":      nil,
		"a page":       {"Cache-Control": {"max-age=10, stale-while-revalidate=10, stale-if-error=100"}, "Etag": {`"a"`}},
		"no-cache":     {"Cache-Control": {"no-cache"}, "Etag": {`"a"`}},
		"must not":     {"Cache-Control": {"max-age=10, must-revalidate"}, "Etag": {`"a"`}},
		"not storable": {"Cache-Control": {"private"}},
		"a part":       {"Cache-Control": {"max-age=10, stale-if-error=100"}, "Etag": {`"a"`}},
	}
	demands := [][]string{
		nil, {"Cache-Control", "no-cache"}, {"Cache-Control", "max-age=0"}, {"Cache-Control", "only-if-cached"}, {"Cache-Control", "no-store"},
		{"Cache-Control", "max-stale=50"}, {"Cache-Control", "min-fresh=9"}, {"Pragma", "no-cache"}, {"Range", "bytes=0-1"}, {"Range", "bytes=0-1,3-4"},
		{"Cookie", "sid=1"}, {"Authorization", "Basic x"}, {"If-None-Match", `"a"`}, {"If-Match", `"a"`}, {"Accept-Encoding", "gzip"},
	}
	for name, header := range stored {
		for _, obeyed := range [][]netip.Prefix{nil, everybody} {
			for _, age := range []time.Duration{0, 15 * time.Second, 50 * time.Second, 200 * time.Second} {
				for _, state := range []string{"well", "sick", "failing", "resting"} {
					for _, method := range []string{"GET", "HEAD", "POST"} {
						for _, demand := range demands {
							synctest.Test(t, func(t *testing.T) {
								b := &backend{header: header}
								fails := false
								b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
									if fails {
										clear(w.Header())
										w.WriteHeader(503)
										return
									}
									if name == "a part" {
										w.Header().Set("Content-Range", "bytes 0-9/20")
										w.WriteHeader(206)
									}
									fmt.Fprint(w, "0123456789")
								}
								_, h := open(t, Options{Orders: obeyed}, b)
								switch name {
								case "nothing":
								case "a part":
									get(h, "http://a.example/", "Range", "bytes=0-9")
								default:
									get(h, "http://a.example/")
								}
								time.Sleep(age)
								fails = state != "well"
								if state == "resting" {
									get(h, "http://a.example/")
									synctest.Wait()
								}
								b.sick.Store(state == "sick")
								r := httptest.NewRequest(method, "http://a.example/", nil)
								for i := 0; i < len(demand); i += 2 {
									r.Header.Set(demand[i], demand[i+1])
								}
								d := h.(health.Explainer).Explain(r)
								before := b.calls.Load()
								w := do(h, r)
								behind := b.calls.Load() - before // in a fetch's goroutine only if somebody waited
								status := w.Header().Get("Cache-Status")
								did := "miss"
								switch {
								case strings.Contains(status, "; hit"):
									did = "hit"
								case w.Code == 504:
									did = "refuse"
								case strings.Contains(status, "fwd=bypass"), strings.Contains(status, `detail="HEAD"`), strings.Contains(status, `detail="Range"`), strings.Contains(status, `detail="`+lately):
									did = "pass"
								}
								if d.Verdict != did {
									t.Errorf("%s, %v old, %s backend, %s %v: explained %q (%s), did %q: %s", name, age, state, method, demand, d.Verdict, d.Why, did, status)
								}
								if asks := len(d.Next) > 0; did != "hit" && asks != (behind > 0) {
									t.Errorf("%s, %v old, %s backend, %s %v: explained that the backend is asked: %t, was asked %d times", name, age, state, method, demand, asks, behind)
								}
							})
						}
					}
				}
			}
		}
	}
}

// below is asked and serves, and keeps what it got each time.
type below struct{ asked, served string }

func (b *below) tell(r *http.Request) string {
	h := r.Header.Clone()
	return fmt.Sprint(r.Method, " ", r.Host, " ", r.URL, " ", h)
}

func (b *below) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.served = b.tell(r)
	w.Header().Set("Etag", `"a"`)
	w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=10")
	fmt.Fprint(w, "0123456789")
}

func (b *below) Explain(r *http.Request) health.Decision {
	b.asked = b.tell(r)
	return health.Decision{Part: "below"}
}

// Who lies below is asked about what it is then sent: the fetch's own request,
// a refresh's, or the client's.
func TestExplainAsksBelowAboutTheFetch(t *testing.T) {
	for _, age := range []time.Duration{-1, 0, 15 * time.Second, 25 * time.Second} { // of what is stored
		for _, header := range [][]string{
			nil, {"If-None-Match", `"b"`}, {"Cookie", "_ga=1; sid=1"}, {"Accept-Encoding", "br;q=0, gzip"}, {"Cache-Control", "no-cache"}, {"Range", "bytes=0-1"}, {"Range", "bytes=0-1,3-4"},
		} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				synctest.Test(t, func(t *testing.T) {
					b := &below{}
					_, h := open(t, Options{IgnoreCookies: Analytics(), Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
					if age >= 0 {
						get(h, "http://a.example/")
						time.Sleep(age)
					}
					*b = below{}
					r := httptest.NewRequest(method, "http://A.example:80/?gclid=1", nil)
					for i := 0; i < len(header); i += 2 {
						r.Header.Set(header[i], header[i+1])
					}
					h.(health.Explainer).Explain(r)
					do(h, r)
					synctest.Wait()
					if b.asked != b.served {
						t.Errorf("%s %v, stored for %v: asked about\n%s\nserved\n%s", method, header, age, b.asked, b.served)
					}
				})
			}
		}
	}
}

// A fetch that is under way is told, and who would wait for it asks nobody.
func TestExplainTellsOfAFetchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			time.Sleep(time.Second)
			fmt.Fprint(w, "page")
		}}
		_, h := open(t, Options{}, b)
		go get(h, "http://a.example/")
		synctest.Wait()
		for name, c := range map[string]struct {
			cookie string
			waits  bool
		}{"plain": {"", true}, "for one alone": {"sid=1", false}} {
			r := httptest.NewRequest("GET", "http://a.example/", nil)
			if c.cookie != "" {
				r.Header.Set("Cookie", c.cookie)
			}
			d := h.(health.Explainer).Explain(r)
			if waits := strings.Contains(d.String(), "under way"); waits != c.waits || waits == (len(d.Next) > 0) {
				t.Errorf("%s: %s", name, d)
			}
		}
		time.Sleep(time.Minute)
	})
}

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{header: control("max-age=60, stale-while-revalidate=10")}
		c, h := open(t, Options{Rules: Rules{Plan: func(r *http.Request) Plan {
			return Plan{Pass: r.URL.Path == "/cart", Why: "the cart"}
		}}}, b)
		explain := func(method, url string) string {
			d := h.(health.Explainer).Explain(httptest.NewRequest(method, url, nil))
			return d.Verdict + ": " + d.Why
		}
		check := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		check(explain("POST", "http://a.example/"), "pass: method")
		check(explain("GET", "http://a.example/cart"), "pass: rule: the cart")
		check(explain("GET", "http://a.example/"), "miss: nothing stored matches")
		get(h, "http://a.example/")
		check(explain("GET", "http://a.example/"), "hit: ")
		time.Sleep(65 * time.Second)
		check(explain("GET", "http://a.example/"), "hit: stale within grace, refreshed meanwhile")
		time.Sleep(10 * time.Second)
		check(explain("GET", "http://a.example/"), "miss: stale")
		b.sick.Store(true)
		check(explain("GET", "http://a.example/"), "hit: stale, and the backend is sick")
		if n := b.calls.Load(); n != 1 {
			t.Errorf("%d calls: Explain asked the backend", n)
		}
		if r := c.Report(); r.Kind != "cache" || len(r.Metrics) == 0 {
			t.Errorf("Report: %+v", r)
		}
	})
}

func TestLogNotes(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	_, h := open(t, Options{}, b)
	for _, want := range []string{"miss: stored", "hit", "pass: method"} {
		ctx, rec := transit.With(t.Context())
		method := "GET"
		if want == "pass: method" {
			method = "POST"
		}
		do(h, httptest.NewRequestWithContext(ctx, method, "http://a.example/", nil))
		got := ""
		for part, v := range rec.Notes() {
			got += part + "=" + v.LogValue().String()
		}
		if got != "cache="+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
