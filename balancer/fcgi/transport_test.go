package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
)

// serverOf serves a pool of the fakes to real clients.
func serverOf(t *testing.T, o Options, p balancer.Options, fakes ...*fake) *httptest.Server {
	t.Helper()
	urls := make([]string, len(fakes))
	for i, f := range fakes {
		urls[i] = f.url()
	}
	o.Remote = true
	_, pool := poolOf(t, "/var/www/shop", o, p, urls...)
	srv := httptest.NewServer(pool)
	t.Cleanup(srv.Close)
	return srv
}

// says is a server that answers every request with these bytes.
func says(t *testing.T, answer string) *fake {
	return newFake(t, func(r *taken) {
		if _, err := r.body(); err == nil {
			io.WriteString(r, answer)
		}
	})
}

// TestAnswersOfServers: what any server may say, and what becomes of it.
func TestAnswersOfServers(t *testing.T) {
	const plain = "Content-Type: text/html\r\n"
	long := strings.Repeat("a", 100_000)
	var pieces strings.Builder
	for s := long; s != ""; s = s[min(len(s), 7):] {
		pieces.WriteString(stdout(s[:min(len(s), 7)]))
	}
	cases := []struct {
		name, method, answer string
		status               int
		length               int64
		body                 string // and, if it breaks off, "..."
	}{
		{"a page", "GET", stdout(page) + end, 200, 3, "<p>"},
		{"no body", "GET", stdout("Status: 404 Not Found\r\n\r\n") + end, 404, 0, ""},
		{"a header in pieces", "GET", stdout("Content-") + stdout("Type: a/b\r") + stdout("\n\r") + stdout("\n<p>") + end, 200, 3, "<p>"},
		{"a long page", "GET", stdout(plain+"\r\n") + stdout(long[:50_000]) + stdout(long[50_000:]) + end, 200, -1, long},
		{"in many pieces", "GET", stdout(plain+"\r\n") + pieces.String() + end, 200, -1, long},
		{"with a length", "GET", stdout(plain+"Content-Length: 3\r\n\r\n<p>") + end, 200, 3, "<p>"},
		{"longer than it says", "GET", stdout(plain+"Content-Length: 3\r\n\r\n<p>more") + end, 200, 3, "<p>"},
		{"whole before its end", "GET", stdout(plain + "Content-Length: 3\r\n\r\n<p>"), 200, 3, "<p>"},
		{"HEAD", "HEAD", stdout(plain+"Content-Length: 3\r\n\r\n") + end, 200, 3, ""},
		{"HEAD without a length", "HEAD", stdout(plain+"\r\n") + end, 200, -1, ""},
		{"HEAD with a body", "HEAD", stdout(page) + end, 200, -1, ""},
		{"none to say", "GET", stdout("Status: 204\r\n\r\n") + end, 204, 0, ""},
		{"none to say, and it says", "GET", stdout("Status: 204\r\nContent-Length: 3\r\n\r\n<p>") + end, 204, 0, ""},
		{"not modified", "GET", stdout("Status: 304\r\nETag: \"a\"\r\n\r\n<p>") + end, 304, 0, ""},
		{"a redirect", "GET", stdout("Location: /elsewhere\r\n\r\n") + end, 302, 0, ""},
		{"a log beside it", "GET", stderr("a\n") + stdout(page) + stderr("b\n") + end, 200, 3, "<p>"},

		{"nothing", "GET", "", 502, 12, "Bad Gateway\n"},
		{"an end without a page", "GET", end, 502, 12, "Bad Gateway\n"},
		{"an HTTP server", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502, 12, "Bad Gateway\n"},
		{"a header that does not end", "GET", stdout(plain) + end, 502, 12, "Bad Gateway\n"},
		{"a header without an end", "GET", strings.Repeat(stdout("X: "+strings.Repeat("x", 60_000)+"\n"), 20), 502, 12, "Bad Gateway\n"},
		{"a status line", "GET", stdout("HTTP/1.1 200 OK\r\n" + page), 502, 12, "Bad Gateway\n"},
		{"broken off later", "GET", stdout(plain+"\r\n") + strings.Repeat(stdout(long[:50_000]), 4), 200, -1, "a..."},
		{"garbage inside", "GET", stdout(plain+"\r\n") + strings.Repeat(stdout(long[:50_000]), 4) + "garbage garbage", 200, -1, "a..."},
		{"another request's page", "GET", strings.Replace(stdout(page), "\x00\x01", "\x00\x02", 1), 502, 12, "Bad Gateway\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := serverOf(t, Options{}, balancer.Options{Error: func(w http.ResponseWriter, r *http.Request, err error) {
				w.WriteHeader(http.StatusBadGateway)
				io.WriteString(w, "Bad Gateway\n")
			}}, says(t, c.answer))
			r, err := http.NewRequest(c.method, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			got := string(body)
			if err != nil {
				got = got[:1] + "..."
			}
			if res.StatusCode != c.status || res.ContentLength != c.length || got != c.body {
				t.Errorf("%d, %d bytes, %.100q, %v; want %d, %d bytes, %.100q", res.StatusCode, res.ContentLength, got, err, c.status, c.length, c.body)
			}
		})
	}
}

// TestAnswersThatBreakOffAtOnce are errors: 502, or, if that takes longer than a pool holds
// an answer, one that the client sees.
func TestAnswersThatBreakOffAtOnce(t *testing.T) {
	for name, answer := range map[string]string{
		"shorter than it says": stdout("Content-Length: 4\r\n\r\n<p>") + end,
		"without an end":       stdout(page),
	} {
		srv := serverOf(t, Options{}, balancer.Options{Logger: new(testkit.Log).Logger()}, says(t, answer))
		res, err := http.Get(srv.URL)
		if err != nil {
			continue
		}
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 502 && err == nil {
			t.Errorf("%s: %d looks whole", name, res.StatusCode)
		}
	}
}

// TestAnswersGoOnAsTheyCome.
func TestAnswersGoOnAsTheyCome(t *testing.T) {
	more := make(chan string)
	srv := serverOf(t, Options{}, balancer.Options{}, newFake(t, func(r *taken) {
		io.WriteString(r, stdout(page))
		for s := range more {
			io.WriteString(r, stdout(s))
		}
		io.WriteString(r, end)
	}))
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 16)
	for _, want := range []string{"<p>", "one", "two"} {
		if want != "<p>" {
			more <- want
		}
		if n, err := io.ReadFull(res.Body, buf[:len(want)]); string(buf[:n]) != want {
			t.Fatalf("%q, %v; want %q", buf[:n], err, want)
		}
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestAServerThatDiesIsNotNoticed: as with backends of HTTP.
func TestAServerThatDiesIsNotNoticed(t *testing.T) {
	dies := func(r *taken) { io.WriteString(r, stdout("Content-Type: text/")) }
	log := new(testkit.Log)
	srv := serverOf(t, Options{}, balancer.Options{Policy: balancer.RoundRobin(), Logger: log.Logger()}, newFake(t, dies), says(t, stdout(page)+end))
	for range 4 {
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != 200 || string(body) != "<p>" || err != nil {
			t.Errorf("%d %q %v", res.StatusCode, body, err)
		}
	}
	// What may have been executed is not sent again.
	failed := 0
	for range 2 {
		res, err := http.Post(srv.URL, "text/plain", strings.NewReader("order"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 502 {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d of 2 orders failed, want 1", failed)
	}
}

// TestAServerThatIsGone is tried by nobody who is not sent elsewhere.
func TestAServerThatIsGone(t *testing.T) {
	gone, other := says(t, ""), says(t, stdout(page)+end)
	gone.Close()
	srv := serverOf(t, Options{}, balancer.Options{Policy: balancer.RoundRobin()}, gone, other)
	for range 4 {
		res, err := http.Post(srv.URL, "text/plain", strings.NewReader("order"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}

// TestAClientThatLeaves takes its server's connection along.
func TestAClientThatLeaves(t *testing.T) {
	for _, when := range []string{"before the header", "inside the page"} {
		t.Run(when, func(t *testing.T) {
			came, left := make(chan bool), make(chan error, 1)
			srv := serverOf(t, Options{}, balancer.Options{}, newFake(t, func(r *taken) {
				_, _ = r.body()
				if when == "inside the page" {
					io.WriteString(r, stdout(page))
				}
				close(came)
				_, err := r.in.ReadByte()
				left <- err
			}))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				res, err := http.DefaultClient.Do(r)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				done <- err
			}()
			<-came
			cancel()
			if err := <-left; err == nil {
				t.Error("the server's connection goes on")
			}
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestAServerThatSaysNothing is a timeout, whatever it does not do.
func TestAServerThatSaysNothing(t *testing.T) {
	for what, do := range map[string]func(*taken){
		"it reads":            func(r *taken) { _, _ = io.Copy(io.Discard, r) },
		"it logs":             func(r *taken) { repeat(r, stderr("x")) },
		"it begins a record":  func(r *taken) { io.WriteString(r, stdout(page)[:10]); _, _ = io.Copy(io.Discard, r) },
		"it begins a header":  func(r *taken) { io.WriteString(r, stdout("X: 1")); _, _ = io.Copy(io.Discard, r) },
		"it says empty words": func(r *taken) { io.WriteString(r, stderr("")); _, _ = io.Copy(io.Discard, r) },
	} {
		t.Run(what, func(t *testing.T) {
			srv := serverOf(t, Options{Logger: new(testkit.Log).Logger()}, balancer.Options{Timeouts: balancer.Timeouts{Header: 50 * time.Millisecond}}, newFake(t, do))
			res, err := http.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 504 {
				t.Errorf("%d, want 504", res.StatusCode)
			}
		})
	}
}

// repeat writes s until the connection is closed.
func repeat(w io.Writer, s string) {
	for {
		if _, err := io.WriteString(w, s); err != nil {
			return
		}
	}
}

// TestBodies of requests are the script's, to the byte, with a length.
func TestBodies(t *testing.T) {
	srv := serverOf(t, Options{}, balancer.Options{Spool: balancer.Spool{Bytes: 8 << 20}}, newFake(t, func(r *taken) {
		body, err := r.body()
		io.WriteString(r, stdout(fmt.Sprintf("X-Length: %s\n\n%d %v", r.params["CONTENT_LENGTH"], len(body), err))+end)
	}))
	for _, n := range []int{1, 100, bufferSize - headerLen, bufferSize, 300_000, 1<<20 + 1} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("b", n))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			res, err := http.Post(srv.URL, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			if want := fmt.Sprintf("%d <nil>", n); string(got) != want || res.Header.Get("X-Length") != fmt.Sprint(n) {
				t.Errorf("%d bytes, chunked %t: %d %q, length %q", n, chunked, res.StatusCode, got, res.Header.Get("X-Length"))
			}
		}
	}
	// What has no length, and no room to find it out.
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", io.LimitReader(zeros{}, 16<<20))
	r.ContentLength = -1
	srv.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusLengthRequired {
		t.Errorf("a long upload without a length: %d, want 411", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestAnAnswerBeforeTheBody: a script that has heard enough.
func TestAnAnswerBeforeTheBody(t *testing.T) {
	srv := serverOf(t, Options{}, balancer.Options{Spool: balancer.Spool{Bytes: -1}}, says2(t, stdout("Status: 413\n\nno")+end))
	body, w := io.Pipe()
	defer w.Close()
	r, err := http.NewRequest("POST", srv.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100 << 20
	go func() { _, _ = w.Write(make([]byte, 70<<20)) }() // beyond what is kept in memory
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); res.StatusCode != 413 || string(got) != "no" {
		t.Errorf("%d %q %v", res.StatusCode, got, err)
	}
}

// says2 answers before it reads.
func says2(t *testing.T, answer string) *fake {
	return newFake(t, func(r *taken) {
		io.WriteString(r, answer)
		_, _ = io.Copy(io.Discard, r.in)
	})
}

// TestABodyThatBreaksOff does not look whole to the script.
func TestABodyThatBreaksOff(t *testing.T) {
	got := make(chan error, 1)
	f := newFake(t, func(r *taken) {
		_, err := r.body()
		got <- err
	})
	site, err := New("/var/www/shop", Options{Remote: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct {
		body io.Reader
		want error
	}{
		{io.MultiReader(strings.NewReader("half"), failing{}), errFailing},
		{strings.NewReader("half"), io.ErrUnexpectedEOF},
	} {
		r, err := http.NewRequest("POST", "http://shop.example/", io.NopCloser(broken.body))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 8
		res, err := site.Transport(balancer.Backend{URL: f.url()}).RoundTrip(r)
		if !errors.Is(err, broken.want) {
			t.Errorf("%v, %v; want %v", res, err, broken.want)
		}
		if err := <-got; err == nil {
			t.Error("the script got what looks whole")
		}
	}
}

var errFailing = errors.New("the client is gone")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

// TestWhatScriptsLog is one line, which no script can make two of.
func TestWhatScriptsLog(t *testing.T) {
	log := new(testkit.Log)
	srv := serverOf(t, Options{Logger: log.Logger()}, balancer.Options{}, says(t, stderr("PHP message: one\nlevel=ERROR two \xff\x1b[31m\n")+stdout(page)+stderr(strings.Repeat("x", 5000))+end))
	res, err := http.Get(srv.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	log.Wants(t, `msg="a script has logged"`, "script=/index.php", `PHP message: one\nlevel=ERROR two `+"\uFFFD"+`\x1b[31m\n`, "xxx...")
	if n := strings.Count(log.String(), "a script has logged"); n != 1 || len(log.String()) > 3000 {
		t.Errorf("%d lines, %d bytes", n, len(log.String()))
	}
	for range 30 {
		res, err := http.Get(srv.URL + "/a")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if n := strings.Count(log.String(), "a script has logged"); n > 20 {
		t.Errorf("%d lines of 31 answers", n)
	}
}

// TestAFieldThatFitsIntoNoRecord is the client's fault.
func TestAFieldThatFitsIntoNoRecord(t *testing.T) {
	srv := serverOf(t, Options{}, balancer.Options{}, says(t, stdout(page)+end))
	r, err := http.NewRequest("GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 1<<16))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d, want 431", res.StatusCode)
	}
}
