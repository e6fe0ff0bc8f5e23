//go:build e2e

package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// TestE2EBrowserOrdersOnce: a backend takes an order and breaks off inside its
// answer. A browser that got nothing would order again by itself; this one shows
// the tier's page, and its visitor decides.
func TestE2EBrowserOrdersOnce(t *testing.T) {
	servertest.Require(t, "chromium")
	var orders atomic.Int64
	seen := make(chan string, 8)
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cart":
			fmt.Fprint(w, `<!doctype html><form method="post" action="/order"></form><script>document.forms[0].submit()</script>`)
		case "/order":
			orders.Add(1)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n<html>")
			time.Sleep(50 * time.Millisecond) // what may be held back has gone on
		case "/seen":
			seen <- r.URL.Query().Get("status")
		}
	})
	page := t.TempDir() + "/502.html"
	if err := os.WriteFile(page, []byte(`<!doctype html><title>sorry</title><script>fetch("/seen?status=502")</script>`), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := startGateway(t, "-backends", backend, "-error-page", "502="+page)
	defer browse(t, "MAP shop.test:80 "+addr, "http://shop.test/cart")()
	select {
	case <-seen:
	case <-time.After(60 * time.Second):
		t.Error("the browser does not show the tier's page")
	}
	time.Sleep(time.Second) // a real browser's, in which it would order again
	if n := orders.Load(); n != 1 {
		t.Errorf("ordered %d times", n)
	}
}

// browse has a browser go to url, for which rules say where hosts are, until the function
// that it returns is called.
func browse(t *testing.T, rules, url string, flags ...string) (end func()) {
	t.Helper()
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir=" + t.TempDir(),
		"--host-resolver-rules=" + rules + ", MAP * ~NOTFOUND", "--remote-debugging-port=0"}, flags...)
	cmd := exec.Command(servertest.Require(t, "chromium"), append(args, url)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		<-done
	}
}
