package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWarm: what a list names is cached before anybody asks for it, under the key by which
// visitors do.
func TestWarm(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		if r.URL.Path == "/cart" {
			w.Header().Set("Cache-Control", "private")
		}
		if r.URL.Path == "/missing" {
			w.WriteHeader(404)
		}
		fmt.Fprint(w, r.URL)
	})
	list := filepath.Join(t.TempDir(), "urls")
	text := "# the best\nhttp://shop.example/\n\n http://shop.example/sale?page=2&utm_source=x \nhttp://shop.example/cart\nhttp://shop.example/missing\n"
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, log := startGateway(t, "-backends", backend, "-probe", "/healthz", "-sticky", "pin", "-warm", list)
	log.Wants(t, "the cache was warmed")
	for _, want := range []string{"stored=2", "already=0", "failed=1", "not_stored=map[private:1]", "missing", "level=WARN"} {
		log.Wants(t, want)
	}
	for path, hit := range map[string]bool{"/": true, "/sale?page=2": true, "/cart": false} {
		if _, status := seen(t, addr, path); strings.Contains(status, "; hit") != hit {
			t.Errorf("%s: %s", path, status)
		}
	}
}

func TestReadURLs(t *testing.T) {
	head := `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	cases := map[string]struct {
		text string
		want []string
		err  string
	}{
		"lines":     {"https://a/\r\n#https://b/\nhttp://c/d?e&f", []string{"https://a/", "http://c/d?e&f"}, ""},
		"a sitemap": {head + `<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc> https://a/?b&amp;c </loc><lastmod>2026-11-27</lastmod></url><url><loc>https://d/</loc></url></urlset>`, []string{"https://a/?b&c", "https://d/"}, ""},
		"after BOM": {"\xef\xbb\xbf" + head + `<urlset><url><loc>https://d/</loc></url></urlset>`, []string{"https://d/"}, ""},
		"an index":  {head + `<sitemapindex><sitemap><loc>https://a/1.xml</loc></sitemap></sitemapindex>`, nil, "sitemapindex"},
		"half":      {head + `<urlset><url><loc>https://a/`, nil, "EOF"},
		"nothing":   {"\n# none\n", nil, "no URL in it"},
		"a path":    {"https://a/\n/b", nil, "line 2"},
		"a binary":  {strings.Repeat("\x00", 100_000), nil, "too long"},
	}
	for name, c := range cases {
		file := filepath.Join(t.TempDir(), "urls")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readURLs(file)
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
