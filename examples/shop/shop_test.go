package main

import (
	"bytes"
	"context"
	"log/slog"
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

func TestWrongFlags(t *testing.T) {
	cases := map[string][]string{
		"two stores":   {"-redis", "redis://a", "-memcached", "a:1"},
		"no redis URL": {"-redis", "a:6379"},
		"argument":     {"now"},
		"unknown":      {"-nope"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out, errs bytes.Buffer
			if code := run(ctx, args, &out, &errs); code != 2 || errs.Len() == 0 {
				t.Errorf("exit code %d, %q", code, errs.String())
			}
		})
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
