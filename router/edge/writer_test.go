package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// overEach serves h over each protocol and calls f with a client for each.
func overEach(t *testing.T, h http.Handler, opts edge.Options, f func(t *testing.T, url string, c *http.Client)) {
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS() // for its certificate
	t.Cleanup(certificates.Close)
	for name, proto := range map[string]string{"HTTP/1.1": "", "HTTP/1.1 over TLS": "http/1.1", "HTTP/2": "h2", "HTTP/1.1 by net/http": "", "HTTP/1.1 over TLS by net/http": "http/1.1", "HTTP/2 by net/http": "h2"} {
		t.Run(name, func(t *testing.T) {
			opts, url := opts, "http://"
			opts.NetHTTP = strings.HasSuffix(name, "net/http") && proto != "h2"
			opts.NetHTTP2 = strings.HasSuffix(name, "net/http") && proto == "h2"
			transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
			transport.Protocols.SetHTTP1(proto != "h2")
			transport.Protocols.SetHTTP2(proto == "h2")
			if proto != "" {
				opts.TLS, url = &tls.Config{Certificates: certificates.TLS.Certificates}, "https://"
				transport.TLSClientConfig = certificates.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				transport.TLSClientConfig.ServerName = "example.com"
				transport.TLSClientConfig.NextProtos = []string{proto}
			}
			t.Cleanup(transport.CloseIdleConnections)
			srv := serve(t, h, opts)
			f(t, url+srv.Addr().String(), &http.Client{Transport: transport, Timeout: 20 * time.Second,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
		})
	}
}

// TestAnAnswerThatBreaksOff: browsers send a request again that got no answer
// at all, orders too.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	abort := func() { panic(http.ErrAbortHandler) }
	h := http.NewServeMux()
	h.HandleFunc("/small", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Etag", `"small"`)
		io.WriteString(w, "<html>")
		abort()
	})
	h.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(200)
		abort()
	})
	h.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "20000")
		for range 10 {
			io.WriteString(w, strings.Repeat("x", 1000))
		}
		abort()
	})
	h.HandleFunc("/moved", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Location", "/thanks")
		w.Header().Set("Set-Cookie", "order=1")
		w.WriteHeader(302)
		io.WriteString(w, "<html>")
		abort()
	})
	h.HandleFunc("/unknown", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "of a length that nobody knows")
		abort()
	})
	h.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "<html>")
	})
	h.HandleFunc("/copied", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		if _, err := io.Copy(w, io.MultiReader(strings.NewReader("<html>"), iotest.ErrReader(io.ErrUnexpectedEOF))); err != nil {
			abort()
		}
	})
	h.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		io.WriteString(w, "<html>")
		abort()
	})
	h.HandleFunc("/flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "20000")
		io.WriteString(w, "<html>")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "<head>")
		abort()
	})
	h.HandleFunc("/streamed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<html>")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "<head>")
		abort()
	})
	h.HandleFunc("/much", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		io.WriteString(w, strings.Repeat("x", 50_000))
		abort()
	})
	opts := edge.Options{Pages: map[int][]byte{502: []byte("<p>sorry")}}
	overEach(t, h, opts, func(t *testing.T, url string, c *http.Client) {
		for path, want := range map[string]string{
			"/small": "", "/none": "", "/half": "", "/moved": "", "/unknown": "", "/short": "", "/copied": "", "/large": "", // 502
			"/flushed": "<html><head>", "/streamed": "<html><head>", "/much": strings.Repeat("x", 50_000),
		} {
			for _, method := range []string{"GET", "POST"} {
				r, err := http.NewRequest(method, url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := c.Do(r)
				if err != nil {
					t.Errorf("%s %s: %v", method, path, err)
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case want == "":
					if res.StatusCode != 502 || string(body) != "<p>sorry" || err != nil || res.Header.Get("Cache-Control") != "no-store" ||
						res.Header.Get("Etag") != "" || res.Header.Get("Location") != "" || res.Header.Get("Set-Cookie") != "" {
						t.Errorf("%s %s: got %d %q %v, %v, want the page for 502", method, path, res.StatusCode, body, res.Header, err)
					}
				case res.StatusCode != 200 || string(body) != want || err == nil:
					t.Errorf("%s %s: got %d %d bytes, %v, want %d bytes, then a cut", method, path, res.StatusCode, len(body), err, len(want))
				}
			}
		}
	})
}

// TestAHandlersPanicAfterItsHeader is answered 500 as long as nothing is out.
func TestAHandlersPanicAfterItsHeader(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		panic("a bug")
	})
	overEach(t, h, edge.Options{Logger: new(lines).Logger()}, func(t *testing.T, url string, c *http.Client) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); res.StatusCode != 500 || strings.Contains(string(body), "half") || err != nil {
			t.Errorf("got %d %q, %v", res.StatusCode, body, err)
		}
	})
}

// TestTheHeaderIsWhatItWasWhenItWasWritten although it goes out later.
func TestTheHeaderIsWhatItWasWhenItWasWritten(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-A"] = []string{"before"}
		w.WriteHeader(200)
		io.WriteString(w, "page")
		if w.Header().Get("X-A") != "before" {
			t.Error("who looks at the header later finds another")
		}
		w.Header()["X-A"][0] = "after"
		w.Header().Set("X-B", "after")
	})
	overEach(t, h, edge.Options{}, func(t *testing.T, url string, c *http.Client) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("X-A") != "before" || res.Header.Get("X-B") != "" {
			t.Errorf("got %v", res.Header)
		}
	})
}

// TestNothingReachesAFinishedExchange: a handler's goroutine that goes on after
// its handler has returned harms neither the process nor another exchange. It
// says most with -race.
func TestNothingReachesAFinishedExchange(t *testing.T) {
	var late sync.WaitGroup
	ends := make(chan chan struct{}, 1) // what is closed once a handler has returned
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, "mine")
			return
		}
		returned := make(chan struct{})
		ends <- returned
		reads, waits := make(chan struct{}), make(chan struct{})
		rc := http.NewResponseController(w)
		body := r.Body
		late.Go(func() { // reads while the handler returns
			close(reads)
			_, err := io.Copy(io.Discard, body)
			if err == nil {
				t.Error("the body came to an end")
			}
		})
		late.Go(func() { // uses all of it afterwards
			close(waits)
			<-returned
			for range 100 {
				if _, err := body.Read(make([]byte, 1)); err == nil {
					t.Error("read a byte of a finished request")
				}
				if _, err := io.WriteString(w, "theirs"); err == nil {
					t.Error("wrote to a finished response")
				}
				w.Header().Set("X-Late", "1")
				w.WriteHeader(500)
				_ = rc.Flush()
				_ = rc.SetReadDeadline(time.Now().Add(time.Hour))
				_ = rc.SetWriteDeadline(time.Now().Add(time.Hour))
				_ = rc.EnableFullDuplex()
				if _, _, err := rc.Hijack(); err == nil {
					t.Error("took over a connection that serves another request")
				}
				_ = body.Close()
			}
		})
		<-reads
		<-waits
	})
	overEach(t, h, edge.Options{}, func(t *testing.T, url string, c *http.Client) {
		for range 5 {
			pr, pw := io.Pipe()
			go func() { _, _ = io.WriteString(pw, "a beginning") }()
			res, err := c.Post(url, "text/plain", pr)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			close(<-ends)
			if res.StatusCode != 200 || len(body) > 0 || err != nil {
				t.Errorf("got %d %q, %v", res.StatusCode, body, err)
			}
			for range 20 {
				res, err := c.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if string(body) != "mine" || res.Header.Get("X-Late") != "" {
					t.Errorf("another exchange got %q %v", body, res.Header)
				}
			}
			pw.Close()
		}
		late.Wait()
	})
}

// TestWhatFollowsABodyThatWasNotReadIsNoRequest: the standard server reads on
// behind a read that has failed, in the middle of the body.
func TestWhatFollowsABodyThatWasNotReadIsNoRequest(t *testing.T) {
	var paths sync.Map
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths.Store(r.URL.Path, true)
		if r.URL.Path == "/deadline" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Hour))
			_, _ = r.Body.Read(make([]byte, 1))
		}
		io.WriteString(w, "page")
	})
	srv := serve(t, h, edge.Options{})
	for name, raw := range map[string]string{
		"a deadline":        "POST /deadline HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
		"chunks gone wrong": "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		c := testkit.Dial(t, srv.Addr().String())
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, raw)
		br := bufio.NewReader(c)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		fmt.Fprint(c, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
		if rest, err := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("%s: then %q, %v", name, rest, err)
		}
		c.Close()
	}
	if _, ok := paths.Load("/smuggled"); ok {
		t.Error("a part of a body was served as a request")
	}
}

// TestACopyThatOutlivesItsHandler: whatever it waits for, the request does not
// wait for it.
func TestACopyThatOutlivesItsHandler(t *testing.T) {
	never, end := io.Pipe()
	defer end.Close()
	var copies sync.WaitGroup
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		began := make(chan struct{})
		copies.Go(func() {
			_, _ = io.Copy(w, io.MultiReader(readFunc(func([]byte) (int, error) { close(began); return 0, io.EOF }), never))
		})
		<-began
		_, _ = io.WriteString(w, "page")
	})
	overEach(t, h, edge.Options{}, func(t *testing.T, url string, c *http.Client) {
		c.Timeout = 5 * time.Second
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); string(body) != "page" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	})
	end.Close()
	copies.Wait()
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestAHandlerThatSaysNothing answers 200, with what the edge adds to every
// answer.
func TestAHandlerThatSaysNothing(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), edge.Options{Trusted: loopback, HSTS: time.Minute})
	for _, method := range []string{"GET", "HEAD", "POST"} {
		r, err := http.NewRequest(method, "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-Proto", "https")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") == "" || method != "HEAD" && res.ContentLength != 0 {
			t.Errorf("%s: got %d, length %d, %v", method, res.StatusCode, res.ContentLength, res.Header)
		}
	}
}
