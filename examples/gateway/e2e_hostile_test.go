//go:build e2e

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// These tests are of one visitor who would hold what all share, as many times over
// as it takes where nothing is in the way. The visitor is 127.0.0.2; the others are
// in 127.0.1.0/24. Where nginx is named, it is one with its defaults beside the same
// servers.

const hostileVisitor = "127.0.0.2"

// served wants 58 pages that are not stored for others than the hostile visitor, at
// once, and over both versions of HTTP if there are both.
func (f front) served(t *testing.T) {
	t.Helper()
	const pages, visitors = 58, 6
	var next, ok atomic.Int64
	var wg sync.WaitGroup
	for i := range visitors {
		client := f.client(t, fmt.Sprintf("127.0.1.%d", i+1), i%2 == 0 && f.tls != nil)
		wg.Go(func() {
			for n := next.Add(1); n <= pages; n = next.Add(1) {
				page, err := visit(client, fmt.Sprintf("%s/page?%d", f.url(), n))
				if page == "page" && err == nil {
					ok.Add(1)
				} else {
					t.Logf("page %d: %d bytes, %v", n, len(page), err)
				}
			}
		})
	}
	wg.Wait()
	if n := ok.Load(); n < pages {
		t.Errorf("others got %d of %d pages", n, pages)
	}
}

// visit returns the body of an answer with status 200.
func visit(client *http.Client, url string) (string, error) {
	status, body, err := askAs(client, http.MethodGet, url, nil)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	return body, err
}

// slowShop answers /slow at the end of the test, whether or not anybody waits, as PHP
// does with what takes long, and everything else at once.
func slowShop(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	ended := make(chan struct{})
	url = backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/slow") {
			asked.Add(1)
			<-ended
			w.Header().Set("Cache-Control", "max-age=60")
		} else {
			w.Header().Set("Cache-Control", "no-store")
		}
		_, _ = io.WriteString(w, "page")
	})
	t.Cleanup(func() { close(ended) })
	return url, asked
}

// TestE2ESlowUploads: 240 uploads, or 150, of which next to nothing comes, where
// the server has 100 places and 128 may wait. nginx, which keeps an upload on the
// disk until it is whole, answers all others.
func TestE2ESlowUploads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uploads, length int
		trickle         string
	}{{240, 2_000_000, "x"}, {150, 900_000, ""}} {
		for _, proto := range []string{"http/1.1", "h2"} {
			t.Run(fmt.Sprintf("%d of %d bytes, %s", c.uploads, c.length, proto), func(t *testing.T) {
				t.Parallel()
				shop, _ := slowShop(t)
				f := startFront(t, "-backends", shop)
				var more []func() // sends another byte
				const streams = 80
				var conn *h2
				for i := range c.uploads {
					if proto == "h2" {
						if i%streams == 0 {
							conn = f.h2(t, hostileVisitor)
						}
						conn, stream := conn, conn.ask("/form", strconv.Itoa(c.length))
						more = append(more, func() { conn.send(frameData, 0, stream, []byte(c.trickle)) })
						continue
					}
					conn := f.dial(t, hostileVisitor, proto)
					if _, err := fmt.Fprintf(conn, "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", c.length); err != nil {
						t.Fatal(err)
					}
					more = append(more, func() { _, _ = io.WriteString(conn, c.trickle) }) // or it has been refused
				}
				trickle := func() {
					for _, f := range more {
						if c.trickle != "" {
							f()
						}
					}
					time.Sleep(200 * time.Millisecond) // until they are where they would hold something
				}
				trickle()
				f.served(t)
				trickle()
				f.served(t)
				// Others upload as well.
				for i := range 4 {
					client := f.client(t, fmt.Sprintf("127.0.1.%d", i+1), i%2 == 0)
					res, err := client.Post(f.url()+"/form", "text/plain", bytes.NewReader(make([]byte, c.length)))
					if err != nil {
						t.Fatal(err)
					}
					if res.Body.Close(); res.StatusCode != 200 {
						t.Errorf("another's upload: %d", res.StatusCode)
					}
				}
			})
		}
	}
}

// soon waits for what comes soon where nothing is in the way.
func soon(done func() bool) {
	for end := time.Now().Add(3 * time.Second); !done() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// TestE2EAbandonedVisits: a visitor asks for slow pages and takes them back at once,
// more often than the server has places and may be waited for. nginx leaves its
// server when its client has left, and answers all others.
func TestE2EAbandonedVisits(t *testing.T) {
	t.Parallel()
	const rounds = 4
	page := func(round, i int) string { return fmt.Sprintf("/slow?%d.%d", round, i) }
	// streams resets those of one connection, or has the server do it.
	streams := func(kind byte, payload string) func(*testing.T, front, func(int64)) {
		return func(t *testing.T, f front, arrive func(int64)) {
			const each = 80 // fewer than one client may have of the places
			c := f.h2(t, hostileVisitor)
			for round := range rounds {
				var open []uint32
				for i := range each {
					open = append(open, c.ask(page(round, i), ""))
				}
				arrive(each)
				for _, stream := range open {
					c.send(kind, 0, stream, []byte(payload))
				}
				if kind != frameReset {
					soon(func() bool { return c.resets.Load() == int64((round+1)*each) })
				}
			}
			if n := c.resets.Load(); kind != frameReset && n < rounds*each {
				t.Errorf("the server has reset %d streams only: that shows nothing", n)
			}
		}
	}
	for name, leave := range map[string]func(t *testing.T, f front, arrive func(n int64)){
		"240 connections, closed": func(t *testing.T, f front, arrive func(int64)) {
			const each = 240 / rounds
			for round := range rounds {
				var open []net.Conn
				for i := range each {
					open = append(open, f.dial(t, hostileVisitor, "http/1.1"))
					_, _ = fmt.Fprintf(open[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", page(round, i))
				}
				arrive(each)
				for _, conn := range open {
					_ = conn.Close()
				}
			}
		},
		"80 streams at a time, reset": streams(frameReset, "\x00\x00\x00\x08"), // CANCEL
		// The client makes the server reset them, which some have counted as the
		// server's own doing.
		"80 streams at a time, reset for a window that grows by nothing": streams(frameWindow, "\x00\x00\x00\x00"),
		"80 streams at a time, reset for a window without bounds":        streams(frameWindow, "\x7f\xff\xff\xff"),
		"80 streams at a time, reset for data after the end":             streams(frameData, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop, asked := slowShop(t)
			f := startFront(t, "-backends", shop)
			var visits int64
			leave(t, f, func(n int64) { // so that the server has been asked
				visits += n
				soon(func() bool { return asked.Load() >= visits })
			})
			f.served(t)
			if n := asked.Load(); n < visits {
				t.Errorf("the server was asked %d times of %d", n, visits)
			}
		})
	}
}

// file answers with n bytes that may be stored, with or without their length.
func file(n int, chunked bool) http.HandlerFunc {
	body := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(body)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Type", "application/octet-stream")
		if !chunked {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for p := body; len(p) > 0; {
			k := min(len(p), 64<<10)
			if _, err := w.Write(p[:k]); err != nil {
				return
			}
			p = p[k:]
		}
	}
}

// TestE2EOneSlowReader: of a file that is too large to be stored, which shows only
// while it comes, one takes 2 KB a second. Those who come along with that one have it
// at once, and so do those who come later, as behind nginx, where it took 0.6 s.
func TestE2EOneSlowReader(t *testing.T) {
	t.Parallel()
	const size, pause = 24 << 20, 500 * time.Millisecond
	body := file(size, true)
	shop := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(pause) // so that others join before there is anything to read
		body(w, r)
	})
	for _, slow := range []string{"http/1.1", "h2"} {
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			f := startFront(t, "-backends", shop, "-cache", "64MiB") // of which a file may be 4 MiB
			if slow == "h2" {
				f.h2(t, hostileVisitor).ask("/file", "") // and takes what the window lets through
			} else {
				first := f.dial(t, hostileVisitor, slow)
				_ = first.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
				_, _ = fmt.Fprintf(first, "GET /file HTTP/1.1\r\nHost: %s\r\n\r\n", f.addr)
				var wg sync.WaitGroup
				t.Cleanup(wg.Wait)
				wg.Go(func() {
					for p := make([]byte, 512); t.Context().Err() == nil; time.Sleep(250 * time.Millisecond) {
						if _, err := io.ReadFull(first, p); err != nil && t.Context().Err() == nil {
							t.Errorf("the slow one: %v", err)
							return
						}
					}
				})
			}
			time.Sleep(pause / 5) // so that the slow one leads
			var wg sync.WaitGroup
			for i, after := range []time.Duration{0, 0, 3 * pause, 3 * pause} {
				client := f.client(t, fmt.Sprintf("127.0.1.%d", i+1), i%2 == 0)
				wg.Go(func() {
					time.Sleep(after)
					begun := time.Now()
					got, err := visit(client, f.url()+"/file")
					if len(got) != size || err != nil {
						t.Errorf("another, %v later: %d bytes of %d, %v", after, len(got), size, err)
					}
					if took := time.Since(begun); took > 10*time.Second { // on a machine that does much else
						t.Errorf("another, %v later, waited for %v", after, took)
					}
				})
			}
			wg.Wait()
		})
	}
}

// heap returns how much memory is in use, but for garbage.
func heap() int64 {
	least := int64(math.MaxInt64)
	for range 3 { // what is made while it collects counts as in use, too, however short
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, int64(m.HeapAlloc))
	}
	return least
}

// TestE2EMemoryOfSlowReaders: visits that each have another file fetched which may
// be stored, and take nothing of it, as clients of HTTP/1 that do not read and by the
// windows of HTTP/2. What is in use of the process's heap stays within 1.1 times
// what the cache may hold, 1 MiB that is read ahead of each visit up to 128 MiB in
// all, and what a request takes by itself. nginx has such files on the disk.
func TestE2EMemoryOfSlowReaders(t *testing.T) {
	const mib, each = 1 << 20, 64 << 10
	length, chunked := file(7_500_000, false), file(7_500_000, true)
	small, smallChunked := file(3_900_000, false), file(3_900_000, true)
	for _, c := range []struct {
		name           string
		max            int64 // that the cache may hold; a file may be a 16th of it
		conns, streams int   // 0 streams: HTTP/1
		files          []http.HandlerFunc
	}{
		{"80 connections", 128 * mib, 80, 0, []http.HandlerFunc{length, chunked}},
		{"4 connections with 400 streams", 64 * mib, 4, 100, []http.HandlerFunc{small, chunked, smallChunked, length}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shop := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/page" {
					w.Header().Set("Cache-Control", "no-store")
					_, _ = io.WriteString(w, "page")
					return
				}
				n, _ := strconv.Atoi(r.URL.RawQuery)
				c.files[n%len(c.files)](w, r)
			})
			f := startFront(t, "-backends", shop, "-cache", fmt.Sprint(c.max), "-max-requests", "1000", "-log", "off")
			before := heap()
			for i := range c.conns {
				if c.streams == 0 {
					conn := f.dial(t, hostileVisitor, "http/1.1")
					_ = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
					if _, err := fmt.Fprintf(conn, "GET /file?%d HTTP/1.1\r\nHost: a\r\n\r\n", i); err != nil {
						t.Fatal(err)
					}
					continue
				}
				conn := f.h2(t, hostileVisitor)
				for j := range c.streams {
					conn.ask(fmt.Sprintf("/file?%d", i*c.streams+j), "")
				}
			}
			visits := int64(c.conns * max(c.streams, 1))
			limit := c.max*11/10 + min(visits, 128)*mib + visits*each
			var most, still int64
			for begun := time.Now(); still < 8 && time.Since(begun) < 10*time.Second; time.Sleep(250 * time.Millisecond) {
				n := heap() - before
				if still++; n > most+mib {
					most, still = n, 0
				}
			}
			t.Logf("%d MiB, %d at most", most/mib, limit/mib)
			if most > limit {
				t.Errorf("the heap has grown by %d MiB, %d at most are for %d visits and a cache of %d", most/mib, limit/mib, visits, c.max/mib)
			}
			if most < c.max/2 {
				t.Errorf("the heap has grown by %d MiB only: that shows nothing", most/mib)
			}
			f.served(t)
		})
	}
}

// TestE2EHitsBesideSlowReaders: the files in the cache, as large as the cache all
// together, are asked for by who takes nothing of them. The pages that everybody
// asks for stay: nginx's do, which have a place on the disk.
func TestE2EHitsBesideSlowReaders(t *testing.T) {
	t.Parallel()
	const files, hot = 17, 80
	large, small := file(7_500_000, false), file(100_000, false)
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			shop := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/file") {
					large(w, r)
					return
				}
				small(w, r)
			})
			f := startFront(t, "-backends", shop, "-cache", "128MiB")
			client := f.client(t, "127.0.1.1", true)
			hits := func() (n int) {
				for i := range hot {
					res, err := client.Get(fmt.Sprintf("%s/hot?%d", f.url(), i))
					if err != nil {
						t.Fatal(err)
					}
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if err == nil && strings.Contains(res.Header.Get("Cache-Status"), "; hit") {
						n++
					}
				}
				return n
			}
			hits()
			if n := hits(); n < hot {
				t.Fatalf("%d of %d hot pages are stored before", n, hot)
			}
			for i := range files {
				if body, err := visit(client, fmt.Sprintf("%s/file?%d", f.url(), i)); len(body) != 7_500_000 || err != nil {
					t.Fatalf("%d bytes, %v", len(body), err)
				}
				path := fmt.Sprintf("/file?%d", i)
				if proto == "h2" {
					f.h2(t, hostileVisitor).ask(path, "")
				} else {
					conn := f.dial(t, hostileVisitor, proto)
					_ = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
					_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, f.addr)
				}
			}
			time.Sleep(200 * time.Millisecond) // until they have what they take
			for range 3 {
				if n := hits(); n < hot*95/100 {
					t.Errorf("%d of %d hot pages are stored", n, hot)
				}
			}
		})
	}
}

// TestE2EManyWaitForOnePage: behind 1,001 who wait for one page the next gets it as
// well, and so do they. nginx, with proxy_cache_lock, has all of them wait.
func TestE2EManyWaitForOnePage(t *testing.T) {
	t.Parallel()
	const crowd, streams = 1001, 91
	var asked atomic.Int64
	ready := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(ready) })
	shop := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-ready
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page")
	})
	t.Cleanup(letGo)
	f := startFront(t, "-backends", shop)
	var conns []*h2
	for i := range crowd {
		if i%streams == 0 {
			conns = append(conns, f.h2(t, hostileVisitor))
		}
		conns[i/streams].ask("/sale", "")
	}
	count := func() (ok, others int64) {
		for _, c := range conns {
			ok += c.ok.Load()
			others += c.others.Load() + c.resets.Load()
		}
		return ok, others
	}
	time.Sleep(300 * time.Millisecond) // until all wait
	type answer struct {
		page string
		err  error
	}
	const next = 8
	answers := make(chan answer, next)
	for i := range next {
		client := f.client(t, fmt.Sprintf("127.0.1.%d", i+1), i%2 == 0)
		go func() {
			page, err := visit(client, f.url()+"/sale")
			answers <- answer{page, err}
		}()
	}
	select {
	case a := <-answers:
		t.Errorf("the next is answered before there is a page: %q, %v", a.page, a.err)
		answers <- a
	case <-time.After(300 * time.Millisecond):
	}
	letGo()
	for range next {
		if a := <-answers; a.page != "page" || a.err != nil {
			t.Errorf("the next gets %q, %v", a.page, a.err)
		}
	}
	until(t, "the crowd to be answered", func() bool { ok, others := count(); return ok+others == crowd })
	if ok, _ := count(); ok != crowd {
		t.Errorf("%d of the crowd are served", ok)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

// TestE2EOneVisitorCondemnsNobody: orders that fail everywhere, 40 at each of 3 of 6
// servers, by pins that the visitor got there. nginx, which counts no 500, leaves all
// of them where they are.
func TestE2EOneVisitorCondemnsNobody(t *testing.T) {
	t.Parallel()
	const servers, victims, orders = 6, 3, 40
	var urls []string
	for i := range servers {
		urls = append(urls, backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if r.URL.Path == "/cart" {
				w.Header().Set("Set-Cookie", "app=1")
			}
			if r.Method == "POST" {
				w.WriteHeader(500)
			}
			fmt.Fprint(w, "web", i)
		}))
	}
	f := startFront(t, "-backends", strings.Join(urls, ","), "-sticky", "pin")
	hostile := f.client(t, hostileVisitor, true)
	pins := make(map[string][]*http.Cookie)
	others := func(n int) map[string]int {
		load := make(map[string]int)
		for i := range n {
			page, err := visit(f.client(t, fmt.Sprintf("127.0.1.%d", i%200+1), false), fmt.Sprintf("%s/page?%d", f.url(), i))
			if err != nil {
				t.Fatal(err)
			}
			load[page]++
		}
		return load
	}
	others(60)
	for i := 0; len(pins) < victims; i++ {
		if i == 1000 {
			t.Fatalf("pins at %d servers", len(pins))
		}
		res, err := hostile.Get(f.url() + "/cart")
		if err != nil {
			t.Fatal(err)
		}
		name, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && len(res.Cookies()) > 0 {
			pins[string(name)] = res.Cookies()
		}
	}
	for range orders {
		for name, cookies := range pins {
			r, err := http.NewRequestWithContext(t.Context(), "POST", f.url()+"/order", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range cookies {
				r.AddCookie(cookie)
			}
			res, err := hostile.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := io.ReadAll(res.Body)
			if _ = res.Body.Close(); res.StatusCode != 500 || string(at) != name {
				t.Fatalf("an order at %s: %d %s", name, res.StatusCode, at)
			}
		}
	}
	// Half of the load is the three's, a tenth where the visitor's failures count. One
	// that the machine has slowed down for a moment may have less on its own.
	const pages = 180
	load, n := others(pages), 0
	for name := range pins {
		n += load[name]
	}
	if n < pages/4 {
		t.Errorf("the three have %d of %d pages: %v", n, pages, load)
	}
}

// TestE2EConnectionsBeyondTheDescriptors: more connections than the process may have
// descriptors, of one visitor and of several, with nothing asked on them, or half a
// line. The others are served, and the log says what happens, once a second. nginx closes idle
// connections too when it has none left, and says so.
func TestE2EConnectionsBeyondTheDescriptors(t *testing.T) {
	t.Parallel()
	const descriptors, idle = 256, 400
	shop, _ := slowShop(t)
	gateway := buildGateway(t)
	for _, c := range []struct {
		name     string
		visitors int
		asked    string
	}{{"one visitor", 1, ""}, {"40 visitors", 40, ""}, {"one who has begun to ask", 1, "GET / HT"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := servertest.FreePort(t)
			s := servertest.Start(t, port, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, descriptors), gateway,
				"-listen", fmt.Sprintf("127.0.0.1:%d", port), "-backends", shop)
			f := front{addr: s.Addr}
			begun := time.Now()
			for i := range idle {
				conn := dialFrom(t, fmt.Sprintf("127.0.0.%d", 2+i%c.visitors), f.addr)
				_, _ = io.WriteString(conn, c.asked) // or it has been closed
			}
			f.served(t)
			testkit.Within(t, testkit.Patience, "a line", func() bool { return strings.Contains(s.Output(), "level=ERROR") }) // which is written late
			lines := strings.Count(s.Output(), "level=ERROR")
			if most := int(time.Since(begun)/time.Second) + 2; lines < 1 || lines > most || !strings.Contains(s.Output(), "limit") {
				t.Errorf("%d lines, %d at most:\n%s", lines, most, tail(s.Output(), 2000))
			}
		})
	}
}
