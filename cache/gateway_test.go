package cache_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// TestThroughGateway attacks the cache end to end, through examples/gateway.
func TestThroughGateway(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", bin, "../examples/gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("poisoning", func(t *testing.T) { testPoisoning(t, bin) })
	t.Run("deception", func(t *testing.T) { testDeception(t, bin) })
}

// gateway runs the program in front of a backend.
func gateway(t *testing.T, bin, backend string) (addr string) {
	t.Helper()
	addr = fmt.Sprint("127.0.0.1:", servertest.FreePort(t))
	cmd := exec.Command(bin, "-listen", addr, "-backends", backend, "-probe", "")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=serving") {
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // there is nothing to drain
		<-drained
		_ = cmd.Wait()
	})
	return addr
}

// exchange sends raw bytes and returns the answer.
func exchange(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, request)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return res, string(body)
}

// testPoisoning: what an attacker sends with a request, or instead of one, is
// not in what the next visitor gets. The backend shows everything that it is
// told, and says that it may be stored.
func testPoisoning(t *testing.T, bin string) {
	var calls atomic.Int32
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("X-Refuse") != "" {
			w.WriteHeader(400)
			return
		}
		var page bytes.Buffer
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(&page, "%s %s %s %q\n", r.Method, r.Host, r.RequestURI, body)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintln(&page, name, r.Header[name])
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"x"`)
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 0-3/100")
			w.WriteHeader(206)
			io.WriteString(w, "evil")
			return
		}
		page.WriteTo(w)
	}))
	defer backend.Close()
	addr := gateway(t, bin, backend.URL)
	attacks := map[string]string{ // PATH and HOST are replaced
		"X-Forwarded-Host":       "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Host: evil\r\n\r\n",
		"X-Forwarded-Scheme":     "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Scheme: evil\r\nX-Forwarded-Proto: evil\r\n\r\n",
		"X-Forwarded-Port":       "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Port: evil\r\n\r\n",
		"X-Host":                 "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Host: evil\r\nX_Forwarded_Host: evil\r\n\r\n",
		"Forwarded":              "GET PATH HTTP/1.1\r\nHost: HOST\r\nForwarded: host=evil\r\n\r\n",
		"X-Original-URL":         "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\n\r\n",
		"X-HTTP-Method":          "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-HTTP-Method-Override: evil\r\nX-HTTP-Method: evil\r\n\r\n",
		"Host with another port": "GET PATH HTTP/1.1\r\nHost: HOST:443\r\nX-Evil: evil\r\n\r\n",
		"Host with a dot":        "GET PATH HTTP/1.1\r\nHost: HOST.\r\nX-Evil: evil\r\n\r\n",
		"another host":           "GET PATH HTTP/1.1\r\nHost: evil.HOST\r\n\r\n",
		"absolute form":          "GET http://evil.HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"a body with GET":        "GET PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nevil",
		"a chunked body":         "GET PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
		"Range":                  "GET PATH HTTP/1.1\r\nHost: HOST\r\nRange: bytes=0-3\r\n\r\n",
		"Upgrade":                "GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Evil: evil\r\n\r\n",
		"advertising":            "GET PATH?utm_source=evil&gclid=evil HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"a parameter":            "GET PATH?a=evil HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"a session":              "GET PATH HTTP/1.1\r\nHost: HOST\r\nCookie: sid=evil\r\n\r\n",
		"Authorization":          "GET PATH HTTP/1.1\r\nHost: HOST\r\nAuthorization: Basic evil\r\n\r\n",
		"a field too large":      "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Evil: " + strings.Repeat("evil", 20_000) + "\r\n\r\n",
		"a field refused":        "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-Refuse: 1\r\n\r\n",
		"HEAD":                   "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nevil",
		"conditions":             "GET PATH HTTP/1.1\r\nHost: HOST\r\nIf-None-Match: \"evil\"\r\nIf-Match: \"evil\"\r\n\r\n",
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			host := strings.ToLower(strings.ReplaceAll(name, " ", "-")) + ".example"
			raw := strings.NewReplacer("PATH", "/page", "HOST", host).Replace(attack)
			raw = strings.Replace(raw, "\r\nHost:", "\r\nConnection: close\r\nHost:", 1)
			if strings.Contains(raw, "Upgrade:") {
				raw = strings.Replace(raw, "Connection: close\r\n", "", 1)
			}
			exchange(t, addr, raw)
			for range 2 {
				res, body := exchange(t, addr, "GET /page HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
				if res.StatusCode != 200 || strings.Contains(body, "evil") || !strings.HasPrefix(body, "GET "+host+" /page \"\"\n") {
					t.Errorf("got %s %q", res.Status, body)
				}
			}
			// And what is asked without an attack is stored, or this proves nothing.
			n := calls.Load()
			if exchange(t, addr, "GET /page HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); calls.Load() != n {
				t.Error("nothing is stored at all")
			}
		})
	}
}

// testDeception: a page of one visitor's is not stored because its URL looks
// like a file.
func testDeception(t *testing.T, bin string) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("sid")
		if err != nil {
			fmt.Fprint(w, "please log in")
			return
		}
		fmt.Fprint(w, "secrets of ", c.Value) // the application ignores the rest of the path
	}))
	defer backend.Close()
	addr := gateway(t, bin, backend.URL)
	for _, path := range []string{"/account/x.css", "/account;x.css", "/account%2Fx.css", "/account%00.css", "/account%3Fx.css", "/account/..%2Fx.css", "/static/..%2Faccount"} {
		t.Run(path, func(t *testing.T) {
			exchange(t, addr, "GET "+path+" HTTP/1.1\r\nHost: a.example\r\nCookie: sid=victim\r\nConnection: close\r\n\r\n")
			if _, body := exchange(t, addr, "GET "+path+" HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"); strings.Contains(body, "victim") {
				t.Errorf("the next visitor gets %q", body)
			}
		})
	}
}
