package router_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

func TestErrorPages(t *testing.T) {
	pages, err := router.NewErrorPages(map[int][]byte{404: []byte("<h1>gone"), 503: nil, 500: {}})
	if err != nil {
		t.Fatal(err)
	}
	const browser = "text/html, */*"
	for name, c := range map[string]struct {
		status int
		kind   string
		accept string
		tier   bool // the tier has a page for 503
		want   string
		as     string
	}{
		"own":                 {404, "text/html; charset=iso-8859-1", browser, false, "<h1>gone", "text/html; charset=utf-8"},
		"of nothing":          {404, "", browser, false, "<h1>gone", "text/html; charset=utf-8"},
		"of plain text":       {404, "TEXT/plain", "", false, "<h1>gone", "text/html; charset=utf-8"},
		"for a program":       {404, "text/html", "application/json", false, "{\"status\":404,\"error\":\"Not Found\"}\n", "application/json"},
		"of a program's":      {404, "application/problem+json", browser, false, "backend's", "application/problem+json"},
		"of a picture":        {404, "image/png", browser, false, "backend's", "image/png"},
		"the tier's":          {503, "text/html", browser, true, "sorry", ""},
		"the tier's, of none": {503, "text/html", browser, false, "503 Service Unavailable\n", "text/plain; charset=utf-8"},
		"a line":              {500, "text/html", browser, true, "500 Internal Server Error\n", "text/plain; charset=utf-8"},
		"of another status":   {403, "text/html", browser, true, "backend's", "text/html"},
		"of what is right":    {200, "text/html", browser, true, "backend's", "text/html"},
	} {
		t.Run(name, func(t *testing.T) {
			h := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				if c.kind != "" {
					h.Set("Content-Type", c.kind)
				}
				h.Set("Content-Length", "9")
				h.Set("Etag", `"x"`)
				h.Set("Cache-Control", "max-age=60")
				h.Set("Set-Cookie", "a=b")
				w.WriteHeader(103)
				w.WriteHeader(c.status)
				w.WriteHeader(200) // too late
				for _, part := range []string{"back", "end's"} {
					if n, err := io.WriteString(w, part); n != len(part) || err != nil {
						t.Errorf("wrote %d, %v", n, err)
					}
				}
				w.(http.Flusher).Flush()
			}))
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, rec := transit.With(r.Context())
				if c.tier {
					rec.Page = func(w http.ResponseWriter, _ *http.Request, status int) bool {
						if status == 503 {
							w.WriteHeader(status)
							_, _ = io.WriteString(w, "sorry")
						}
						return status == 503
					}
				}
				h.ServeHTTP(w, r.WithContext(ctx))
			}))
			defer srv.Close()
			r, err := http.NewRequest("GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", c.accept)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != c.status || string(body) != c.want || c.as != "" && res.Header.Get("Content-Type") != c.as {
				t.Errorf("got %d %q %v, %v", res.StatusCode, body, res.Header, err)
			}
			mine := c.want == "backend's"
			if (res.Header.Get("Etag") != "") != mine || (res.Header.Get("Vary") == "Accept") == mine || res.Header.Get("Set-Cookie") != "a=b" || res.Header.Get("Cache-Control") != "max-age=60" {
				t.Errorf("header: %v", res.Header)
			}
			if c.status == 503 && res.Header.Get("Retry-After") != "30" {
				t.Errorf("header: %v", res.Header)
			}
		})
	}
}

// A page is whole though the backend breaks off, and what else breaks off does.
func TestErrorPagesOfWhatBreaksOff(t *testing.T) {
	pages, err := router.NewErrorPages(map[int][]byte{404: []byte("gone")})
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{404: "gone", 403: ""} {
		srv := httptest.NewServer(pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		})))
		res, err := http.Get(srv.URL)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && string(body) != want {
				t.Errorf("%d: got %q", status, body)
			}
		}
		if (err == nil) != (want != "") {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
	}
	broken := errors.New("broken")
	defer func() {
		if v := recover(); v != broken {
			t.Errorf("recovered %v", v)
		}
	}()
	pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		panic(broken)
	})).ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
}

func TestErrorPagesThatAreNone(t *testing.T) {
	for want, pages := range map[string]map[int][]byte{
		"there are none":         nil,
		"200 is no error status": {200: nil},
		"600 is no error status": {600: nil},
		"want 65536 at most":     {404: []byte(strings.Repeat("x", 65537))},
	} {
		if _, err := router.NewErrorPages(pages); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
