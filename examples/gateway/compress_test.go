package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// sheet is a text that is worth compressing.
var sheet = strings.Repeat("body { margin: 0 auto } /* and so on */\n", 1000)

// sheets is a backend: /stored is, /passed is not, /login begins a session.
func sheets(t *testing.T) (url string) {
	url, _ = counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Content-Type", "text/css")
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "no-store")
		switch r.URL.Path {
		case "/stored":
			w.Header().Set("Cache-Control", "max-age=60")
		case "/login":
			w.Header().Set("Set-Cookie", "PHPSESSID=1")
		}
		_, _ = io.WriteString(w, sheet)
	})
	return url
}

// TestCompress: what is stored has forms, the rest is compressed on its way, but not
// what tells of sessions, unless that is wanted.
func TestCompress(t *testing.T) {
	for flag, want := range map[string]map[string]string{
		"":        {"/stored": "br", "/passed": "zstd", "/login": "", "/passed with a session": "", "/stored with a session": "br", "/passed by analytics": "zstd", "/passed with a pin": "zstd"},
		"private": {"/stored": "br", "/passed": "zstd", "/login": "zstd", "/passed with a session": "zstd", "/stored with a session": "br"},
		"off":     {"/stored": "", "/passed": "", "/login": ""},
	} {
		t.Run(flag, func(t *testing.T) {
			args := []string{"-backends", sheets(t), "-sticky", "pin"}
			if flag != "" {
				args = append(args, "-compress", flag)
			}
			addr, _ := startGateway(t, args...)
			ask := func(target string) (*http.Response, string) {
				path, _, _ := strings.Cut(target, " ")
				fields := []string{"Accept-Encoding", "gzip, deflate, br, zstd"}
				switch {
				case strings.HasSuffix(target, "session"):
					fields = append(fields, "Cookie", "PHPSESSID=1")
				case strings.HasSuffix(target, "analytics"):
					fields = append(fields, "Cookie", "_ga=1; _gid=2")
				case strings.HasSuffix(target, "pin"):
					res, _ := fetch(t, "GET", "http://"+addr+"/passed")
					for _, c := range res.Cookies() {
						fields = append(fields, "Cookie", c.Name+"="+c.Value)
					}
				}
				return fetch(t, "GET", "http://"+addr+path, fields...)
			}
			if flag != "off" {
				testkit.Within(t, 10*time.Second, "the form", func() bool {
					res, _ := ask("/stored")
					return res.Header.Get("Content-Encoding") == "br"
				})
			}
			for target, coding := range want {
				res, body := ask(target)
				got := res.Header.Get("Content-Encoding")
				if coding == "zstd" && res.Header["Set-Cookie"] != nil && flag == "" {
					coding = "" // the answer sets the visitor's pin
				}
				if got != coding || res.Header.Get("Etag") != map[bool]string{true: `W/"v1"`, false: `"v1"`}[coding != ""] {
					t.Errorf("%s: %v", target, res.Header)
				}
				if vary := res.Header.Get("Vary"); (vary == "Accept-Encoding") != (flag != "off") {
					t.Errorf("%s: Vary %q", target, vary)
				}
				if coding == "" && body != sheet || coding != "" && len(body) > len(sheet)/4 {
					t.Errorf("%s: %d bytes", target, len(body))
				}
			}
		})
	}
}

// TestAStreamGoesOnAsItComes: what -streams names is not held for an encoder.
func TestAStreamGoesOnAsItComes(t *testing.T) {
	step := make(chan struct{})
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for i := range 3 {
			fmt.Fprintf(w, "%d\n", i)
			w.(http.Flusher).Flush()
			<-step
		}
	})
	addr, _ := startGateway(t, "-backends", backend, "-streams", "/poll")
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/poll", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header["Content-Encoding"] != nil {
		t.Errorf("%v", res.Header)
	}
	for i := range 3 {
		b := make([]byte, 2)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != fmt.Sprintf("%d\n", i) {
			t.Fatalf("%q, %v", b, err)
		}
		step <- struct{}{}
	}
}
