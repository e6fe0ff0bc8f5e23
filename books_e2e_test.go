//go:build e2e

package foretier

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A bookFarm is the servers that a book's lines name, once for the peer and once for us:
// what each has been asked says whether the two have asked the same.
type bookFarm struct {
	origin, nobody string    // host:port
	apps           [2]string // which answer alike, and count together
	dir            string
}

func newBookFarm(t *testing.T) *bookFarm {
	t.Helper()
	dir := t.TempDir()
	for at := dir; len(at) > len(os.TempDir()); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil { // for a peer's workers, of another user
			t.Fatal(err)
		}
	}
	// ann's is sesame
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte("ann:$2y$05$1.ok2b8h6n4HuVqAxjruX.dYjklc2WLMUqhhQx0Xsw1aqbHf5OFRe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sticky.key"), bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	apps := bookServer("apps")
	return &bookFarm{origin: served(t, bookServer("origin")), apps: [2]string{served(t, apps), served(t, apps)}, nobody: testkit.Nobody(t), dir: dir}
}

// bookServer answers with what it has been asked, and how often.
func bookServer(name string) http.Handler {
	var mu sync.Mutex
	asked := make(map[string]int) // guarded by mu
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		what := strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		mu.Lock()
		asked[what]++
		n := asked[what]
		mu.Unlock()
		w.Header().Set("X-Powered-By", "PHP")
		switch {
		case r.URL.Path == "/missing", name == "apps" && strings.HasPrefix(r.URL.Path, "/media/only-at-the-origin"):
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/private":
			w.Header().Set("Cache-Control", "private")
		case strings.HasPrefix(r.URL.Path, "/fresh/"):
			w.Header().Set("Cache-Control", "max-age=60")
		case strings.HasPrefix(r.URL.Path, "/tagged/"):
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Cache-Tag", "product-42, category-7")
		case strings.HasPrefix(r.URL.Path, "/esi/"):
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<p><esi:include src="/fresh/part"/></p>`)
		}
		fmt.Fprintf(w, "%s: %s, asked %d times, X-Section: %s\n", name, what, n, r.Header.Get("X-Section"))
	})
}

// served serves h until the test ends.
func served(t *testing.T, h http.Handler) (addr string) {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// place puts the farm's servers and files where a book has made up some.
func (f *bookFarm) place(text string) string {
	return strings.NewReplacer(
		"10.0.0.10:8080", f.origin, "10.0.0.11:8080", f.apps[0], "10.0.0.12:8080", f.apps[1], "10.0.0.99:8080", f.nobody,
		"/etc/shop/", f.dir+"/", "/var/cache/shop", f.dir+"/cache",
	).Replace(text)
}

// A bookPeer starts a peer with a chapter's lines.
type bookPeer func(t *testing.T, f *bookFarm, before, lines string) (addr string)

var bookPeers = map[string]bookPeer{"nginx": bookNginx, "haproxy": bookHAProxy, "vcl": bookVarnish}

func bookNginx(t *testing.T, f *bookFarm, before, lines string) string {
	port := servertest.FreePort(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; worker_processes 1; user root; pid %[1]s/pid; error_log %[1]s/error.log;\nevents { worker_connections 256; }\n"+
		"http {\naccess_log off; proxy_temp_path %[1]s/p; client_body_temp_path %[1]s/b; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n%[2]s\n%[3]s}\n",
		dir, f.place(before), strings.ReplaceAll(f.place(lines), "listen 80", fmt.Sprintf("listen 127.0.0.1:%d", port)))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	checked(t, text, servertest.Require(t, "nginx"), "-t", "-e", dir+"/error.log", "-c", conf)
	return servertest.Start(t, port, "nginx", "-e", dir+"/error.log", "-c", conf).Addr
}

func bookHAProxy(t *testing.T, f *bookFarm, before, lines string) string {
	port := servertest.FreePort(t)
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := "global\n    maxconn 1000\n\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\n" +
		f.place(before) + "\n" + strings.ReplaceAll(f.place(lines), "bind :80", fmt.Sprintf("bind 127.0.0.1:%d", port))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	checked(t, text, servertest.Require(t, "haproxy"), "-c", "-f", conf)
	return servertest.Start(t, port, "haproxy", "-db", "-f", conf).Addr
}

func bookVarnish(t *testing.T, f *bookFarm, before, lines string) string {
	port := servertest.FreePort(t)
	dir, err := os.MkdirTemp("", "v") // a test's own is too long for its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for its user
		t.Fatal(err)
	}
	address := regexp.MustCompile(`\.host = "([0-9.]+)"; \.port = "([0-9]+)";`)
	text := address.ReplaceAllStringFunc(before+lines, func(s string) string {
		m := address.FindStringSubmatch(s)
		host, port, err := net.SplitHostPort(f.place(m[1] + ":" + m[2]))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(".host = %q; .port = %q;", host, port)
	})
	text += "sub vcl_recv { if (false) { set req.backend_hint = origin; set req.backend_hint = apps; set req.backend_hint = more; std.log(\"\"); } }\n"
	conf := filepath.Join(dir, "shop.vcl")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	varnishd := servertest.Require(t, "varnishd")
	checked(t, text, varnishd, "-C", "-n", dir+"/c", "-f", conf)
	return servertest.Start(t, port, "varnishd", "-F", "-n", dir+"/n", "-f", conf, "-a", fmt.Sprintf("127.0.0.1:%d", port), "-s", "malloc,16m").Addr
}

// checked has a peer check its configuration.
func checked(t *testing.T, conf string, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", argv[0], err, out, conf)
	}
}

// answered is what is compared of an answer.
func bookAnswer(t *testing.T, addr, request string) string {
	t.Helper()
	method, rest, _ := strings.Cut(request, " ")
	target, rest, _ := strings.Cut(rest, " ")
	host := "shop.example"
	if absolute, ok := strings.CutPrefix(target, "http://"); ok {
		host, target, _ = strings.Cut(absolute, "/")
		target = "/" + target
	}
	var body io.Reader
	name, value, isField := strings.Cut(rest, ": ")
	if !isField && rest != "" {
		body = strings.NewReader(rest)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	if isField {
		r.Header.Set(name, value)
	}
	res, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	if res.StatusCode >= 300 || method == "PURGE" || method == "BAN" {
		text = nil // each has words of its own
	}
	out := fmt.Sprintf("%d %s", res.StatusCode, text)
	for _, name := range []string{"Location", "X-Frame-Options"} {
		out += fmt.Sprintf("%s: %s\n", name, res.Header.Get(name))
	}
	if text != nil || res.StatusCode == http.StatusNotFound { // a backend's
		out += fmt.Sprintf("X-Powered-By: %s\n", res.Header.Get("X-Powered-By"))
	}
	return out
}

// serveBook runs a book's program and returns where each chapter is served.
func serveBook(t *testing.T, program string, chapters int) (addrs []string) {
	t.Helper()
	cmd := exec.Command(program)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); len(addrs) < chapters && lines.Scan(); {
		addrs = append(addrs, lines.Text())
	}
	if len(addrs) < chapters {
		t.Fatalf("only %d of %d chapters are served", len(addrs), chapters)
	}
	return addrs
}

// TestE2EBooks: the peer's lines, as the peer serves them, and ours answer alike what the
// book says that they do.
func TestE2EBooks(t *testing.T) {
	for _, b := range books(t) {
		t.Run(b.peer, func(t *testing.T) {
			theirs, ours := newBookFarm(t), newBookFarm(t)
			program := filepath.Join(t.TempDir(), "book")
			b.run(t, ours.place(b.program()), "build", "-o", program)
			addrs := serveBook(t, program, len(b.chapters)-1)
			for i, c := range b.chapters[1:] {
				t.Run(c.title, func(t *testing.T) {
					if len(c.requests) == 0 {
						t.Error("no requests")
					}
					peer := bookPeers[b.peer](t, theirs, b.chapters[0].theirs, c.theirs)
					for _, request := range c.requests {
						want, got := bookAnswer(t, peer, request), bookAnswer(t, addrs[i], request)
						if got != want {
							t.Errorf("%s:\n%s answers %s\nwe answer %s", request, b.peer, want, got)
						}
					}
				})
			}
		})
	}
}
