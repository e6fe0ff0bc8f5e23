//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// http2Shop is a backend with a page that is stored, one that is not, and an echo.
func http2Shop(t *testing.T) string {
	t.Helper()
	page := bytes.Repeat([]byte("0123456789abcdef"), 1<<9)
	return backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/stored":
			w.Header().Set("Cache-Control", "public, max-age=600")
			_, _ = w.Write(page)
		case "/echo":
			body, _ := io.ReadAll(r.Body) // all of it first, as HTTP/1.1 has it
			_, _ = w.Write(body)
		default:
			_, _ = w.Write(page)
		}
	})
}

// says runs a client of HTTP/2, and returns what it says.
func says(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out[max(0, len(out)-4000):])
	}
	return string(out)
}

// TestE2EClientsOfHTTP2: each gets what it asks for, small and large, many at once.
func TestE2EClientsOfHTTP2(t *testing.T) {
	t.Parallel()
	f := startFront(t, "-backends", http2Shop(t), "-max-requests", "1000")
	_, port, _ := net.SplitHostPort(f.addr)
	url := "https://localhost:" + port
	upload := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(upload, bytes.Repeat([]byte("upload "), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("curl", func(t *testing.T) {
		for _, args := range [][]string{{url + "/page"}, {url + "/stored"}, {"-T", upload, url + "/echo"}, {"-I", url + "/page"}} {
			want := map[bool]string{true: "2 200 1835008", false: "2 200 8192"}[args[0] == "-T"]
			if args[0] == "-I" {
				want = "2 200 0"
			}
			got := says(t, "curl", append([]string{"-sk", "--http2", "-o", os.DevNull, "-w", "%{http_version} %{http_code} %{size_download}"}, args...)...)
			if got != want && args[0] != "-I" || !strings.HasPrefix(got, "2 200") {
				t.Errorf("%v: %q, want %q", args, got, want)
			}
		}
	})
	t.Run("nghttp", func(t *testing.T) {
		out := says(t, "nghttp", "-ans", "-m", "50", url+"/page", url+"/stored")
		if strings.Count(out, " 200 ") != 100 {
			t.Errorf("not 100 answers:\n%s", out)
		}
	})
	succeeded := regexp.MustCompile(`(\d+) total, \d+ started, \d+ done, (\d+) succeeded, 0 failed, 0 errored, 0 timeout`)
	for _, path := range []string{"/page", "/stored"} {
		t.Run("h2load "+path, func(t *testing.T) {
			out := says(t, "h2load", "-n", "4000", "-c", "16", "-m", "20", url+path)
			m := succeeded.FindStringSubmatch(out)
			if m == nil || m[1] != m[2] || !strings.Contains(out, "status codes: 4000 2xx") {
				t.Errorf("a stream has failed:\n%s", out)
			}
		})
	}
	t.Run("node", func(t *testing.T) {
		script := fmt.Sprintf(`
			const c = require('http2').connect('%s', {rejectUnauthorized: false});
			let left = 20, ok = 0;
			for (let i = 0; i < 20; i++) {
				const s = c.request({':path': '/echo', ':method': 'POST'});
				let n = 0;
				s.on('data', d => n += d.length);
				s.on('end', () => { if (n === 300000) ok++; if (--left === 0) { console.log('ok', ok); c.close(); } });
				s.end(Buffer.alloc(300000));
			}`, url)
		if out := says(t, "node", "-e", script); out != "ok 20\n" {
			t.Errorf("%q", out)
		}
	})
}

// withdrawn are the cases of h2spec that RFC 9113 has withdrawn, and that the tier does not
// pass, each with its reason. There is none: a stream that depends on itself (RFC 7540,
// section 5.3.1) is still refused, which costs nothing.
var withdrawn = map[string]string{}

// TestE2EH2spec runs h2spec's cases, all of which but the withdrawn ones must pass.
func TestE2EH2spec(t *testing.T) {
	t.Parallel()
	f := startFront(t, "-backends", http2Shop(t))
	bin := filepath.Join(t.TempDir(), "h2spec")
	build := exec.CommandContext(t.Context(), "go", "install", "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
	build.Env = append(os.Environ(), "GOBIN="+filepath.Dir(bin), "GOFLAGS=")
	build.Dir = t.TempDir() // so that no go.mod says otherwise
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	host, port, _ := net.SplitHostPort(f.addr)
	for _, path := range []string{"/stored", "/page"} {
		cmd := exec.CommandContext(t.Context(), bin, "-h", host, "-p", port, "-t", "-k", "-P", path, "-o", "5")
		cmd.WaitDelay = time.Minute
		out, err := cmd.CombinedOutput()
		summary := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`).FindSubmatch(out)
		switch {
		case summary == nil:
			t.Fatalf("%v\n%s", err, out)
		case string(summary[1]) != "145" || string(summary[4]) != fmt.Sprint(len(withdrawn)) || string(summary[3]) != "0":
			t.Errorf("%s: %s\n%s", path, summary[0], out[max(0, len(out)-6000):])
		}
	}
}
