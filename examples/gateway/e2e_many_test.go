//go:build e2e

package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// TestE2EPurgeOfManyGateways: three gateways, a price that changes, visitors at all of
// them. After a PURGE at one whose answer says that all have applied it none serves an
// older price; and while Redis is away, and when it comes back without its data, no
// GET fails, and no gateway serves an older price as fresh once it is back.
func TestE2EPurgeOfManyGateways(t *testing.T) {
	var price atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		now := price.Load()
		time.Sleep(time.Duration(now%3) * time.Millisecond) // so that fetches are overtaken; for real, since processes run
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, now)
	})
	store := servertest.Redis(t)
	bin := buildGateway(t)
	var tier []string
	for range 3 {
		port := servertest.FreePort(t)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		g := servertest.Start(t, port, bin, "-listen", addr, "-backends", backend, "-log", "off",
			"-purge-from", "127.0.0.0/8", "-redis-cache", "redis://"+store.Addr)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the log of %s:\n%s", addr, tail(g.Output(), 4000))
			}
		})
		tier = append(tier, addr)
	}

	// known is the newest price that all gateways know of, by what a PURGE said.
	var known, asked, stale atomic.Int64
	visit := func(addr string) {
		least := known.Load()
		code, header, body := askShop(t, "GET", addr)
		var got int64
		if _, err := fmt.Sscan(body, &got); err != nil || code != 200 {
			t.Errorf("%d %q", code, body)
		}
		asked.Add(1)
		status := header.Get("Cache-Status")
		if strings.Contains(status, "stale") {
			stale.Add(1)
		} else if got < least {
			t.Errorf("%s serves %d as fresh, after %d: %s", addr, got, least, status)
		}
	}
	done := make(chan struct{})
	var visitors sync.WaitGroup
	for _, addr := range tier {
		visitors.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-done:
					return
				case <-pace.C:
					visit(addr)
				}
			}
		})
	}
	change := func(i int, want int, words string) (ok bool, said string) {
		now := price.Add(1)
		code, _, said := askShop(t, "PURGE", tier[i%3], "Prefer", "wait=30")
		if code == 200 {
			known.Store(now)
		}
		return code == want && strings.Contains(said, words), said
	}
	everywhere := func(what string) {
		t.Helper()
		for i := range 40 {
			if ok, said := change(i, 200, "by all gateways"); !ok {
				t.Errorf("%s: %s", what, said)
			}
		}
	}
	everywhere("at first")
	store.Kill()
	if ok, said := change(0, 202, "purged here"); !ok {
		t.Errorf("without Redis: %s", said)
	}
	wait := time.NewTicker(50 * time.Millisecond)
	defer wait.Stop()
	for begin := time.Now(); stale.Load() == 0; <-wait.C {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("nobody is cut off")
		}
	}
	store.Restart()
	for begin := time.Now(); ; <-wait.C {
		ok, said := change(1, 200, "by all gateways")
		if ok {
			break
		}
		if time.Since(begin) > 60*time.Second {
			t.Fatalf("with Redis back: %s", said)
		}
	}
	everywhere("with Redis back")
	close(done)
	visitors.Wait()
	t.Logf("%d visits, %d answered as stale", asked.Load(), stale.Load())
}

// askShop asks a gateway for the product; header are pairs of name and value.
func askShop(t *testing.T, method, addr string, header ...string) (status int, h http.Header, body string) {
	r, err := http.NewRequest(method, "http://"+addr+"/product", nil)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	r.Host = "shop.example"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, res.Header, string(text)
}
