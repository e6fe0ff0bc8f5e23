package cache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/health"
)

// TestDecide: what must hold of every decision, in all situations that there are.
func TestDecide(t *testing.T) {
	for n := range 4 << 12 {
		s := situation{use: law.Use(n & 3)}
		flags := []*bool{
			&s.stored, &s.part, &s.large, &s.newer, &s.sick, &s.demands, &s.onlyIfCached, &s.looped, &s.head, &s.ranged, &s.onePart, &s.marked,
		}
		for i, f := range flags {
			*f = n>>(2+i)&1 == 1
		}
		d := decide(s)
		served := d.act <= serveSick
		fetches := d.act == fetchWhole || d.act == fetchPart
		forwarded := fetches || d.act == passOn
		for what, broken := range map[string]bool{
			"what is fresh is served":                    s.stored && s.use == law.Fresh && d.act != serveFresh,
			"what is not stored is not served":           served && !s.stored,
			"what may be used for nothing is not served": served && s.use == law.Ask,
			"stale parts are not served":                 served && s.part && s.use != law.Fresh,
			"orders are obeyed where it is sick":         d.act == serveSick && s.demands,
			"only if cached asks nobody":                 s.onlyIfCached && forwarded,
			"nothing else is refused":                    d.act == refuse && !s.onlyIfCached,
			"what has been here waits for nobody":        s.looped && fetches,
			"HEAD fills nothing":                         s.head && fetches,
			"a part is fetched for who asks for one":     d.act == fetchPart && !s.onePart,
			"what is marked is not waited for":           s.marked && !s.stored && fetches,
			"a look is always taken":                     d.act == passUnseen || d.act == passByRule,
			"what is forwarded has a reason":             forwarded != slices.Contains([]string{"uri-miss", "stale", "request", "bypass"}, d.reason) && d.act != refuse,
		} {
			if broken {
				t.Fatalf("not so: %s: %+v in %+v", what, d, s)
			}
		}
	}
}

// looping is a backend that knows its own requests again.
type looping struct{ *backend }

func (looping) Looped(r *http.Request) bool { return r.Header["X-Looped"] != nil }

// TestServesWhatItExplains serves what it has explained: over requests and stored
// states that are made up, the backend is asked if and for the reason that were
// explained, and a failure of it is covered if that was.
func TestServesWhatItExplains(t *testing.T) {
	const url = "http://a.example/page"
	pick := func(of *rand.Rand, list ...string) string { return list[of.IntN(len(list))] }
	fields := [][2]string{
		{"Range", "bytes=0-1"}, {"Range", "bytes=0-1,3-4"}, {"If-Range", `"a"`}, {"Cookie", "sid=1"}, {"Cookie", "_ga=1"}, {"Authorization", "Basic x"},
		{"If-None-Match", `"a"`}, {"If-Match", `"a"`}, {"Accept-Language", "de"}, {"Accept-Language", "en"}, {"X-New", "1"}, {"X-Looped", "1"},
		{"Cache-Control", "no-cache"}, {"Cache-Control", "only-if-cached"}, {"Cache-Control", "max-stale"}, {"Cache-Control", "no-store"},
		{"Upgrade", "websocket"}, {"X-Pass", "1"}, {"X-Group", "b"},
	}
	request := func(of *rand.Rand, method string) *http.Request {
		r := httptest.NewRequest(method, url+pick(of, "", "", "?gclid=1"), nil)
		for range of.IntN(3) {
			f := fields[of.IntN(len(fields))]
			r.Header.Set(f[0], f[1])
		}
		return r
	}
	verdicts := make(map[string]int)
	for seed := range uint64(4000) {
		synctest.Test(t, func(t *testing.T) {
			of := rand.New(rand.NewPCG(seed, 1))
			b := &backend{header: http.Header{}}
			b.header.Set("Cache-Control", pick(of, "max-age=10", "max-age=10, stale-while-revalidate=10, stale-if-error=100", "no-cache", "private", "max-age=10, must-revalidate", "public, max-age=10", "no-store"))
			for name, value := range map[string]string{"Etag": `"a"`, "Vary": pick(of, "", "Accept-Language", "X-New"), "Cache-Tag": "t"} {
				if value != "" && of.IntN(4) > 0 {
					b.header.Set(name, value)
				}
			}
			fails := false
			b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
				switch {
				case fails:
					clear(w.Header())
					w.WriteHeader(503)
				case r.Header.Get("Range") == "bytes=0-1":
					w.Header().Set("Content-Range", "bytes 0-1/10")
					w.WriteHeader(206)
					fmt.Fprint(w, "01")
				default:
					fmt.Fprint(w, "0123456789")
				}
			}
			opts := Options{IgnoreCookies: []string{"_ga"}}
			if of.IntN(2) == 0 {
				opts.Orders = everybody
			}
			if of.IntN(4) == 0 {
				opts.FillFields = BrowserFields()
			}
			opts.Rules.Plan = func(r *http.Request) Plan {
				return Plan{Pass: r.Header["X-Pass"] != nil, Key: r.Header["X-Group"], Query: Query{Drop: Tracking()}, Why: "a rule"}
			}
			c, h := open(t, opts, looping{b})
			for range of.IntN(3) {
				do(h, request(of, "GET"))
				time.Sleep(time.Duration(of.IntN(15)) * time.Second)
			}
			if of.IntN(4) == 0 {
				_, _ = c.Invalidate(t.Context(), Invalidation{Tags: []string{"t"}})
				time.Sleep(time.Duration(of.IntN(2)) * 20 * time.Second)
			}
			synctest.Wait()
			b.sick.Store(of.IntN(3) == 0)
			fails = of.IntN(3) == 0

			r := request(of, pick(of, "GET", "GET", "GET", "HEAD", "POST", "PURGE"))
			r.RemoteAddr = "192.0.2.1:1"
			d := h.(health.Explainer).Explain(r)
			verdicts[d.Verdict]++
			if again := h.(health.Explainer).Explain(r); !reflect.DeepEqual(d, again) {
				t.Errorf("%d: explained %+v, then %+v", seed, d, again)
			}
			before := b.calls.Load()
			w := do(h, r)
			asked := b.calls.Load() > before
			status := w.Header().Get("Cache-Status")
			var did string
			switch {
			case strings.Contains(status, "; hit"):
				did = "hit"
			case w.Code == 504:
				did = "refuse"
			case !asked:
				did = "nothing"
			default:
				did = "forward"
			}
			explained := d.Verdict
			if explained == "miss" || explained == "pass" {
				explained = "forward"
			}
			if explained != did || did == "forward" && len(d.Next) == 0 {
				t.Errorf("%d: %s %v: explained %+v, did %s: %d %s", seed, r.Method, r.Header, d, did, w.Code, status)
			}
			covers := slices.Contains(d.Steps, "what is stored is served if the backend fails")
			if covered := strings.Contains(status, "stale: "); covered != (covers && fails) {
				t.Errorf("%d: %s %v: explained %+v, the backend fails: %t, was covered: %t: %s", seed, r.Method, r.Header, d, fails, covered, status)
			}
			if why := strings.TrimPrefix(d.Why, "rule: "); d.Verdict == "pass" && r.Header["Upgrade"] == nil && !strings.HasSuffix(status, detail(why)) {
				t.Errorf("%d: %s %v: explained %+v: %s", seed, r.Method, r.Header, d, status)
			}
		})
	}
	if len(verdicts) != 4 || verdicts["refuse"] < 20 {
		t.Errorf("what was made up does not cover all: %v", verdicts)
	}
}
