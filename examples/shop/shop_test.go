package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
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
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
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
