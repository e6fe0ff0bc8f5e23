package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// TestTour runs what `go run ./examples/shop -tour` runs, on every store.
func TestTour(t *testing.T) {
	cases := map[string]func(*testing.T) []string{
		"memory":    func(*testing.T) []string { return nil },
		"redis":     func(t *testing.T) []string { return []string{"-redis", "redis://" + servertest.Redis(t).Addr} },
		"memcached": func(t *testing.T) []string { return []string{"-memcached", servertest.Memcached(t).Addr} },
	}
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"-tour"}, flags(t)...), &out, &errs)
			if code != 0 || !strings.Contains(out.String(), " passed, 0 failed") {
				t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
			}
			if shared := strings.Contains(out.String(), "two tiers share"); shared != (name != "memory") {
				t.Errorf("two tiers share a cart: row shown %t\n%s", shared, out.String())
			}
		})
	}
}

// TestAdminPageHasManyNames: the shop reads paths as Apache with PHP does, so
// what the tier sends to web0 finds its page there.
func TestAdminPageHasManyNames(t *testing.T) {
	tour, err := startTour(t.Context(), session.Memory(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tour.end(); err != nil {
			t.Error(err)
		}
	}()
	for target, want := range map[string]int{
		"/admin": 200, "/%61dmin": 200, "//admin": 200, "//%61dmin": 200, "/index.php/admin": 200, "/x/../admin": 200, "/./admin/": 200,
		"/admin.php": 404, "/index.php/admin/x/../price": 200, // any GET below /admin/ is the admin page
	} {
		status, server, err := tour.raw(target)
		if err != nil || status != want || want == 200 && server != "web0" {
			t.Errorf("%s: %d from %q, %v, want %d", target, status, server, err, want)
		}
	}
}

// TestBadInput: what the shop is asked with nonsense is refused, by a server
// with a name, and changes nothing.
func TestBadInput(t *testing.T) {
	tour, err := startTour(t.Context(), session.Memory(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tour.end(); err != nil {
			t.Error(err)
		}
	}()
	cases := []struct {
		method, path string
		size         int // of the body
		status       int
	}{
		{"POST", "/cart", 0, 400},
		{"POST", "/cart?sku=%00", 0, 400},
		{"POST", "/cart?sku=" + strings.Repeat("x", 65), 0, 400},
		{"POST", "/login", 0, 400},
		{"POST", "/login?user=a%0d%0ab", 0, 400},
		{"POST", "/admin/price?sku=1&price=NaN", 0, 400},
		{"POST", "/admin/price?sku=1&price=-1", 0, 400},
		{"POST", "/admin/price?sku=%3Cb%3E&price=1", 0, 400},
		{"PUT", "/admin/media/.hidden", 3, 400},
		{"PUT", "/admin/media/%C3%BC.png", 3, 400},
		{"PUT", "/admin/media/a%2f..%2fb.png", 3, 200}, // b.png
		{"PUT", "/admin/media/..%2fb.png", 3, 405},     // /admin/b.png
		{"PUT", "/admin/media/large.png", maxPicture + 1, 413},
		{"PUT", "/media/a.png", 3, 405},
		{"DELETE", "/cart", 0, 405},
		{"BREW", "/", 0, 405},
		{"GET", "/product/nope", 0, 404},
		{"GET", "/media/nope.png", 0, 404},
		{"HEAD", "/", 0, 200},
		{"HEAD", "/cart", 0, 200},
		{"HEAD", "/media/logo.png", 0, 200},
	}
	v := tour.visitor()
	for _, c := range cases {
		r, _ := v.do(c.method, c.path, bytes.NewReader(make([]byte, c.size)))
		if r.status != c.status || !strings.HasPrefix(r.server(), "web") {
			t.Errorf("%s %s: %d from %q, want %d: %.80s", c.method, c.path, r.status, r.server(), c.status, r.body)
		}
	}
	if items, _, err := v.items(); err != nil || len(items) != 0 {
		t.Errorf("the cart holds %v, %v", items, err)
	}
	if r, err := v.get("/product/1"); err != nil || !strings.Contains(r.body, "9.90") {
		t.Errorf("the price has changed: %v, %s", err, r.body)
	}
}

// TestTourFails breaks promises and looks whether the tour notices.
func TestTourFails(t *testing.T) {
	tour, err := startTour(t.Context(), session.Memory(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tour.end(); err != nil {
			t.Error(err)
		}
	}()
	f := tour.farms[0]
	for _, w := range f.web[1:] {
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if seen, err := hitAfterMiss(tour); err == nil {
		t.Errorf("a page without a server: %s", seen)
	}
	if seen, err := cartStays(tour); err == nil {
		t.Errorf("a cart without a server: %s", seen)
	}
	if _, err := adminAtOrigin(tour); err != nil {
		t.Errorf("admin needs only web0: %v", err)
	}
}

func TestWrongFlagsSayWhatWouldBeRight(t *testing.T) {
	taken := testkit.Listen(t)
	cases := map[string]struct {
		args []string
		want []string // all of it stands in the message
	}{
		"two stores":            {[]string{"-redis", "redis://a", "-memcached", "a:1"}, []string{"not both"}},
		"no redis URL":          {[]string{"-redis", "a:6379"}, []string{"-redis", "redis://127.0.0.1:6379/0"}},
		"redis, port":           {[]string{"-redis", "redis://a:x"}, []string{"-redis", "redis://127.0.0.1:6379/0"}},
		"memcached, no port":    {[]string{"-memcached", "a"}, []string{"-memcached", "127.0.0.1:11211"}},
		"memcached, an empty":   {[]string{"-memcached", "127.0.0.1:1,"}, []string{"-memcached", "127.0.0.1:11211"}},
		"memcached, no address": {[]string{"-memcached", "[::zz]:11211"}, []string{"-memcached", "127.0.0.1:11211"}},
		"listen, a port only":   {[]string{"-listen", "8080"}, []string{"-listen", ":8080"}},
		"listen, empty":         {[]string{"-listen", ""}, []string{"-listen", ":8080"}},
		"listen, a large port":  {[]string{"-listen", ":99999"}, []string{"-listen", ":8080"}},
		"listen, taken":         {[]string{"-listen", taken.Addr().String()}, []string{"-listen", "in use", "a free port"}},
		"argument":              {[]string{"now"}, []string{`"now" is no flag`}},
		"unknown":               {[]string{"-nope"}, []string{"-nope", "-listen"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a mistake that is not found would serve
			var out, errs bytes.Buffer
			if code := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, c.args...), &out, &errs); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("the message lacks %q: %s", want, errs.String())
				}
			}
			if out.Len() > 0 {
				t.Errorf("it greeted before it looked: %s", out.String())
			}
		})
	}
}

// TestGreetingNamesTheAddress: what it prints can be opened, whatever port it got.
func TestGreetingNamesTheAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"-listen", "127.0.0.1:0"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if !strings.Contains(out.String(), "http://127.0.0.1:") || strings.Contains(out.String(), ":0/") {
		t.Errorf("got %s", out.String())
	}
}

// TestLogWhoseReaderStandsStill: the shop serves and ends, though nobody reads
// what it says.
func TestLogWhoseReaderStandsStill(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	standing := make(chan struct{})
	defer close(standing)
	greeting, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-v"}, out, writerFunc(func(p []byte) (int, error) {
			<-standing
			return len(p), nil
		}))
	}()
	in := bufio.NewReader(greeting)
	if page, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(page, "http://127.0.0.1:") {
		t.Fatalf("%q, %v: want the status page first", page, err)
	}
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, greeting)
	base := strings.TrimSpace(line[strings.LastIndex(line, "http://"):])
	client := &http.Client{Timeout: 20 * time.Second}
	for range 10 {
		res, err := client.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	client.CloseIdleConnections()
	cancel()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not end")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestParsePrice(t *testing.T) {
	for in, want := range map[string]int{"5": 500, "12.50": 1250, "0": 0, "0.1": 10} {
		if got, err := parsePrice(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "-1", "NaN", "1e99", "five"} {
		if got, err := parsePrice(in); err == nil {
			t.Errorf("%q passed as %d", in, got)
		}
	}
}
