package cache

import (
	"compress/flate"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shopBackend holds pages with versions, and fails in every way that a backend
// can.
type shopBackend struct {
	versions []atomic.Int64
}

// text is what a page in one version and language looks like: recognizable to
// the last byte, of a length that differs each time.
func text(page int, version int64, language string) string {
	h := fnv.New64a()
	fmt.Fprint(h, page, version, language)
	sum := h.Sum64()
	return fmt.Sprintf("%d %d %s ", page, version, language) + strings.Repeat(strconv.FormatUint(sum, 36), 1+int(sum%3000)) + " end"
}

func (b *shopBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	language := r.Header.Get("Accept-Language")
	body := text(page, b.versions[page].Load(), language)
	h := w.Header()
	h.Set("Vary", "Accept-Language")
	if page%4 != 0 {
		h.Set("Content-Type", "text/plain") // so it has forms
	}
	h.Set("Cache-Tag", fmt.Sprintf("page-%d, all", page))
	switch rand.IntN(20) {
	case 0:
		h.Set("Cache-Control", "private")
	case 1:
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", `"`+body[:12]+`"`)
	case 2:
		h.Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
	default:
		h.Set("Cache-Control", "max-age=60")
	}
	if rand.IntN(2) == 0 {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	fail := rand.IntN(40)
	if fail == 0 {
		w.WriteHeader(500)
		return
	}
	if fail == 1 {
		panic("a bug")
	}
	for body != "" {
		n := min(len(body), 1+rand.IntN(20_000))
		if fail == 2 {
			io.WriteString(w, body[:n/2])
			panic(http.ErrAbortHandler)
		}
		if fail == 3 && h.Get("Content-Length") != "" {
			io.WriteString(w, body[:n/2])
			return
		}
		if _, err := io.WriteString(w, body[:n]); err != nil {
			return
		}
		body = body[n:]
		if rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(int(time.Millisecond)))) // for real, as all of TestStress: it looks for races
		}
	}
}

// TestStress asks, changes, purges, aborts and panics at once, with too little
// memory, and holds what comes back against what is known: no answer is older
// than a purge that was acknowledged before it was asked for, none is mixed or
// cut, and memory stays within its bound.
//
// FORETIER_STRESS=60s makes it run for as long.
func TestStress(t *testing.T) {
	length := 2 * time.Second
	if s := os.Getenv("FORETIER_STRESS"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	const pages, limit = 100, 1 << 20
	b := &shopBackend{versions: make([]atomic.Int64, pages)}
	acknowledged := make([]atomic.Int64, pages)
	c, h := open(t, Options{MaxBytes: limit, Orders: everybody, Compress: packers(), Logger: slog.New(slog.DiscardHandler)}, b)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()

	var wg sync.WaitGroup
	var asked, whole, hits, coded atomic.Int64
	for range 12 {
		wg.Go(func() {
			for ctx.Err() == nil {
				page := rand.IntN(pages) * rand.IntN(pages) / pages // some are popular
				language := []string{"de", "en", "fr"}[rand.IntN(3)]
				known := acknowledged[page].Load()
				rctx, stop := context.WithCancel(ctx)
				if rand.IntN(10) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(int(time.Millisecond))), stop)
				}
				r := httptest.NewRequestWithContext(rctx, "GET", fmt.Sprint("http://a.example/", page), nil)
				r.Header.Set("Accept-Language", language)
				r.Header.Set("Accept-Encoding", []string{"br, gzip", "gzip", "zstd, br;q=0.5", "", "identity;q=0, zstd"}[rand.IntN(5)])
				if rand.IntN(20) == 0 {
					r.Header.Set("Cache-Control", "no-cache")
				}
				w := httptest.NewRecorder()
				aborted := func() (aborted bool) {
					defer func() { aborted = recover() != nil }()
					h.ServeHTTP(w, r)
					return false
				}()
				gone := rctx.Err() != nil
				stop()
				asked.Add(1)
				if aborted || gone || w.Code != 200 {
					continue
				}
				got, hit := w.Body.String(), strings.Contains(w.Header().Get("Cache-Status"), "; hit")
				if n := w.Header().Get("Content-Length"); n != "" && n != strconv.Itoa(len(got)) && !hit {
					continue // net/http tells the client by closing the connection
				}
				if w.Header()["Content-Encoding"] != nil {
					body, err := io.ReadAll(flate.NewReader(w.Body))
					if got = string(body); err != nil || !strings.Contains(r.Header.Get("Accept-Encoding"), w.Header().Get("Content-Encoding")) {
						t.Errorf("page %d: %v, %v", page, err, w.Header())
					}
					coded.Add(1)
				}
				var version int64
				if _, err := fmt.Sscanf(got, fmt.Sprint(page)+" %d", &version); err != nil {
					t.Errorf("page %d: got %.40q", page, got)
					continue
				}
				if got != text(page, version, language) {
					t.Errorf("page %d, version %d, %s: mixed or cut: %d bytes, %.30q (%v)", page, version, language, len(got), got, w.Header())
				}
				if version < known {
					t.Errorf("page %d: version %d after %d was purged (%v)", page, version, known, w.Header())
				}
				whole.Add(1)
				if hit {
					hits.Add(1)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				page := rand.IntN(pages)
				version := b.versions[page].Add(1)
				inv := []Invalidation{
					{Tags: []string{fmt.Sprint("page-", page)}},
					{URL: fmt.Sprint("https://a.example/", page)},
					{Host: "a.example", PathPrefix: fmt.Sprint("/", page)},
					{Tags: []string{"all"}},
					{All: true},
				}[min(4, rand.IntN(100)%3+rand.IntN(20)/19*3)] // all of it rarely
				inv.Hard = true
				if _, err := c.Invalidate(context.Background(), inv); err != nil {
					t.Error(err)
				}
				for old := acknowledged[page].Load(); old < version; old = acknowledged[page].Load() {
					if acknowledged[page].CompareAndSwap(old, version) {
						break
					}
				}
				time.Sleep(time.Duration(rand.IntN(int(30 * time.Millisecond))))
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if s := c.store.Stats(); s.Used > limit {
				t.Errorf("%d bytes of %d", s.Used, limit)
			}
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s := c.store.Stats()
	if s.Used != s.Held {
		t.Errorf("at rest %d bytes are used and %d held", s.Used, s.Held)
	}
	if asked.Load() > 1000 && (hits.Load() == 0 || coded.Load() == 0 || whole.Load() < asked.Load()/4 || s.Evictions == 0) {
		t.Errorf("the test tests little: %d asked, %d whole, %d hits, %+v", asked.Load(), whole.Load(), hits.Load(), s)
	}
	t.Logf("%d asked, %d whole, %d hits, %d coded, %d evicted", asked.Load(), whole.Load(), hits.Load(), coded.Load(), s.Evictions)
}
