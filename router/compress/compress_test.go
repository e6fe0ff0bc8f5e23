package compress_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/compress"
)

// page is n bytes of text.
func page(n int) string {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "<li><a href=\"/p/%d\">%x</a></li>\n", rnd.IntN(10000), rnd.Uint32())
	}
	return b.String()[:n]
}

func compressor(t testing.TB, opts compress.Options, next http.HandlerFunc) (*compress.Compressor, http.Handler) {
	t.Helper()
	c, err := compress.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, c.Handler(next)
}

func decoder(t testing.TB, coding string, r io.Reader) io.Reader {
	t.Helper()
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask asks h; fields are pairs. It returns the answer and its body, decoded.
func ask(t testing.TB, h http.Handler, method, path string, fields ...string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	r := httptest.NewRequest(method, "http://shop.example"+path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.Len() == 0 {
		return w, ""
	}
	body, err := io.ReadAll(decoder(t, w.Header().Get("Content-Encoding"), bytes.NewReader(w.Body.Bytes())))
	if err != nil {
		t.Errorf("%s %v: %v", path, fields, err)
	}
	return w, string(body)
}

func metric(c *compress.Compressor, name string) float64 {
	for _, m := range c.Report().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// html answers with a page of 20,000 bytes, of known length.
func html(w http.ResponseWriter, r *http.Request) {
	body := page(20_000)
	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Etag", `"v1"`)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, body)
	}
}

func TestTextIsCompressed(t *testing.T) {
	c, h := compressor(t, compress.Options{}, html)
	for accepts, coding := range map[string]string{
		"gzip": "gzip", "gzip, deflate, br, zstd": "zstd", "zstd;q=0.5, gzip": "gzip", "GZIP": "gzip", "gzip;q=0.001": "gzip",
		"": "", "identity": "", "br": "", "gzip;q=0": "", "gzip;q=0, zstd;q=0.000": "", "*;q=0": "",
		strings.Repeat("gzip,", 100): "", ";;;,,,q=;": "", "gzip;q=\x00": "", "zstd ;q=1": "zstd",
	} {
		w, body := ask(t, h, "GET", "/", "Accept-Encoding", accepts)
		got := fmt.Sprint(w.Code, w.Header()["Content-Encoding"], w.Header()["Etag"], w.Header()["Vary"], w.Header()["Accept-Ranges"], w.Header()["Content-Length"])
		want := `200 [` + coding + `] [W/"v1"] [Accept-Encoding] [] []`
		if coding == "" {
			want = `200 [] ["v1"] [Accept-Encoding] [bytes] [20000]`
		}
		if got != want || body != page(20_000) {
			t.Errorf("%.40q: %s, want %s; %d bytes", accepts, got, want, len(body))
		}
		if coding != "" && w.Body.Len() > 12_000 {
			t.Errorf("%.40q: %d bytes", accepts, w.Body.Len())
		}
	}
	if w, body := ask(t, h, "GET", "/", "Accept-Encoding", "gzip", "Cache-Control", "no-transform"); w.Header()["Content-Encoding"] != nil || body != page(20_000) {
		t.Errorf("for who wants it as it is: %v", w.Header())
	}
	if metric(c, "answers_compressed_total") != 6 || metric(c, "saved_bytes_total") < 6*8000 || metric(c, "answers_in_hand") != 0 {
		t.Errorf("%+v", c.Report().Metrics)
	}
}

// TestWhatStaysAsItIs, and is not said to vary, unless another's like it may be coded.
func TestWhatStaysAsItIs(t *testing.T) {
	text := page(5000)
	for name, c := range map[string]struct {
		fields string
		body   string
		status int
		varies bool
	}{
		"a picture":        {"Content-Type: image/png", text, 200, false},
		"of no type":       {"", text, 200, false},
		"coded":            {"Content-Type: text/css\nContent-Encoding: br", text, 200, false},
		"no-transform":     {"Content-Type: text/css\nCache-Control: no-transform", text, 200, false},
		"a digest":         {"Content-Type: text/css\nContent-Digest: sha-256=:x:", text, 200, false},
		"an event stream":  {"Content-Type: text/event-stream", text, 200, false},
		"a part":           {"Content-Type: text/css\nContent-Range: bytes 0-4999/9000", text, 206, false},
		"small":            {"Content-Type: text/css\nContent-Length: 1000", text[:1000], 200, false},
		"small, by itself": {"Content-Type: text/css\nEtag: \"v\"", text[:1000], 200, true},
		"nothing":          {"Content-Type: text/css", "", 204, false},
		"empty":            {"Content-Type: text/css", "", 200, true},
		"varies already":   {"Content-Type: text/css\nVary: accept-encoding", text[:1000], 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
				for line := range strings.SplitSeq(c.fields, "\n") {
					if n, v, ok := strings.Cut(line, ": "); ok {
						w.Header().Add(n, v)
					}
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			w, _ := ask(t, h, "GET", "/", "Accept-Encoding", "gzip, br")
			if w.Code != c.status || w.Body.String() != c.body || len(w.Header()["Vary"]) > 1 {
				t.Errorf("%d %v, %d bytes", w.Code, w.Header(), w.Body.Len())
			}
			if varies := w.Header()["Vary"] != nil; varies != c.varies {
				t.Errorf("%v", w.Header())
			}
			if w.Header().Get("Etag") != "" && w.Header().Get("Etag") != `"v"` {
				t.Errorf("%v", w.Header())
			}
		})
	}
}

// owner is a handler with a cookie of its own.
type owner struct{ http.HandlerFunc }

func (owner) OwnsCookie(name string) bool { return name == "pin" }

// TestSecretsAreNotCompressed, since the length would tell of them.
func TestSecretsAreNotCompressed(t *testing.T) {
	for _, c := range []struct {
		name, ask, answer string
		coded             bool
	}{
		{"nobody's", "", "", true},
		{"a session", "Cookie: PHPSESSID=1", "", false},
		{"one among others", "Cookie: _ga=1; cart=2", "", false},
		{"analytics", "Cookie: _ga=1; _gid=2", "", true},
		{"the tier's own", "Cookie: pin=1", "", true},
		{"a login", "Authorization: Basic YTpi", "", false},
		{"begins one", "", "Set-Cookie: a=1", false},
		{"begins one, stored", "", "Set-Cookie: a=1\nAge: 3", false},
		{"everybody's, stored", "Cookie: PHPSESSID=1", "Age: 3", true},
		{"everybody's", "Cookie: PHPSESSID=1", "Cache-Control: max-age=5, public", true},
		{"everybody's in caches", "Authorization: Basic YTpi", "Cache-Control: S-MaxAge=5", true},
		{"its own", "Cookie: PHPSESSID=1", "Cache-Control: private, max-age=5", false},
		{"not s-maxage", "Cookie: PHPSESSID=1", "Cache-Control: s-maxage", false},
	} {
		for _, private := range []bool{false, true} {
			z, err := compress.New(compress.Options{Private: private, IgnoreCookies: []string{"_ga", "_gi*"}})
			if err != nil {
				t.Fatal(err)
			}
			h := z.Handler(owner{func(w http.ResponseWriter, r *http.Request) {
				if n, v, ok := strings.Cut(c.answer, ": "); ok {
					v, more, _ := strings.Cut(v, "\n")
					w.Header().Set(n, v)
					if n, v, ok := strings.Cut(more, ": "); ok {
						w.Header().Set(n, v)
					}
				}
				html(w, r)
			}})
			name, value, _ := strings.Cut(c.ask, ": ")
			w, _ := ask(t, h, "GET", "/", "Accept-Encoding", "gzip", name, value)
			if coded := w.Header()["Content-Encoding"] != nil; coded != (c.coded || private) || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, Private %t: %v", c.name, private, w.Header())
			}
			if n := metric(z, "answers_private_total"); n != map[bool]float64{true: 1}[!c.coded && !private] {
				t.Errorf("%s: %v counted", c.name, n)
			}
		}
	}
}

// TestTheLengthTellsLittle: pages that differ in a secret of the same length have lengths
// that differ otherwise.
func TestTheLengthTellsLittle(t *testing.T) {
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page(20_000)+r.URL.Query().Get("q"))
	})
	for _, coding := range []string{"gzip", "zstd"} {
		lengths := make(map[int]bool)
		for i := range 64 {
			w, _ := ask(t, h, "GET", fmt.Sprintf("/?q=secret%08d", i), "Accept-Encoding", coding)
			lengths[w.Body.Len()] = true
		}
		if len(lengths) < 16 {
			t.Errorf("%s: %d lengths", coding, len(lengths))
		}
	}
}

// TestAHeadIsAsAGet, but for the length, which nobody knows yet.
func TestAHeadIsAsAGet(t *testing.T) {
	_, h := compressor(t, compress.Options{}, html)
	for _, accepts := range []string{"gzip", "zstd, br", "", "br"} {
		get, _ := ask(t, h, "GET", "/", "Accept-Encoding", accepts)
		head, _ := ask(t, h, "HEAD", "/", "Accept-Encoding", accepts)
		if !maps.EqualFunc(get.Header(), head.Header(), func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || head.Body.Len() != 0 {
			t.Errorf("%q: HEAD %v, %d bytes, GET %v", accepts, head.Header(), head.Body.Len(), get.Header())
		}
	}
}

// TestNotModified has the ETag that the client named.
func TestNotModified(t *testing.T) {
	own := `"v1"`
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", own)
		w.WriteHeader(http.StatusNotModified)
	})
	for _, c := range []struct{ own, asked, want, vary string }{
		{`"v1"`, `W/"v1"`, `W/"v1"`, "[Accept-Encoding]"}, {`"v1"`, `"v1"`, `"v1"`, "[]"}, {`"v1"`, `"v0", W/"v1"`, `W/"v1"`, "[Accept-Encoding]"},
		{`"v1"`, `"v1", W/"v1"`, `"v1"`, "[]"}, {`W/"v1"`, `W/"v1"`, `W/"v1"`, "[]"}, {`"v1"`, `*`, `"v1"`, "[]"},
	} {
		own = c.own
		w, _ := ask(t, h, "GET", "/", "Accept-Encoding", "gzip", "If-None-Match", c.asked)
		if w.Code != 304 || w.Header().Get("Etag") != c.want || fmt.Sprint(w.Header()["Vary"]) != c.vary || w.Header()["Content-Encoding"] != nil {
			t.Errorf("%+v: %d %v", c, w.Code, w.Header())
		}
	}
}

func TestRangesGoThrough(t *testing.T) {
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "text/css")
		http.ServeContent(w, r, "", time.Unix(0, 0), strings.NewReader(page(20_000)))
	})
	w, body := ask(t, h, "GET", "/", "Accept-Encoding", "gzip", "Range", "bytes=5-9")
	if w.Code != 206 || body != page(20_000)[5:10] || w.Header().Get("Etag") != `"v1"` {
		t.Errorf("%d %v %q", w.Code, w.Header(), body)
	}
	w, body = ask(t, h, "GET", "/", "Accept-Encoding", "gzip", "Range", "bytes=5-9", "If-Range", `W/"v1"`)
	if w.Code != 200 || len(body) != 20_000 || w.Header()["Content-Encoding"] != nil {
		t.Errorf("%d %v, %d bytes", w.Code, w.Header(), len(body))
	}
}

// serve starts a server of net/http, and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// TestFlushes: what has been flushed can be decoded before anything else comes.
func TestFlushes(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd", "identity"} {
		t.Run(coding, func(t *testing.T) {
			step := make(chan struct{})
			_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				for i := range 5 {
					fmt.Fprintf(w, "piece %d\n", i)
					if i%2 == 0 {
						w.(http.Flusher).Flush()
					} else if err := http.NewResponseController(w).Flush(); err != nil {
						t.Error(err)
					}
					<-step
				}
			})
			r, _ := http.NewRequest("GET", "http://"+serve(t, h), nil)
			r.Header.Set("Accept-Encoding", coding)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := res.Header.Get("Content-Encoding"); got != coding && coding != "identity" {
				t.Errorf("in %q", got)
			}
			lines := bufio.NewReader(decoder(t, res.Header.Get("Content-Encoding"), res.Body))
			for i := range 5 {
				if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("piece %d\n", i) {
					t.Fatalf("%q, %v", line, err)
				}
				step <- struct{}{}
			}
			if _, err := lines.ReadString('\n'); err != io.EOF {
				t.Error(err)
			}
		})
	}
}

// TestAHeaderThatIsFlushed goes out at once, and what follows as it is.
func TestAHeaderThatIsFlushed(t *testing.T) {
	step := make(chan struct{})
	c, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"v1"`)
		w.WriteHeader(http.StatusAccepted)
		w.(http.Flusher).Flush()
		<-step
		_, _ = io.WriteString(w, page(20_000))
	})
	r, _ := http.NewRequest("GET", "http://"+serve(t, h), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 202 || res.Header["Content-Encoding"] != nil || res.Header.Get("Etag") != `"v1"` || res.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	step <- struct{}{}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != page(20_000) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if metric(c, "answers_compressed_total") != 0 || metric(c, "answers_in_hand") != 0 {
		t.Errorf("%+v", c.Report().Metrics)
	}
}

// TestWhatBreaksOffDoesNotLookWhole, neither by a panic nor by a return.
func TestWhatBreaksOffDoesNotLookWhole(t *testing.T) {
	for name, ends := range map[string]func(w http.ResponseWriter){
		"panic":          func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"panic, flushed": func(w http.ResponseWriter) { w.(http.Flusher).Flush(); panic(http.ErrAbortHandler) },
		"too little":     func(w http.ResponseWriter) {},
	} {
		for _, coding := range []string{"gzip", "zstd", "identity"} {
			for _, proto := range []string{"1.0", "1.1"} {
				t.Run(name+" "+coding+" "+proto, func(t *testing.T) {
					_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Type", "text/plain")
						if name == "too little" {
							w.Header().Set("Content-Length", "200000")
						}
						_, _ = io.WriteString(w, page(100_000))
						ends(w)
					})
					conn, err := net.Dial("tcp", serve(t, h))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					fmt.Fprintf(conn, "GET / HTTP/%s\r\nHost: a\r\nAccept-Encoding: %s\r\n\r\n", proto, coding)
					res, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						return // not even a header came
					}
					raw, err := io.ReadAll(res.Body)
					if err != nil {
						return
					}
					if coding == "identity" {
						if proto == "1.1" {
							t.Errorf("%d bytes without an error", len(raw))
						}
						return // there is nothing else to say so by
					}
					if len(raw) == 0 {
						return
					}
					body, err := io.ReadAll(decoder(t, res.Header.Get("Content-Encoding"), bytes.NewReader(raw)))
					if err == nil {
						t.Errorf("%d bytes look whole", len(body))
					}
				})
			}
		}
	}
}

// TestTooMuch is refused, as without a compressor.
func TestTooMuch(t *testing.T) {
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "2000")
		if _, err := io.WriteString(w, page(2000)); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(w, "x"); err != http.ErrContentLength {
			t.Errorf("more than announced: %v", err)
		}
	})
	if _, body := ask(t, h, "GET", "/", "Accept-Encoding", "gzip"); body != page(2000) {
		t.Errorf("%d bytes", len(body))
	}
}

// TestInterimAnswersAndTrailers pass.
func TestInterimAnswersAndTrailers(t *testing.T) {
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, page(20_000))
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	})
	r, _ := http.NewRequest("GET", "http://"+serve(t, h), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	early := 0
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		early = code
		if h.Get("Content-Encoding") != "" || h.Get("Link") == "" {
			t.Errorf("%v", h)
		}
		return nil
	}})
	res, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(decoder(t, res.Header.Get("Content-Encoding"), res.Body))
	if err != nil || string(body) != page(20_000) || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d bytes, %v, %v", len(body), err, res.Header)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if early != 103 || res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("X-Late") != "2" {
		t.Errorf("%d, %v", early, res.Trailer)
	}
}

// TestUpgradesPass.
func TestUpgradesPass(t *testing.T) {
	_, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello")
		_ = rw.Flush()
	})
	conn, err := net.Dial("tcp", serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
	if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 101 ") || !strings.HasSuffix(string(got), "\r\n\r\nhello") {
		t.Errorf("%q", got)
	}
}

// TestFewAtOnce: who comes when all places are taken, or holds nearly all, gets it as it
// is.
func TestFewAtOnce(t *testing.T) {
	step := make(chan struct{})
	c, h := compressor(t, compress.Options{AtOnce: 16}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, page(5000))
		<-step
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	coded := make(map[string]int)
	begun := func(from string) {
		before := metric(c, "answers_in_hand") + metric(c, "answers_crowded_total")
		wg.Go(func() {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = from + ":1"
			r.Header.Set("Accept-Encoding", "gzip")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			if w.Header()["Content-Encoding"] != nil {
				coded[from]++
			} else if w.Body.String() != page(5000) {
				t.Error("another page")
			}
		})
		testkit.Within(t, 10*time.Second, "it is counted", func() bool {
			return metric(c, "answers_in_hand")+metric(c, "answers_crowded_total") > before
		})
	}
	for range 20 {
		begun("192.0.2.1")
	}
	for i := range 5 {
		begun("192.0.2." + strconv.Itoa(10+i))
	}
	close(step)
	wg.Wait()
	if coded["192.0.2.1"] != 14 || len(coded) != 3 {
		t.Errorf("%v", coded)
	}
	if metric(c, "answers_in_hand") != 0 || metric(c, "answers_crowded_total") != 9 {
		t.Errorf("%+v", c.Report().Metrics)
	}
	if w, _ := ask(t, h, "GET", "/", "Accept-Encoding", "gzip"); w.Header()["Content-Encoding"] == nil {
		t.Error("no place has come back")
	}
}

// TestItIsExplained.
func TestItIsExplained(t *testing.T) {
	c, err := compress.New(compress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := c.Handler(checked{})
	for fields, want := range map[string]string{
		"Accept-Encoding: gzip":              "text is compressed",
		"":                                   "pass: the client accepts no coding, wants a part, or wants it as it is",
		"Accept-Encoding: gzip\nCookie: a=1": "pass: the client has a session: only what is everybody's is compressed",
		"Accept-Encoding: gzip\nUpgrade: websocket":       "pass: an upgrade or a tunnel",
		"Accept-Encoding: gzip\nRange: bytes=0-1\nX: y":   "pass: the client accepts no coding, wants a part, or wants it as it is",
		"Accept-Encoding: gzip\nAuthorization: Basic abc": "pass: the client has a session: only what is everybody's is compressed",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for line := range strings.SplitSeq(fields, "\n") {
			if n, v, ok := strings.Cut(line, ": "); ok {
				r.Header.Set(n, v)
			}
		}
		d := health.Explain(h, r)
		got := d.Verdict
		if d.Why != "" {
			got += ": " + d.Why
		}
		if got != want || len(d.Next) != 1 || d.Next[0].Verdict != "below" {
			t.Errorf("%q: %s\n%s", fields, got, d)
		}
	}
	if health.Healthy(h, httptest.NewRequest("GET", "/", nil)) {
		t.Error("what lies below is not asked whether it is healthy")
	}
}

type checked struct{}

func (checked) ServeHTTP(http.ResponseWriter, *http.Request) {}
func (checked) Healthy(*http.Request) bool                   { return false }
func (checked) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "x", Verdict: "below"}
}

func TestOptions(t *testing.T) {
	if _, err := compress.New(compress.Options{AtOnce: -1}); err == nil {
		t.Error("no error")
	}
}

// TestAClientThatLeaves costs nothing that stays.
func TestAClientThatLeaves(t *testing.T) {
	ended := make(chan struct{})
	c, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/plain")
		for {
			if _, err := io.WriteString(w, page(100_000)); err != nil {
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+serve(t, h), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	<-ended
	testkit.Within(t, 10*time.Second, "its place is back", func() bool { return metric(c, "answers_in_hand") == 0 })
}

func BenchmarkAnswer(b *testing.B) {
	body := []byte(page(20_000))
	_, h := compressor(b, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/html"}
		w.Header()["Content-Length"] = []string{"20000"}
		if r.URL.Path == "/coded" {
			w.Header()["Content-Encoding"] = []string{"br"}
		}
		_, _ = w.Write(body)
	})
	for _, path := range []string{"/", "/coded"} {
		for _, accepts := range []string{"gzip", "zstd", ""} {
			b.Run(path+" "+accepts, func(b *testing.B) {
				r := httptest.NewRequest("GET", path, nil)
				if accepts != "" {
					r.Header.Set("Accept-Encoding", accepts)
				}
				b.ReportAllocs()
				for b.Loop() {
					h.ServeHTTP(&sink{make(http.Header)}, r)
				}
			})
		}
	}
}

type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// TestNothingIsSentBehindAPanic: the end of the coding would be sent by a server that
// sends what it has.
func TestNothingIsSentBehindAPanic(t *testing.T) {
	for _, n := range []int{2000, 100_000} {
		for _, coding := range []string{"gzip", "zstd"} {
			c, h := compressor(t, compress.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				_, _ = io.WriteString(w, page(n))
				panic("a bug")
			})
			w := httptest.NewRecorder()
			func() {
				defer func() {
					if v := recover(); v != "a bug" {
						t.Errorf("recovered %v", v)
					}
				}()
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Accept-Encoding", coding)
				h.ServeHTTP(w, r)
			}()
			if w.Body.Len() > 0 {
				if body, err := io.ReadAll(decoder(t, coding, w.Body)); err == nil {
					t.Errorf("%s, %d bytes: %d look whole", coding, n, len(body))
				}
			}
			if metric(c, "answers_in_hand") != 0 {
				t.Error("a place is lost")
			}
		}
	}
}
