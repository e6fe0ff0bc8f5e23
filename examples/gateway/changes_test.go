//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/foretier/foretier/internal/testkit"
)

// A changing gateway is one whose files a test writes.
type changing struct {
	t    *testing.T
	dir  string
	addr string
	log  *testkit.Log
}

func (c *changing) file(name string) string { return filepath.Join(c.dir, name) }

// write has a file say something else, renamed over the first as it should be.
func (c *changing) write(name, content string) {
	c.t.Helper()
	next := c.file(name) + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(next, c.file(name)); err != nil {
		c.t.Fatal(err)
	}
}

// reread has all files read, and waits for a line with all of the words that was not there
// before.
func (c *changing) reread(words ...string) {
	c.t.Helper()
	before := len(c.log.String())
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
	testkit.Within(c.t, testkit.Patience, fmt.Sprintf("a line with %q in\n%s", words, c.log.String()[before:]), func() bool {
		for line := range strings.Lines(c.log.String()[before:]) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	})
}

// status asks for a page, and returns the answer's status with its Location or body.
func (c *changing) status(method, path string) string {
	c.t.Helper()
	r, err := http.NewRequest(method, "http://"+c.addr+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if to := res.Header.Get("Location"); to != "" {
		body = []byte(to)
	}
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", string(body)))
}

func (c *changing) wants(method, path, want string) {
	c.t.Helper()
	if got := c.status(method, path); got != want {
		c.t.Errorf("%s %s: got %q, want %q", method, path, got, want)
	}
}

// Each file takes effect while the gateway serves, is refused as a whole, and is told.
func TestFilesOfARunningGateway(t *testing.T) {
	c := &changing{t: t, dir: t.TempDir()}
	web1, origin := visitorBackend(t, "web1"), visitorBackend(t, "origin")
	web2 := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = io.WriteString(w, "web2")
	})
	c.write("backends", web1+"\n")
	c.write("moved", "/old,/new\n/sale,/offers,302\n")
	c.write("blocked", "192.0.2.0/24\n")
	var end func() int
	c.addr, c.log, end = startServe(t, "-backends", "@"+c.file("backends"), "-redirects", c.file("moved"), "-block", c.file("blocked"),
		"-maintenance", c.file("closed"), "-origin", origin, "-purge-from", "127.0.0.2", "-status", "127.0.0.1:0")
	page := regexp.MustCompile(` status_addr=(127\.0\.0\.1:\d+)`).FindStringSubmatch(c.log.String())[1]
	c.wants("GET", "/", "200 web1")
	c.wants("GET", "/old", "301 /new")

	c.write("backends", "# the second\n"+web2+" # on its own\n")
	c.reread("level=INFO", "flag=-backends", "1 backends", "new: "+web2, "gone: "+web1)
	for range 4 {
		c.wants("GET", "/two", "200 web2")
	}
	for name, bad := range map[string]struct{ content, cause string }{
		"none":          {"# none\n", "it names no backend"},
		"a line":        {web1 + "\nweb2:80\n", "line 2"},
		"base path":     {web1 + "/admin\n", "claimed"},
		"written twice": {web1 + "\n" + web1 + "\n", "twice"},
	} {
		c.write("backends", bad.content)
		c.reread("level=ERROR", "flag=-backends", "file="+c.file("backends"), bad.cause)
		c.wants("GET", "/"+strings.ReplaceAll(name, " ", "-"), "200 web2")
	}

	c.write("moved", "/old,/newer\n/two,/2,308\n")
	c.reread("level=INFO", "flag=-redirects", "2 redirects, before 2")
	c.wants("GET", "/old?x=1", "301 /newer?x=1")
	c.wants("GET", "/two", "308 /2") // which is in the cache, and was answered from the head
	c.wants("GET", "/sale", "200 web2")
	c.write("moved", "/old,/x\n/x,/old\n")
	c.reread("level=ERROR", "flag=-redirects", "line 1: it leads back")
	c.wants("GET", "/old", "301 /newer")
	c.write("moved", "/admin/x,/y\n")
	c.reread("level=INFO", "flag=-redirects", "1 redirects")
	c.wants("GET", "/admin/x", "200 origin")
	c.wants("GET", "/two", "200 web2")

	c.write("blocked", "127.0.0.0/30\n")
	c.reread("level=ERROR", "flag=-block", "127.0.0.0/30 has addresses of -purge-from 127.0.0.2/32")
	c.wants("GET", "/", "200 web2")
	c.write("blocked", "127.0.0.1\n2001:db8::/32\n")
	c.reread("level=INFO", "flag=-block", "2 networks are blocked, before 1")
	c.wants("GET", "/", "403 403 Forbidden")
	c.write("blocked", "")
	c.reread("level=INFO", "flag=-block", "0 networks are blocked, before 2")
	c.wants("GET", "/", "200 web2") // which is stored

	c.write("closed", "")
	c.reread("level=INFO", "flag=-maintenance", "everybody gets 503")
	c.wants("GET", "/", "503 503 Service Unavailable")
	c.wants("GET", "/admin/x", "503 503 Service Unavailable")
	c.wants("PURGE", "/", "403 403 Forbidden") // of who may not, though it is asked for
	c.write("closed", "everybody\n")
	c.reread("level=ERROR", "flag=-maintenance", "line 1")
	c.write("closed", "127.0.0.1 # the office\n")
	c.reread("level=INFO", "flag=-maintenance", "everybody but 1 networks gets 503")
	c.wants("GET", "/", "200 web2")
	c.write("closed", "192.0.2.1\n")
	c.reread("level=INFO", "flag=-maintenance", "everybody but 1 networks gets 503")
	c.wants("GET", "/", "503 503 Service Unavailable")
	if err := os.Remove(c.file("closed")); err != nil {
		t.Fatal(err)
	}
	c.reread("level=INFO", "flag=-maintenance", "maintenance is over")
	c.wants("GET", "/", "200 web2")

	c.write("moved", "/by-itself,/new\n") // which nobody says
	c.log.Wants(t, "level=INFO", "flag=-redirects", "1 redirects, before 1")
	c.wants("GET", "/by-itself", "301 /new")
	c.write("moved", "nonsense\n")
	c.reread("level=ERROR", "flag=-redirects", "line 1")
	for path, words := range map[string][]string{
		"/status.json": {`"kind": "file"`, `"name": "maintenance"`, "maintenance is over", "not taken up: router: line 1", "2 networks are blocked, before 1"},
		"/metrics":     {`foretier_file_changes_total{.*} [1-9]`, `foretier_file_refused{.*"redirects".*} 1`, `foretier_edge_requests_blocked_total{.*} 1`, `foretier_edge_requests_instant_total{.*} [1-9]`},
	} {
		_, body, err := get(t, "http://"+page+path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if !regexp.MustCompile(w).MatchString(body) {
				t.Errorf("%s lacks %s", path, w)
			}
		}
	}
	_, body, err := get(t, "http://"+page+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.New(strings.NewReader(body)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Servers come and go while visitors ask: no request is lost, what a server that goes has
// in hand is finished, and it gets no more.
func TestBackendsChangeUnderLoad(t *testing.T) {
	c := &changing{t: t, dir: t.TempDir()}
	const servers = 3
	var urls []string
	var asked [servers]atomic.Int64
	slow, answer := make(chan struct{}), make(chan struct{})
	for i := range servers {
		urls = append(urls, backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
			asked[i].Add(1)
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if r.URL.Path == "/slow" {
				close(slow)
				<-answer
			}
			w.Header().Set("Cache-Control", "no-store")
			_, _ = io.WriteString(w, "page")
		}))
	}
	c.write("backends", urls[0])
	c.addr, c.log, _ = startServe(t, "-backends", "@"+c.file("backends"), "-log", "off")
	inHand := make(chan string, 1)
	go func() { inHand <- c.status("GET", "/slow") }()
	<-slow
	crowd := startCrowd(t, "http://"+c.addr, func(n int64) string { return fmt.Sprint("/", n) })
	crowd.passes(t, 50)
	for i := 1; i < 20; i++ {
		c.write("backends", urls[i%servers]+"\n")
		c.reread("level=INFO", "flag=-backends", "new: "+urls[i%servers], "gone: "+urls[(i-1)%servers])
		crowd.passes(t, 50)
	}
	crowd.ends(t)
	last := 19 % servers
	var before [servers]int64
	for i := range asked {
		if before[i] = asked[i].Load(); before[i] < 50 {
			t.Errorf("server %d was asked %d times", i, before[i])
		}
	}
	for range 20 {
		c.wants("GET", "/more", "200 page")
	}
	for i := range asked {
		if n := asked[i].Load() - before[i]; (n > 0) != (i == last) {
			t.Errorf("server %d, of which the last is %d, got %d more", i, last, n)
		}
	}
	close(answer)
	if got := <-inHand; got != "200 page" {
		t.Errorf("what was in hand got %s", got)
	}
}

// A certificate takes effect with its key, for connections to come; a half of the pair
// does not.
func TestCertificateOfARunningGateway(t *testing.T) {
	c := &changing{t: t, dir: t.TempDir()}
	ca := testkit.NewAuthority(t)
	cert, key := testkit.Files(t, c.dir, "shop", ca.IssueUntil(t, "shop.example", time.Now().Add(90*24*time.Hour)))
	c.addr, c.log, _ = startServe(t, "-backends", visitorBackend(t, "web1"), "-tls-cert", cert, "-tls-key", key)
	names := func() string {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", c.addr, &tls.Config{InsecureSkipVerify: true}) // which looks itself
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return fmt.Sprint(conn.ConnectionState().PeerCertificates[0].DNSNames)
	}
	if got := names(); got != "[shop.example]" {
		t.Errorf("at the start: %s", got)
	}
	next := ca.IssueUntil(t, "next.example", time.Date(2090, 1, 2, 0, 0, 0, 0, time.UTC))
	nextCert, nextKey := testkit.Files(t, t.TempDir(), "next", next)
	if err := os.Rename(nextCert, cert); err != nil {
		t.Fatal(err)
	}
	c.reread("level=ERROR", "flag=-tls-cert", cert, key, "want PEM files")
	if got := names(); got != "[shop.example]" {
		t.Errorf("with half of the pair: %s", got)
	}
	if err := os.Rename(nextKey, key); err != nil {
		t.Fatal(err)
	}
	c.reread("level=INFO", "flag=-tls-cert", "a certificate for next.example that ends on 2090-01-02")
	if got := names(); got != "[next.example]" {
		t.Errorf("with the pair: %s", got)
	}
}

// A list of 100,000 networks and a table of 100,000 redirects are taken up while visitors
// ask.
func TestLargeFiles(t *testing.T) {
	c := &changing{t: t, dir: t.TempDir()}
	c.write("moved", "")
	c.write("blocked", "")
	c.addr, c.log, _ = startServe(t, "-backends", visitorBackend(t, "web1"), "-redirects", c.file("moved"), "-block", c.file("blocked"), "-log", "off")
	crowd := startCrowd(t, "http://"+c.addr, func(n int64) string { return fmt.Sprint("/", n%10) })
	crowd.passes(t, 50)
	const many = 100_000
	var moved, blocked strings.Builder
	for i := range many {
		fmt.Fprintf(&moved, "/old/%d.html,/new/%d\n", i, i)
		fmt.Fprintf(&blocked, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	c.write("moved", moved.String())
	c.write("blocked", blocked.String())
	began := time.Now()
	c.reread("flag=-block", "100000 networks are blocked") // which is after the redirects
	t.Logf("both within %v", time.Since(began))
	crowd.passes(t, 50)
	crowd.ends(t)
	c.wants("GET", "/old/99999.html", "301 /new/99999")
}
