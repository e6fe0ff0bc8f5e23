package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// fetch asks for a URL with fields, name and value each, and without those
// that net/http adds by itself.
func fetch(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// counting is a backend that counts what it is asked.
func counting(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) (url string, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, int(calls.Add(1)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, calls
}

// TestCacheDevices: with the flag two layouts are stored, without it one for
// every browser, and one line says so.
func TestCacheDevices(t *testing.T) {
	for _, flags := range [][]string{nil, {"-cache-devices"}} {
		backend, calls := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", "User-Agent")
			fmt.Fprint(w, "phone: ", strings.Contains(r.UserAgent(), "Mobi"))
		})
		addr, log := startGateway(t, append([]string{"-backends", backend}, flags...)...)
		for i := range 5 {
			for agent, want := range map[string]string{"Mozilla/5.0 (Linux; Android 14) Mobile/%d": "phone: true", "Mozilla/5.0 (X11)/%d": "phone: false"} {
				if _, body := fetch(t, "GET", "http://"+addr+"/", "User-Agent", strings.ReplaceAll(agent, "%d", fmt.Sprint(i))); body != want {
					t.Errorf("%v: got %q, want %q", flags, body, want)
				}
			}
		}
		want, warnings := int32(10), 1
		if flags != nil {
			want, warnings = 2, 0
		}
		if n := calls.Load(); n != want {
			t.Errorf("%v: %d calls, want %d", flags, n, want)
		}
		if n := strings.Count(log.String(), "vary on User-Agent"); n != warnings {
			t.Errorf("%v: %d warnings, want %d", flags, n, warnings)
		}
	}
}

// TestCacheTTLKeepsNoErrors: -cache-ttl is for pages.
func TestCacheTTLKeepsNoErrors(t *testing.T) {
	for status, long := range map[int]bool{200: true, 404: false, 405: false, 410: false, 414: false, 501: false} {
		backend, _ := counting(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(status) })
		addr, _ := startGateway(t, "-backends", backend, "-cache-ttl", "1h1m")
		fetch(t, "GET", "http://"+addr+"/")
		if res, _ := fetch(t, "GET", "http://"+addr+"/"); !strings.Contains(res.Header.Get("Cache-Status"), "; hit") || strings.Contains(res.Header.Get("Cache-Status"), "ttl=36") != long {
			t.Errorf("%d: %s", status, res.Header["Cache-Status"])
		}
	}
}

// TestOrdersCountForThoseWhoMayPurge: nobody else's reload reaches a backend.
func TestOrdersCountForThoseWhoMayPurge(t *testing.T) {
	for _, flags := range [][]string{nil, {"-purge-from", "127.0.0.1"}} {
		backend, calls := counting(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, n)
		})
		addr, _ := startGateway(t, append([]string{"-backends", backend}, flags...)...)
		for range 3 {
			fetch(t, "GET", "http://"+addr+"/", "Cache-Control", "no-cache", "Pragma", "no-cache")
		}
		if n, want := calls.Load(), map[bool]int32{true: 1, false: 3}[flags == nil]; n != want {
			t.Errorf("%v: %d calls, want %d", flags, n, want)
		}
	}
}

// TestARangeBeyondTheEndPoisonsNobody: the 416 is for the one who asked.
func TestARangeBeyondTheEndPoisonsNobody(t *testing.T) {
	backend, _ := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("Range") != "" || r.Header.Get("Request-Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		fmt.Fprint(w, "whole")
	})
	for _, name := range []string{"Range", "Request-Range"} {
		addr, _ := startGateway(t, "-backends", backend)
		fetch(t, "GET", "http://"+addr+"/file", name, "bytes=5000-")
		if res, body := fetch(t, "GET", "http://"+addr+"/file"); res.StatusCode != 200 || body != "whole" {
			t.Errorf("%s: then got %s %q", name, res.Status, body)
		}
	}
}

// TestVaryOnTheClient: a page that varies on who asks is each client's own.
func TestVaryOnTheClient(t *testing.T) {
	for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
		backend, _ := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", name)
			fmt.Fprint(w, r.Header.Get("X-Forwarded-For"))
		})
		addr, _ := startGateway(t, "-backends", backend, "-trust", "127.0.0.1")
		for _, client := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"} {
			if _, body := fetch(t, "GET", "http://"+addr+"/", "X-Forwarded-For", client); body != client+", 127.0.0.1" {
				t.Errorf("%s: %s got the page of %s", name, client, body)
			}
		}
	}
}

// TestHostInAnotherForm: a canonical redirect does not take the page's place.
func TestHostInAnotherForm(t *testing.T) {
	backend, _ := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Host != "shop.example" || r.Header.Get("X-Forwarded-Host") != "shop.example" || r.Header.Get("X-Forwarded-Port") != "80" {
			http.Redirect(w, r, "http://shop.example/", http.StatusMovedPermanently)
			return
		}
		fmt.Fprint(w, "page")
	})
	for _, host := range []string{"SHOP.example", "shop.example:80"} {
		addr, _ := startGateway(t, "-backends", backend)
		for _, host := range []string{host, "shop.example"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != 200 {
				t.Errorf("%s: %s", host, res.Status)
			}
		}
	}
}

// TestCacheFields: with -cache-fields no visitor's own field gets into the page
// of all, whatever it is called.
func TestCacheFields(t *testing.T) {
	backend, calls := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page"+r.Header.Get("X-Cdn-Magic")+r.Header.Get("X-Shop-Id"))
	})
	for flag, want := range map[string]string{"none": "page", "X-Shop-*": "page7"} {
		addr, _ := startGateway(t, "-backends", backend, "-cache-fields", flag)
		url := "http://" + addr + "/" + flag
		_, _ = fetch(t, "GET", url, "X-Cdn-Magic", "evil")
		_, _ = fetch(t, "GET", url, "X-Shop-Id", "7")
		before := calls.Load()
		_, first := fetch(t, "GET", url, "Accept-Language", "de", "User-Agent", "x")
		_, again := fetch(t, "GET", url, "X-Cdn-Magic", "evil")
		if first != want || again != want {
			t.Errorf("-cache-fields %s: %q, then %q", flag, first, again)
		}
		if asked := calls.Load() - before; asked != map[string]int32{"none": 1, "X-Shop-*": 0}[flag] {
			t.Errorf("-cache-fields %s: the backend was asked %d times", flag, asked)
		}
	}
}

// TestCacheLifetimes: by status; whoever says no-store.
func TestCacheLifetimes(t *testing.T) {
	backend, calls := counting(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusFound)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		}
	})
	addr, _ := startGateway(t, "-backends", backend, "-cache-ttl", "1m,302=1h,410=0", "-cache-ignore-no-store")
	for path, want := range map[string]int32{"/": 1, "/moved": 1, "/gone": 3} {
		calls.Store(0)
		for range 3 {
			fetch(t, "GET", "http://"+addr+path, "Cache-Control", "no-store")
		}
		if n := calls.Load(); n != want {
			t.Errorf("%s: %d calls, want %d", path, n, want)
		}
	}
	if res, _ := fetch(t, "GET", "http://"+addr+"/moved"); !strings.Contains(res.Header.Get("Cache-Status"), "ttl=3") {
		t.Errorf("a redirect: %v", res.Header)
	}
}
