package main

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestWhatAnEditorSavesIsTheOrigins, whether WordPress has paths for that or not; what
// visitors send is not.
func TestWhatAnEditorSavesIsTheOrigins(t *testing.T) {
	addr, _ := startGateway(t, "-shop", "wordpress", "-backends", visitorBackend(t, "app"), "-origin", visitorBackend(t, "origin"))
	for request, want := range map[string]string{
		"POST /wp-json/wp/v2/media":                   "origin",
		"GET /wp-json/wp/v2/media/7":                  "origin",
		"POST /index.php/wp-json/wp/v2/media":         "origin",
		"POST /?rest_route=/wp/v2/media":              "origin",
		"POST /index.php?rest%5Froute=%2Fwp%2Fv2%2Fx": "origin",
		"PUT /?_locale=user&rest_route=/wp/v2/posts":  "origin",
		"GET /?rest_route=/wp/v2/posts":               "app",
		"POST /wp-json/contact-form-7/v1/x":           "app",
		"POST /wp-comments-post.php":                  "app",
	} {
		method, target, _ := strings.Cut(request, " ")
		if _, who := sendTarget(t, addr, method, target); who != want {
			t.Errorf("%s: %q, want %s", request, who, want)
		}
	}
}

// TestMediaThatIsNotCopiedYet: what an application server does not have is asked for at
// the origin, where files are written; pages are not.
func TestMediaThatIsNotCopiedYet(t *testing.T) {
	var copied atomic.Bool
	var atOrigin atomic.Int64
	app := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if !copied.Load() {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "a copy")
	})
	origin := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		atOrigin.Add(1)
		if strings.Contains(r.URL.Path, "gone") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "the file")
	})
	cases := map[string]struct {
		flags  []string
		path   string
		status int
		origin int64 // requests of three that it gets
	}{
		"a shop's own":         {[]string{"-shop", "wordpress"}, "/wp-content/uploads/a.jpg", 200, 1},
		"not admin's":          {[]string{"-shop", "wordpress"}, "/wp-content/uploads/../../wp-admin/", 200, 3},
		"given":                {[]string{"-media", "/media/*,/files"}, "/media/x/a.jpg", 200, 1},
		"given, one":           {[]string{"-media", "/media/*,/files"}, "/files", 200, 1},
		"in place of a shop's": {[]string{"-shop", "wordpress", "-media", "/media/*"}, "/wp-content/uploads/a.jpg", 404, 0},
		"without a cache":      {[]string{"-media", "/media/*", "-cache", "0"}, "/media/a.jpg", 200, 3},
		"nowhere":              {[]string{"-media", "/media/*"}, "/media/gone", 404, 3},
		"a page":               {[]string{"-media", "/media/*"}, "/a", 404, 0},
		"turned off":           {[]string{"-shop", "wordpress", "-media", "none"}, "/wp-content/uploads/a.jpg", 404, 0},
		"not said":             {nil, "/media/a.jpg", 404, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			copied.Store(false)
			atOrigin.Store(0)
			addr, _ := startGateway(t, append([]string{"-backends", app, "-origin", origin}, c.flags...)...)
			for range 3 {
				if status, body := sendTarget(t, addr, "GET", c.path); status != c.status || status == 200 && body != "the file" {
					t.Errorf("got %d %q, want %d", status, body, c.status)
				}
			}
			if n := atOrigin.Load(); n != c.origin {
				t.Errorf("the origin got %d requests, want %d", n, c.origin)
			}
			copied.Store(true)
			if _, body := sendTarget(t, addr, "GET", c.path+"?new"); strings.Contains(name, "given") && body != "a copy" {
				t.Errorf("once it is copied: %q", body)
			}
		})
	}
}
