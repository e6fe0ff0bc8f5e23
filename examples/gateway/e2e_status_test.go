//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// runGateway runs a gateway as main does, with a status page at that address, and
// returns where it serves.
func runGateway(t *testing.T, status string, args ...string) (addr string) {
	t.Helper()
	addr = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	ctx, cancel := context.WithCancel(context.Background())
	var log testkit.Log
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-listen", addr, "-status", status, "-linger", "0"}, args...), io.Discard, &log)
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d\n%s", code, log.String())
		}
	})
	testkit.Within(t, 10*time.Second, "the gateway serves", func() bool {
		res, err := http.Get("http://" + status + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return addr
}

// rowOf is a script for the text of a backend's row.
func rowOf(backend string) string {
	return `([...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === '` + backend + `')?.textContent || '')`
}

// cellOf is a script for the text of one of a backend's cells, by its column's title.
func cellOf(backend, title string) string {
	return `([...document.querySelectorAll('tr')].filter(r => r.cells[0].textContent === '` + backend + `').map(r => r.cells[[...r.closest('table').rows[0].cells].findIndex(c => c.textContent === '` + title + `')].textContent)[0] || '')`
}

// TestE2EStatusPage: a person sees each backend, what becomes of it, drains one and
// asks what becomes of a request; the page has nothing to complain of. FORETIER_PICTURE
// names a file for a picture of it.
func TestE2EStatusPage(t *testing.T) {
	var names []string
	var servers []*httptest.Server
	for range 3 {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
		t.Cleanup(srv.Close)
		servers, names = append(servers, srv), append(names, srv.Listener.Addr().String())
	}
	at := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	addr := runGateway(t, at, "-backends", "http://"+strings.Join(names, ",http://"), "-origin", "http://"+names[0], "-admin", "/admin", "-probe", "/healthz",
		"-act-from", "127.0.0.1/32")
	ctx, stop := context.WithCancel(t.Context())
	var visitors sync.WaitGroup
	defer visitors.Wait()
	defer stop()
	visitors.Go(func() {
		for ctx.Err() == nil {
			if res, err := http.Get("http://" + addr + "/"); err == nil {
				res.Body.Close()
			}
		}
	})

	b := browsertest.Open(t, "http://"+at+"/")
	for _, name := range names {
		b.Until(rowOf(name) + `.includes('up')`)
	}
	b.Until(`document.title.startsWith('up')`)
	b.Until(`/^[1-9]/.test(` + cellOf(names[1], "requests /s") + `)`)

	servers[2].Listener.Close()
	servers[2].CloseClientConnections()
	took := b.Until(rowOf(names[2]) + `.includes('down')`)
	t.Logf("a killed backend is shown after %v", took)
	if took > 2*time.Second {
		t.Errorf("a killed backend is shown after %v", took)
	}

	// Drain, by click.
	b.Run(`window.confirm = () => true;
		[...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === '` + names[1] + `').querySelector('button:nth-of-type(2)').click()`)
	b.Until(rowOf(names[1]) + `.includes('set to drain')`)

	// Purge, by keyboard.
	b.Run(`document.querySelector('form.order select').value = 'purge host'`)
	b.Do(chromedp.Focus(chromedp.CSS(`form.order input`)), chromedp.KeyEvent("shop.example/*"+kb.Enter))
	b.Until(`document.querySelector('#said').textContent.includes('want a host')`)
	b.Do(chromedp.Focus(chromedp.CSS(`form.order input`)), chromedp.KeyEvent(kb.Backspace+kb.Backspace+kb.Enter))
	b.Until(`document.body.innerText.includes('purge of the host shop.example, responses: 0')`)

	// Explain, by keyboard.
	b.Do(chromedp.Focus(chromedp.CSS(`form input[name=url]`)), chromedp.KeyEvent("http://shop.example//%61dmin/users"+kb.Enter))
	b.Until(`document.querySelector('#decision').textContent.includes('rule "admin"')`)

	if path := os.Getenv("FORETIER_PICTURE"); path != "" {
		<-time.After(2 * time.Minute)              // so that there is something in the plots
		b.Do(chromedp.EmulateViewport(1200, 3000)) // what is not in sight is not drawn
		b.Run(`scrollTo(0, 0); document.activeElement.blur(); document.querySelector('header').style.position = 'static'`)
		height, err := chromedp.Run(b, chromedp.Evaluate[int64](`Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)`))
		b.Do(chromedp.EmulateViewport(1200, height))
		var picture []byte
		if err == nil {
			picture, err = chromedp.Run(b, chromedp.FullScreenshot(100))
		}
		if err == nil {
			err = os.WriteFile(path, picture, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	for _, line := range b.Complaints() {
		t.Errorf("the page complains: %s", line)
	}
}

// TestE2EOrders: what -act orders is done, and only for whom -act-from names, or who may
// connect to the socket.
func TestE2EOrders(t *testing.T) {
	var rendered atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Cache-Tag", "product-7")
		fmt.Fprint(w, rendered.Add(1))
	}))
	defer srv.Close()
	name := srv.Listener.Addr().String()
	other := httptest.NewServer(srv.Config.Handler)
	defer other.Close()
	dir, err := os.MkdirTemp("", "gw") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := "unix:" + filepath.Join(dir, "status.sock")
	start := func(flags ...string) (at, addr string) {
		at = net.JoinHostPort("127.0.0.1", fmt.Sprint(servertest.FreePort(t)))
		return at, runGateway(t, at, append([]string{"-backends", srv.URL + "," + other.URL}, flags...)...)
	}
	act := func(at, what string) (int, string) {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"-status", at, "-act", what}, &out, &errs)
		return code, out.String() + errs.String()
	}

	byAddress, first := start("-act-from", "127.0.0.1/32")
	port := servertest.FreePort(t)
	there := fmt.Sprintf("127.0.0.1:%d", port)
	second := runGateway(t, there, "-backends", srv.URL+","+other.URL, "-status", there+","+socket+":0660")
	for at, addr := range map[string]string{byAddress: first, socket + ":0660": second} {
		for _, c := range []struct {
			what string
			code int
			said string
			anew bool // the page is rendered then
		}{
			{"drain " + name, 0, "drain " + name + " of pool apps\n", false},
			{"ready " + name, 0, "ready " + name, false},
			{"maintenance " + name + " now", 1, "want no further word", false},
			{"drain web9", 1, "nothing at", false},
			{"stop " + name, 1, "do ready, drain, maintenance, purge url", false},
			{"drain", 1, "as in 'drain web2'", false},
			{"purge", 1, "as in 'drain web2' or 'purge tag product-7'", false},
			{"purge tag", 1, "want tags", false},
			{"purge tag product-*", 1, "no pattern", false},
			{"purge url /", 1, "not an absolute http URL", false},
			{"purge host http://shop.example", 1, "want a host", false},
			{"purge all shop.example", 1, "no further word", false},
			{"purge tag product-8", 0, "purge tag product-8 of cache ", false},
			{"purge tag product-8 product-7", 0, "purge tag product-8 product-7 of cache ", true},
			{"purge url https://shop.example/product", 0, "purge url", true},
			{"purge host shop.example", 0, "purge host", true},
			{"purge all", 0, "purge all", true},
		} {
			_, _, before := askShop(t, "GET", addr)
			if code, said := act(at, c.what); code != c.code || !strings.Contains(said, c.said) {
				t.Errorf("%s: %d %s", c.what, code, said)
			}
			if _, _, after := askShop(t, "GET", addr); (after != before) != c.anew {
				t.Errorf("%s: the page was %s, and is %s", c.what, before, after)
			}
		}
	}
	if code, said := act(there, "drain "+name); code != 1 || !strings.Contains(said, "not in -act-from") {
		t.Errorf("another's, beside a socket: %d %s", code, said)
	}
	at, _ := start()
	if code, said := act(at, "drain "+name); code != 1 || !strings.Contains(said, "without -act-from") {
		t.Errorf("no orders: %d %s", code, said)
	}
	at, _ = start("-act-from", "192.0.2.0/24")
	if code, said := act(at, "drain "+name); code != 1 || !strings.Contains(said, "not in -act-from") {
		t.Errorf("another's: %d %s", code, said)
	}
	for _, at := range []string{"127.0.0.1:1", "unix:" + filepath.Join(dir, "none")} {
		if code, said := act(at, "drain "+name); code != 1 || !strings.Contains(said, "gateway that runs") {
			t.Errorf("nobody there: %d %s", code, said)
		}
	}
}
