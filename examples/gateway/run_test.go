package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// startServe calls serve, all of the program that stands behind its flags, and
// returns the gateway's address and its log. end ends it as SIGTERM would, and returns the
// exit code.
func startServe(t *testing.T, args ...string) (addr string, log *testkit.Log, end func() int) {
	t.Helper()
	c, err := parse(append([]string{"-listen", "127.0.0.1:0"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.linger = 0 // nobody needs to notice
	ctx, cancel := context.WithCancel(context.Background())
	log = new(testkit.Log)
	ended := make(chan int, 1)
	go func() { ended <- serve(ctx, c, log) }()
	code := -1
	end = func() int {
		if cancel(); code < 0 {
			code = <-ended
		}
		return code
	}
	t.Cleanup(func() { end() })
	serving := regexp.MustCompile(`serving"?[, ]"?addr"?[:=]"?([0-9.]+:[0-9]+)`)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if m := serving.FindStringSubmatch(log.String()); m != nil {
			return m[1], log, end
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve: %s", log)
		}
	}
}

// TestStatus: alive, ready, and a report of every part.
func TestStatus(t *testing.T) {
	backend := visitorBackend(t, "web1")
	addr, log, end := startServe(t, "-backends", backend, "-origin", backend, "-status", "127.0.0.1:0")
	status := regexp.MustCompile(` status_addr=(127\.0\.0\.1:\d+)`).FindStringSubmatch(log.String())[1]
	if code, body, err := get(t, "http://"+addr+"/"); code != 200 || body != "web1" || err != nil {
		t.Fatalf("got %d %q, %v", code, body, err)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nothing": 404} {
		if code, _, err := get(t, "http://"+status+path); code != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", path, code, err, want)
		}
	}
	_, body, err := get(t, "http://"+status+"/status.json")
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		State string
		Parts []struct{ Kind, Name, State string }
	}
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	kinds := make(map[string]bool)
	for _, p := range report.Parts {
		kinds[p.Kind] = true
	}
	if report.State != "up" || !kinds["edge"] || !kinds["router"] || !kinds["cache"] || !kinds["pool"] {
		t.Errorf("state %s of %v", report.State, report.Parts)
	}
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestLog: one line a request, in the form asked for; without an access log
// still those with a cause.
func TestLog(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic(http.ErrAbortHandler)
		}
	})
	cases := map[string]struct{ good, bad string }{
		"text": {` target=/good `, ` target=/bad `},
		"json": {`"target":"/good"`, `"target":"/bad"`},
		"off":  {"", ` target=/bad `},
	}
	for form, c := range cases {
		t.Run(form, func(t *testing.T) {
			addr, log, end := startServe(t, "-backends", backend, "-log", form)
			for path, want := range map[string]int{"/good": 200, "/bad": 502} {
				if code, _, err := get(t, "http://"+addr+path); code != want || err != nil {
					t.Errorf("%s: got %d, %v", path, code, err)
				}
			}
			if code := end(); code != 0 { // all lines are written by then
				t.Errorf("exit code %d", code)
			}
			if n := strings.Count(log.String(), c.bad); n != 1 || !strings.Contains(log.String(), "cause") {
				t.Errorf("%d lines for what failed, want 1 with the cause: %s", n, log)
			}
			if n := strings.Count(log.String(), "/good"); c.good == "" && n != 0 || c.good != "" && strings.Count(log.String(), c.good) != 1 {
				t.Errorf("%d lines for what went well: %s", n, log)
			}
			for line := range strings.Lines(log.String()) {
				if form == "json" && !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
		})
	}
}

// TestLogWhoseReaderStandsStill: a pipe that nobody empties holds some 300 lines;
// serving goes on, and the lines that are dropped are counted and told.
func TestLogWhoseReaderStandsStill(t *testing.T) {
	c, err := parse([]string{"-listen", "127.0.0.1:0", "-backends", visitorBackend(t, "web1"), "-status", "127.0.0.1:0"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.linger = 0
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- serve(ctx, c, w) }()
	log := bufio.NewReader(r)
	addr := ""
	for serving := regexp.MustCompile(`msg=serving addr=([0-9.:]+)`); addr == ""; {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if m := serving.FindStringSubmatch(line); m != nil {
			addr = m[1]
		}
	}
	client := &http.Client{Timeout: 10 * time.Second}
	filler := strings.Repeat("x", 190)
	for i := range 2500 {
		req, _ := http.NewRequest("GET", "http://"+addr+"/"+filler, nil)
		req.Header.Set("User-Agent", filler)
		req.Header.Set("Referer", filler)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	told := make(chan bool, 1)
	go func() { // the reader wakes up
		found := false
		for {
			line, err := log.ReadString('\n')
			if found = found || strings.Contains(line, "lines of the log were dropped"); err != nil {
				told <- found
				return
			}
		}
	}()
	cancel()
	<-ended
	w.Close()
	if !<-told {
		t.Error("no line tells of those that are lost")
	}
}

// TestDrain: a request on its way is answered, and a new connection is not
// taken.
func TestDrain(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-answer
		_, _ = io.WriteString(w, "whole")
	})
	addr, _, end := startServe(t, "-backends", backend)
	got := make(chan string, 1)
	go func() {
		code, body, err := get(t, "http://"+addr+"/")
		got <- fmt.Sprint(code, " ", body, " ", err)
	}()
	<-arrived
	exit := make(chan int, 1)
	go func() { exit <- end() }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still takes connections")
		}
	}
	close(answer)
	if g := <-got; g != "200 whole <nil>" {
		t.Errorf("the request on its way got %s", g)
	}
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestPolicies: each is what it says it is.
func TestPolicies(t *testing.T) {
	var web []string
	for i := range 3 {
		web = append(web, visitorBackend(t, fmt.Sprint("web", i)))
	}
	const asked = 30
	for policy, spread := range map[string]func(map[string]int) bool{
		"roundrobin": func(n map[string]int) bool {
			return n["web0"] == asked/3 && n["web1"] == asked/3 && n["web2"] == asked/3
		},
		"hash":     func(n map[string]int) bool { return len(n) == 1 }, // one path, one backend
		"least":    func(n map[string]int) bool { return len(n) == 3 },
		"adaptive": func(n map[string]int) bool { return len(n) == 3 },
	} {
		addr, _ := startGateway(t, "-backends", strings.Join(web, ","), "-policy", policy, "-cache", "0")
		got := make(map[string]int)
		for range asked {
			_, who := ask(t, "http://"+addr+"/", nil)
			got[who]++
		}
		if !spread(got) {
			t.Errorf("%s: %v", policy, got)
		}
	}
}

// TestMalformedRequests: a clear status, nothing for the backend, and one log
// line with the cause.
func TestMalformedRequests(t *testing.T) {
	var calls atomic.Int64
	backend := backendFunc(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	cases := map[string]struct {
		request string
		status  int
		line    string // in the log
	}{
		"long target":       {"GET /" + strings.Repeat("a", 8000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "more than 8000 bytes"},
		"large head":        {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 33<<10) + "\r\n\r\n", 431, "more than 32768"},
		"large body":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413, "body"},
		"target of no form": {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path"},
		"no honest reading": {"GET /media/..%2f..%2fetc HTTP/1.1\r\nHost: a\r\n\r\n", 400, "cause="},
		"TRACE":             {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method TRACE"},
		"CONNECT":           {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method CONNECT"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr, log := startGateway(t, "-backends", backend)
			if status := rawStatus(t, addr, c.request); status != c.status {
				t.Errorf("got %d, want %d", status, c.status)
			}
			lines := linesOf(t, log, " target=", 1)
			if !strings.Contains(lines[0], fmt.Sprint("status=", c.status)) || !strings.Contains(lines[0], c.line) {
				t.Errorf("the line lacks %q: %s", c.line, lines[0])
			}
		})
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the backend got %d of them", n)
	}
}

// TestRequestsWithoutFraming: where two readers could disagree on what a
// request is, it is refused, and nothing of it reaches a backend.
func TestRequestsWithoutFraming(t *testing.T) {
	var calls atomic.Int64
	backend := backendFunc(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	addr, _ := startGateway(t, "-backends", backend)
	const head = "POST / HTTP/1.1\r\nHost: a\r\n"
	cases := map[string]struct {
		request string
		status  int
	}{
		"two lengths":            {head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"a list of lengths":      {head + "Content-Length: 1, 1\r\n\r\na", 400},
		"a signed length":        {head + "Content-Length: +1\r\n\r\na", 400},
		"another coding":         {head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
		"two codings":            {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		"a space before colon":   {head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
		"NUL":                    {head + "X: a\x00b\r\n\r\n", 400},
		"CR in a field":          {head + "X: a\rb\r\n\r\n", 400},
		"two hosts":              {head + "Host: b\r\n\r\n", 400},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", 400},
		"a space in the target":  {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a head of a megabyte":   {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431},
		"HTTP/2 without preface": {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	}
	for name, c := range cases {
		if status := rawStatus(t, addr, c.request); status != c.status {
			t.Errorf("%s: got %d, want %d", name, status, c.status)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the backend got %d of them", n)
	}
}

// rawStatus sends bytes as they are and returns the answer's status.
func rawStatus(t *testing.T, addr, request string) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the gateway may have seen enough
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestMalformedBody: 400 for a body that is none, and for a client that has
// gone or closed its half nothing, but never nginx's 499.
func TestMalformedBody(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch _, err := io.Copy(io.Discard, r.Body); {
		case r.URL.Path == "/own":
			w.WriteHeader(499) // some applications mean something by it
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case err == nil:
			_, _ = io.WriteString(w, "whole")
		}
	})
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	large := fmt.Sprintf("200000\r\n%s\r\n", strings.Repeat("x", 2<<20)) // more than is read ahead
	for name, c := range map[string]struct {
		request string
		half    bool // the client closes its sending half
		status  int  // 0: no answer
		line    string
	}{
		"no chunk size":         {chunked + "zz\r\n\r\n", false, 400, "malformed"},
		"a negative size":       {chunked + "-1\r\n\r\n", false, 400, "malformed"},
		"a size too large":      {chunked + "fffffffffffffffff\r\n", false, 400, "malformed"},
		"no end of a chunk":     {chunked + "1\r\nabc\r\n0\r\n\r\n", false, 400, "malformed"},
		"a bad trailer":         {chunked + "1\r\na\r\n0\r\nno colon\r\n\r\n", false, 400, "malformed"},
		"behind a large chunk":  {chunked + large + "zz\r\n", false, 400, "malformed"},
		"a whole body":          {chunked + "1\r\na\r\n0\r\n\r\n", false, 200, ""},
		"cut off in a chunk":    {chunked + "5\r\na", true, 0, "client gone"},
		"cut off in the body":   {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na", true, 0, "client gone"},
		"a half that is closed": {"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", true, 0, "client gone"},
		"a backend's own 499":   {"GET /own HTTP/1.1\r\nHost: a\r\n\r\n", false, 499, "msg=request "},
	} {
		t.Run(name, func(t *testing.T) {
			addr, log := startGateway(t, "-backends", backend)
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.WriteString(conn, c.request) // the gateway may have seen enough
				if c.half {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			}()
			status := 0
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				status = resp.StatusCode
				resp.Body.Close()
			} else if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("the connection ended with %v", err)
			}
			if status != c.status {
				t.Errorf("got %d, want %d: %s", status, c.status, log)
			}
			line := linesOf(t, log, " target=/", 1)[0]
			if want := fmt.Sprintf(" status=%d ", cmp.Or(c.status, 499)); !strings.Contains(line, want) || !strings.Contains(line, c.line) || strings.Contains(line, "level=ERROR") {
				t.Errorf("the line lacks%sor %q: %s", want, c.line, line)
			}
		})
	}
}
