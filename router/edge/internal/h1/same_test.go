package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

type anybody struct{}

func (anybody) Begun() (time.Duration, bool) { return time.Minute, true }
func (anybody) Unread(int, string, string)   {}
func (anybody) Hijacked()                    {}

// serve serves h with the server of this package, and returns its address.
func serve(t testing.TB, srv *h1.Server, opts wire.Options) string {
	return serveOver(t, srv, opts, func(c net.Conn) net.Conn { return c })
}

// serveOver is serve over what secure makes of a connection.
func serveOver(t testing.TB, srv *h1.Server, opts wire.Options, secure func(net.Conn) net.Conn) string {
	srv.Head = http1.Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}
	l := testkit.Listen(t)
	set := wire.NewSet(opts)
	ctx := context.WithValue(context.Background(), http.ServerContextKey, new(http.Server))
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := set.Add(nc)
			go func() {
				srv.Serve(context.WithValue(ctx, http.LocalAddrContextKey, nc.LocalAddr()), c, secure(c), anybody{})
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		srv.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		set.Close()
	})
	return l.Addr().String()
}

// serveStandard serves h with net/http's server.
func serveStandard(t testing.TB, h http.Handler) string {
	l := testkit.Listen(t)
	srv := &http.Server{Handler: h, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// say sends text, piece by piece as it was split, and returns what comes until
// the server closes or says no more.
func say(t testing.TB, addr string, pieces ...string) string {
	t.Helper()
	c := testkit.Dial(t, addr)
	defer c.Close()
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return "write: " + err.Error()
		}
	}
	c.CloseWrite()
	b, _ := io.ReadAll(c) // net/http may reset a connection on which more was sent
	return string(b)
}

var changing = regexp.MustCompile(`Date: [^\r]*\r\n`)

// fold makes answers comparable: without the date, with the header's fields in
// order, without the chunks' borders.
func fold(answer, method string) string {
	var out strings.Builder
	r := bufio.NewReader(strings.NewReader(changing.ReplaceAllString(answer, "")))
	for {
		if _, err := r.Peek(1); err != nil {
			return out.String()
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&out, "unreadable: %v\n", err)
			return out.String()
		}
		body, err := io.ReadAll(res.Body)
		fmt.Fprintf(&out, "%s %s close=%t length=%d %v\n", res.Proto, res.Status, res.Close, res.ContentLength, res.TransferEncoding)
		res.Header.Write(&out)
		fmt.Fprintf(&out, "\n%.200q %d %v %v\n", body, len(body), err, res.Trailer)
	}
}

// A shared case is what handlers rely on: it is the same with this server and
// with net/http's.
type shared struct {
	handler http.HandlerFunc
	request []string // raw, several if they are on one connection
}

func get(more ...string) string { return request("GET", more...) }

func request(method string, more ...string) string {
	return method + " /path?q=1 HTTP/1.1\r\nHost: shop.example\r\n" + strings.Join(append(more, "\r\n"), "\r\n")
}

func get10(more ...string) string {
	return "GET / HTTP/1.0\r\n" + strings.Join(append(more, "\r\n"), "\r\n")
}

const last = "Connection: close"

func text(w http.ResponseWriter, s string) { io.WriteString(w, s) }

var sharedCases = map[string]shared{
	"nothing": {func(http.ResponseWriter, *http.Request) {}, []string{get(), get(last)}},
	"hello":   {func(w http.ResponseWriter, _ *http.Request) { text(w, "hello") }, []string{get(), get(last)}},
	"the request": {func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %q %v %d %v %v %q %v", r.Method, r.RequestURI, r.URL, r.Host, r.Header, r.ContentLength, r.TransferEncoding, r.Close, r.Proto, r.Trailer)
		if r.Context().Value(http.ServerContextKey) == nil || r.Context().Value(http.LocalAddrContextKey) == nil || r.TLS != nil || r.RemoteAddr == "" {
			text(w, "!")
		}
	}, []string{get("A: 1", "b: 2", "A: 3", "Accept-Encoding: gzip"), "POST http://other.example/x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n", "OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n", get(last)}},
	"status":                {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418); text(w, "teapot") }, []string{get(), get(last)}},
	"status without a name": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) }, []string{get(last)}},
	"two statuses":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500); text(w, "x") }, []string{get(last)}},
	"no content": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(204)
		text(w, "hello")
	}, []string{get(), get(last)}},
	"not modified": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(304)
		_, err := io.WriteString(w, "x")
		if err != http.ErrBodyNotAllowed {
			panic(err)
		}
	}, []string{get(), get(last)}},
	"HEAD":               {func(w http.ResponseWriter, _ *http.Request) { text(w, "hello") }, []string{request("HEAD"), request("HEAD", last)}},
	"HEAD, nothing said": {func(w http.ResponseWriter, _ *http.Request) {}, []string{request("HEAD", last)}},
	"HEAD of a length":   {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "77") }, []string{request("HEAD"), request("HEAD", last)}},
	"HEAD flushed":       {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); text(w, "x") }, []string{request("HEAD", last)}},
	"a long body": {func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20000 {
			fmt.Fprintf(w, "%9d\n", i)
		}
	}, []string{get(), get(last)}},
	"a long body in one": {func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte("0123456789"), 50000)) }, []string{get(), get(last)}},
	"a long body of a length": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500000")
		for range 5 {
			w.Write(bytes.Repeat([]byte("0123456789"), 10000))
		}
	}, []string{get(), get(last)}},
	"flushes": {func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "piece %d\n", i)
			w.(http.Flusher).Flush()
		}
	}, []string{get(), get(last)}},
	"a flush at first": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); text(w, "<html>") }, []string{get(), get(last)}},
	"more than announced": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		if _, err := io.WriteString(w, "hello"); err != http.ErrContentLength {
			panic(err)
		}
	}, []string{get(), get(last)}},
	"less than announced": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "10"); text(w, "hello") }, []string{get(), get(last)}},
	"a panic":             {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{get(), get(last)}},
	"a panic behind a flush": {func(w http.ResponseWriter, _ *http.Request) {
		text(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, []string{get(), get(last)}},
	"sniffed": {func(w http.ResponseWriter, _ *http.Request) { text(w, "<!DOCTYPE html><p>") }, []string{get(last)}},
	"not sniffed: nil": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		text(w, "<!DOCTYPE html>")
	}, []string{get(last)}},
	"not sniffed: coded": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		text(w, "\x1f\x8b\x08")
	}, []string{get(last)}},
	"no date": {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil; text(w, "x") }, []string{get(last)}},
	"header after the header": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "1")
		w.WriteHeader(200)
		w.Header().Set("A", "2")
		w.Header().Set("B", "2")
		text(w, "x")
	}, []string{get(last)}},
	"values": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X"] = []string{" a ", "b\r\nC: d", ""}
		w.Header()["Bad Name"] = []string{"x"}
		w.Header()["lower"] = []string{"x"}
		text(w, "x")
	}, []string{get(last)}},
	"closes":              {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close"); text(w, "x") }, []string{get(), get()}},
	"HTTP/1.0":            {func(w http.ResponseWriter, _ *http.Request) { text(w, "hello") }, []string{get10(), get10()}},
	"HTTP/1.0, kept":      {func(w http.ResponseWriter, _ *http.Request) { text(w, "hello") }, []string{get10("Connection: keep-alive"), get10()}},
	"HTTP/1.0, no length": {func(w http.ResponseWriter, _ *http.Request) { text(w, "hello"); w.(http.Flusher).Flush(); text(w, "x") }, []string{get10("Connection: keep-alive"), get10()}},
	"HTTP/1.0, no body":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, []string{get10("Connection: keep-alive"), get10()}},
	"identity": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		text(w, "x")
		w.(http.Flusher).Flush()
	}, []string{get(), get()}},
	"early hints": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.Header().Del("Link")
		text(w, "x")
	}, []string{get(), get(last)}},
	"trailers": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "A, b")
		w.Header().Add("Trailer", "Content-Length")
		text(w, "hello")
		w.Header().Set("A", "1")
		w.Header().Set("B", "2")
	}, []string{get(), get(last)}},
	"trailers that nobody announced": {func(w http.ResponseWriter, _ *http.Request) {
		text(w, "hello")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"A", "1")
	}, []string{get(), get(last)}},
	"a body":            {echo, []string{request("POST", "Content-Length: 5") + "hello", request("POST", "Content-Length: 0"), get(last)}},
	"chunks":            {echo, []string{request("POST", "Transfer-Encoding: chunked") + "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", get(last)}},
	"chunks, trailers":  {echo, []string{request("POST", "Transfer-Encoding: chunked", "Trailer: A, B") + "5\r\nhello\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", get(last)}},
	"a body not read":   {func(w http.ResponseWriter, _ *http.Request) { text(w, "x") }, []string{request("POST", "Content-Length: 5") + "hello", get(last)}},
	"malformed chunks":  {echo, []string{request("POST", "Transfer-Encoding: chunked") + "zz\r\nhello\r\n"}},
	"a body that waits": {echo, []string{request("POST", "Content-Length: 5", "Expect: 100-continue") + "hello", get(last)}},
	"a body that waits and is not read": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		[]string{request("POST", "Content-Length: 5", "Expect: 100-continue")}},
	"a file": {func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(os.Args[0])
		if err != nil {
			panic(err)
		}
		defer f.Close()
		w.Header().Set("Content-Length", "100000")
		w.Header().Set("Content-Type", "application/octet-stream")
		if n, err := io.CopyN(w, f, 100000); n != 100000 || err != nil {
			panic(err)
		}
	}, []string{get(), get(last)}},
	"a file, sniffed, chunked": {func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(os.Args[0])
		if err != nil {
			panic(err)
		}
		defer f.Close()
		io.CopyN(w, f, 100000)
	}, []string{get(), get(last)}},
	"hijacked": {func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer nc.Close()
		if _, err := w.Write([]byte("x")); err != http.ErrHijacked {
			panic(err)
		}
		line, _ := rw.ReadString('\n')
		fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		rw.Flush()
	}, []string{get("Connection: upgrade", "Upgrade: x") + "beyond\n"}},
}

func echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%q %t %v %d", b, err != nil, r.Trailer, r.ContentLength)
}

// TestHandlersRelyOnTheSame serves what handlers do with this server and with
// net/http's, and compares what a client gets.
func TestHandlersRelyOnTheSame(t *testing.T) {
	for name, c := range sharedCases {
		t.Run(name, func(t *testing.T) {
			method, _, _ := strings.Cut(c.request[0], " ")
			want := fold(say(t, serveStandard(t, c.handler), c.request...), method)
			got := fold(say(t, serve(t, &h1.Server{Handler: c.handler}, wire.Options{HalfClosed: true}), c.request...), method)
			if got != want {
				t.Errorf("got\n%s\nwant, as of net/http\n%s", got, want)
			}
		})
	}
}
