package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// TestWarm: what can be stored is stored, for visitors who ask as browsers do, and of
// what is not it is said why.
func TestWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Cache-Control", "max-age=60")
			switch r.URL.Path {
			case "/private":
				w.Header().Set("Cache-Control", "private")
			case "/no":
				w.Header().Set("Cache-Control", "no-store")
			case "/etag":
				w.Header().Set("Cache-Control", "no-cache")
				w.Header().Set("Etag", `"a"`)
				if r.Header.Get("If-None-Match") != "" {
					w.WriteHeader(304)
					return
				}
			case "/missing":
				w.WriteHeader(404)
			case "/moved":
				w.Header().Set("Location", "/")
				w.WriteHeader(301)
			case "/panics":
				panic("no such page")
			case "/breaks":
				w.Header().Set("Content-Length", "100")
			case "/varies":
				w.Header().Set("Vary", "Accept-Encoding, Accept-Language, User-Agent")
			}
			fmt.Fprint(w, transit.Scheme(r), " ", r.Host, r.URL, " ", transit.Client(r), r.Header["Cookie"])
		}}
		c, h := open(t, Options{FillFields: BrowserFields(), Rules: Rules{Plan: func(r *http.Request) Plan {
			return Plan{Pass: r.URL.Path == "/passes", Why: "not this"}
		}}}, b)
		get(h, "http://a.example/there")
		get(h, "http://a.example/etag")
		var list []string
		for _, path := range []string{"/", "/there", "/etag", "/private", "/no", "/missing", "/moved", "/panics", "/breaks", "/passes", "/varies", "", "/%7Ea?b=%20&c", "/x#y"} {
			list = append(list, "http://a.example"+path)
		}
		list = append(list, "https://a.example/", "http://b.example:8080/", "a.example/", "ftp://a.example/", "http://", "http://a b/", "http://é.example/", "http://u:p@a.example/", "", "%")
		done, err := Warm(t.Context(), h, slices.Values(list), WarmOptions{})
		want := map[string]int{"private": 1, "no-store": 1, "not this": 1}
		if done.Stored+done.Already != 10 || done.Already < 2 || done.Failed != 11 || !maps.Equal(done.NotStored, want) {
			t.Errorf("%+v", done)
		}
		if err == nil || strings.Count(err.Error(), "\n") != 10 || !strings.Contains(err.Error(), "and 1 others failed") ||
			!strings.Contains(err.Error(), `"http://a.example/missing": answered 404`) {
			t.Errorf("%v", err)
		}
		for url, text := range map[string]string{"http://a.example/": "http a.example/ 192.0.2.1 []", "https://a.example/": "https a.example/ 192.0.2.1 []",
			"http://a.example/%7Ea?b=%20&c": "http a.example/%7Ea?b=%20&c 192.0.2.1 []", "http://b.example:8080/": "http b.example:8080/ 192.0.2.1 []"} {
			if w := get(h, url); !strings.Contains(w.Header().Get("Cache-Status"), "hit") || w.Body.String() != text {
				t.Errorf("%s: %q, %s", url, w.Body, w.Header().Get("Cache-Status"))
			}
		}
		if w := get(h, "http://a.example/varies", "Accept-Encoding", "br;q=1, gzip, deflate, zstd", "User-Agent", "Mozilla/5.0 (compatible; Foretier)"); !strings.Contains(w.Header().Get("Cache-Status"), "hit") {
			t.Errorf("in a browser's codings: %s", w.Header().Get("Cache-Status"))
		}
		n := c.store.Stats().Count
		done, err = Warm(t.Context(), h, slices.Values([]string{"http://a.example/varies"}), WarmOptions{Header: http.Header{"Accept-Language": {"de"}}})
		if done.Stored != 1 || err != nil || c.store.Stats().Count != n+1 {
			t.Errorf("another variant: %+v, %v", done, err)
		}
		done, err = Warm(t.Context(), h, slices.Values([]string{"http://a.example/new"}), WarmOptions{Header: http.Header{"X-Store": {"de"}}})
		if done.NotStored["asked for with fields that may fill nothing"] != 1 || err != nil {
			t.Errorf("a strange field: %+v, %v", done, err)
		}
		done, err = Warm(t.Context(), b, slices.Values([]string{"http://a.example/new"}), WarmOptions{})
		if done.NotStored["no cache has seen it"] != 1 || err != nil {
			t.Errorf("without a cache: %+v, %v", done, err)
		}
	})
}

// TestWarmPace: no more at once than is wanted, the next one when one is done, and no
// more once ctx has ended, with which those end that are under way.
func TestWarmPace(t *testing.T) {
	for atOnce, want := range map[int]int32{0: 4, 1: 1, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
				for at := now.Add(1); at > most.Load(); {
					most.Store(at)
				}
				defer now.Add(-1)
				select {
				case <-time.After(time.Second):
				case <-r.Context().Done():
				}
			}}
			_, h := open(t, Options{}, b)
			begin := time.Now()
			many := func(yield func(string) bool) {
				for i := range 28 {
					if !yield(fmt.Sprintf("http://a.example/%d", i)) {
						return
					}
				}
			}
			done, err := Warm(t.Context(), h, many, WarmOptions{AtOnce: atOnce})
			if took := time.Since(begin); done.Stored != 28 || err != nil || most.Load() != want || took != time.Duration(28/want)*time.Second {
				t.Errorf("%d at once: %+v, %v; %d, %v", atOnce, done, err, most.Load(), took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			begin, asked := time.Now(), 0
			endless := func(yield func(string) bool) {
				for asked = 0; yield(fmt.Sprintf("http://b.example/%d", asked)); asked++ {
				}
			}
			done, err = Warm(ctx, h, endless, WarmOptions{AtOnce: atOnce})
			if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 2500*time.Millisecond ||
				done.Stored != int(2*want) || done.Failed != int(want) || asked > int(3*want) {
				t.Errorf("%d at once, ended: %+v, %v, after %v; %d asked for", atOnce, done, err, took, asked)
			}
		})
	}
	_, h := open(t, Options{}, numbered())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if done, err := Warm(ended, h, slices.Values([]string{"http://a.example/"}), WarmOptions{}); done.Stored+done.Failed != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("ended before: %+v, %v", done, err)
	}
	for name, err := range map[string]error{
		"no handler": errOf(Warm(t.Context(), nil, slices.Values([]string{}), WarmOptions{})),
		"no URLs":    errOf(Warm(t.Context(), h, nil, WarmOptions{})),
		"fewer":      errOf(Warm(t.Context(), h, slices.Values([]string{}), WarmOptions{AtOnce: -1})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func errOf[A any](_ A, err error) error { return err }
