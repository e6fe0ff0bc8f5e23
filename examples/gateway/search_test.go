package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestNoVarySearchIsIgnored where that is ordered: every query is a page of its own.
func TestNoVarySearchIsIgnored(t *testing.T) {
	backend, calls := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("No-Vary-Search", "params")
	})
	for args, want := range map[string]int32{"": 2, "-cache-ignore-no-vary-search": 3} { // the first tells of the others
		addr, _ := startGateway(t, append([]string{"-backends", backend}, strings.Fields(args)...)...)
		before := calls.Load()
		for _, target := range []string{"/p?id=1", "/p?id=2", "/p?id=3", "/p?id=3"} {
			fetch(t, "GET", "http://"+addr+target)
		}
		if n := calls.Load() - before; n != want {
			t.Errorf("%q: the backend was asked %d times, want %d", args, n, want)
		}
	}
}

// TestNoVarySearch: what a shop says of its parameters holds through the gateway, for
// those who ask and for those who purge.
func TestNoVarySearch(t *testing.T) {
	backend, calls := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("No-Vary-Search", `key-order, params, except=("id" "color")`)
	})
	addr, _ := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.1")
	for _, step := range []struct {
		method, target string
		calls          int32
	}{
		{"GET", "/p?id=1&color=red&ref=1", 1},
		{"GET", "/p?ref=2&color=red&id=1", 2},
		{"GET", "/p?color=red&id=1", 2},
		{"GET", "/p?color=red&id=1&x=%zz", 2},
		{"HEAD", "/p?color=red&id=1&y", 2},
		{"GET", "/p?color=blue&id=1", 3},
		{"PURGE", "/p?z&id=1&color=red", 3},
		{"GET", "/p?color=red&id=1", 4},
		{"GET", "/p?ref=1&color=red&id=1", 4},
		{"GET", "/p?color=blue&id=1", 4},
	} {
		if res, _ := fetch(t, step.method, "http://"+addr+step.target); res.StatusCode != 200 {
			t.Errorf("%s %s: got %s", step.method, step.target, res.Status)
		}
		if n := calls.Load(); n != step.calls {
			t.Fatalf("%s %s: the backend was asked %d times, want %d", step.method, step.target, n, step.calls)
		}
	}
}
