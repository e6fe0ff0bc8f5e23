package edge_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

// TestAnswersNameTheirRequest as backends and the log do, whoever has answered: what a
// visitor reads out is found.
func TestAnswersNameTheirRequest(t *testing.T) {
	pages, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pages.Close() })
	told := make(chan string, 1)
	h := http.NewServeMux()
	h.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("X-Request-Id")
		w.Header().Set("X-Request-Id", "another's")
		io.WriteString(w, "page")
	})
	h.Handle("/stored", pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id")) // as many applications do
		io.WriteString(w, "page")
	})))
	fails := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 503, errors.New("down")) })
	h.Handle("/fails", fails)
	h.HandleFunc("/breaks", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("a bug")
	})
	opts := edge.Options{Pages: map[int][]byte{503: []byte("<p>sorry, {request-id}, {request-id}")}}
	ask := func(t *testing.T, url, path string, c *http.Client, header ...string) (id, body string) {
		t.Helper()
		r, err := http.NewRequest("GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		if ids := res.Header["X-Request-Id"]; len(ids) != 1 || ids[0] == "" {
			t.Errorf("%s: answered by the name %q", path, ids)
		}
		return res.Header.Get("X-Request-Id"), string(text)
	}
	overEach(t, h, opts, func(t *testing.T, url string, c *http.Client) {
		if id, _ := ask(t, url, "/page", c); id != <-told {
			t.Errorf("%q, and the backend was told of another", id)
		}
		seen := make(map[string]bool)
		for range 4 { // the first is fetched, the second a hit, those behind it perhaps from their heads
			id, _ := ask(t, url, "/stored", c)
			seen[id] = true
		}
		if len(seen) != 4 {
			t.Errorf("four requests are named %v", seen)
		}
		if id, body := ask(t, url, "/fails", c); body != "<p>sorry, "+id+", "+id {
			t.Errorf("%s: the page is %q", id, body)
		}
		var answer map[string]any
		id, body := ask(t, url, "/fails", c, "Accept", "application/json")
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer["request_id"] != id {
			t.Errorf("%s: %s, %v", id, body, err)
		}
		ask(t, url, "/breaks", c)
	})

	srv := serve(t, h, edge.Options{Trusted: loopback})
	if id, _ := ask(t, "http://"+srv.Addr().String(), "/stored", http.DefaultClient, "X-Request-Id", "given-1"); id != "given-1" {
		t.Errorf("named %q", id)
	}
}

// TestInstantAnswersNameTheirRequest, each its own.
func TestInstantAnswersNameTheirRequest(t *testing.T) {
	var log lines
	shop := newShop(t, edge.Options{Trusted: loopback, Logger: log.Logger()}, cache.Options{})
	const head, end = "GET /1000 HTTP/1.1\r\nHost: a\r\n", "\r\n"
	long := strings.Repeat("n", 128)
	c := testkit.Dial(t, shop.srv.Addr().String())
	defer c.Close()
	shop.taught(t, c, head+end)
	if _, err := io.WriteString(c, head+end+head+"X-Request-Id: "+long+"\r\n"+end+head+"X-Request-Id: b c\r\n"+end+head+"Connection: close\r\n"+end); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := shop.instant(); n < 4 {
		t.Fatalf("%v answers from heads: %s", n, all)
	}
	var ids []string
	for line := range strings.Lines(string(all)) {
		if id, ok := strings.CutPrefix(line, "X-Request-Id: "); ok {
			ids = append(ids, strings.TrimSpace(id))
		}
	}
	if len(ids) != 4 || ids[1] != long {
		t.Fatalf("named %q", ids)
	}
	waitFor(t, func() bool { return len(requests(log.all(t))) == 7 })
	for i, line := range requests(log.all(t))[3:] {
		if line["id"] != ids[i] {
			t.Errorf("%d: answered as %q, logged as %q", i, ids[i], line["id"])
		}
	}
}
