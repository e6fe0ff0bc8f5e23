//go:build e2e

package main

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// TestE2ESnapshot: of two gateways one is stopped, a page is purged at the other, and it
// starts again; then it is killed, another page is purged, and it starts with the old
// snapshot; then the log is lost. It never serves as fresh what was purged, and what was
// not is there at once.
func TestE2ESnapshot(t *testing.T) {
	backend, price, calls := pricedShop(t)
	store := servertest.Redis(t)
	bin, dir := buildGateway(t), t.TempDir()
	var addrs []string
	var tier []*servertest.Server
	for i := range 2 {
		port := servertest.FreePort(t)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		g := servertest.Start(t, port, bin, "-listen", addr, "-backends", backend, "-linger", "0",
			"-purge-from", "127.0.0.0/8", "-redis-cache", "redis://"+store.Addr, "-cache-snapshot", filepath.Join(dir, fmt.Sprint(i)))
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the log of %s:\n%s", addr, tail(g.Output(), 4000))
			}
		})
		tier, addrs = append(tier, g), append(addrs, addr)
	}
	const pages = 20
	page := func(i int) string { return fmt.Sprint("/", i) }
	for i := range pages {
		becomes(t, addrs[0], page(i), page(i)+" 0", true)
	}
	purge := func(i int, prefer ...string) {
		t.Helper()
		if status, said := sendTarget(t, addrs[1], "PURGE", page(i), prefer...); status != 200 {
			t.Fatalf("PURGE: %d %q", status, said)
		}
	}
	purged := map[int]bool{}
	check := func(what string) {
		t.Helper()
		for i := range pages {
			if body, status := seen(t, addrs[0], page(i)); purged[i] && body == page(i)+" 0" && !isStale(status) {
				t.Errorf("%s: %s is fresh after it was purged: %s", what, page(i), status)
			}
		}
	}
	stop := func() {
		t.Helper()
		if err := syscall.Kill(tier[0].PID(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := tier[0].Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}

	stop()
	price.Store(1)
	purge(3)
	purged[3] = true
	calls.Store(0)
	tier[0].Restart()
	check("stopped")
	becomes(t, addrs[0], page(3), page(3)+" 1", true)
	becomes(t, addrs[0], page(4), page(4)+" 0", true)
	if n := calls.Load(); n > 1 {
		t.Errorf("%d calls, for one page that was purged", n)
	}

	purge(5, "Prefer: wait=30")
	purged[5] = true
	tier[0].Kill()
	purge(6)
	purged[6] = true
	tier[0].Restart() // with what it had saved before, when 5 was not purged
	check("killed")
	becomes(t, addrs[0], page(5), page(5)+" 1", true)
	becomes(t, addrs[0], page(6), page(6)+" 1", true)
	becomes(t, addrs[0], page(7), page(7)+" 0", true)

	stop()
	purge(8)
	purged[8] = true
	store.Kill()
	store.Restart() // without what was in it
	tier[0].Restart()
	check("the log lost")
	for i := range pages {
		becomes(t, addrs[0], page(i), page(i)+" 1", false)
	}
}
